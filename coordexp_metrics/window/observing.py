"""What one rank observed: numbers fold on the host, tensors on their device, and nothing waits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from ..contract.errors import ObservationError
from ..contract.kinds import Mean, Observed, Quantile
from ..contract.metric import Metric
from ..contract.values import Rejected, plain_number
from . import tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Local", "Observations", "Taken"]

State: TypeAlias = "tuple[float, ...]"

MANY = 4096
"""So many observations are kept unread at most; one micro-batch makes less than a hundred."""


@dataclass
class Local:
    """The sums of one rank, on the host.

    Attributes:
        states: the state of each metric that was observed.
        withheld: how many observations of a monitor were not finite.
    """

    states: dict[str, State] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)

    def fold(self, metric: Observed, state: State) -> None:
        """Add one state of ``metric``."""
        known = self.states.get(metric.key)
        self.states[metric.key] = state if known is None else metric.reduction.merge(known, state)

    def add(self, metric: Observed, numbers: Sequence[float]) -> None:
        """Fold one observation of ``metric``, or withhold it."""
        if not (metric.in_loss or all(map(math.isfinite, numbers))):
            self.withhold(metric.key, 1)
            return
        reduction: Any = metric.reduction
        self.fold(metric, reduction.lift(*numbers))

    def withhold(self, key: str, count: int) -> None:
        """Count observations that are left out."""
        if count:
            self.withheld[key] = self.withheld.get(key, 0) + count

    @property
    def observed(self) -> bool:
        """Whether there was any observation, withheld ones included."""
        return bool(self.states or self.withheld)

    def nonfinite(self, metrics: Mapping[str, Observed]) -> bool:
        """Whether any observation was NaN or infinite; only what is in the loss keeps it."""
        return bool(self.withheld) or any(
            metrics[key].in_loss and not math.isfinite(sum(state))
            for key, state in self.states.items()
        )


class Observations:
    """Everything that this rank observed and that no step has taken yet."""

    def __init__(self, device: object = None) -> None:
        self._device = device
        self.host = Local()
        self.tensors: dict[str, Tensor] = {}
        self.withheld: dict[str, Tensor] = {}
        self.sums: dict[tuple[tuple[Observed, ...], Any], Tensor] = {}
        self._late = _Late()

    def add(self, metric: Observed, statistics: tuple[Any, ...]) -> None:
        """Fold one observation in.

        Raises:
            ObservationError: the metric cannot take the statistics.
        """
        if isinstance(metric, Quantile):
            self._add_values(metric, *statistics)
            return
        if len(statistics) != (needed := 2 if isinstance(metric, Mean) else 1):
            what = "a weighted sum and a weight" if needed == 2 else "one number"
            raise ObservationError(metric.key, "statistics", len(statistics), f"must be {what}")
        place = "device" if self._device is not None else tensors.place_of(statistics)
        if place == "device":
            self._add_tensors(metric, statistics)
        elif place == "host":
            self._late.add(metric, statistics)
            if len(self._late) >= MANY:
                self._late.fold_into(self.host, tensors.Copy(self._late.tensors).rows())
        else:
            self.host.add(metric, [_number(metric, statistic) for statistic in statistics])

    def _add_tensors(self, metric: Observed, statistics: tuple[Any, ...]) -> None:
        state, withheld = tensors.lift(
            metric.key, metric.reduction, statistics, self._device, keep_nonfinite=metric.in_loss
        )
        self._fold(metric, state, withheld)

    def _add_values(self, metric: Quantile, values: Any, weights: Any = None) -> None:
        if tensors.is_tensor(values):
            self._fold(metric, *tensors.lift_values(metric.reduction, values, weights))
            return
        if isinstance(values, str) or not isinstance(values, Iterable) or weights is not None:
            why = "must be a sequence of numbers, or a tensor with its weights"
            raise ObservationError(metric.key, "values", values, why)
        numbers = [_number(metric, value) for value in values]
        finite = [number for number in numbers if math.isfinite(number)]
        self.host.withhold(metric.key, len(numbers) - len(finite))
        self.host.fold(metric, metric.reduction.lift(finite))

    def _fold(self, metric: Observed, state: Tensor, withheld: Tensor) -> None:
        key = metric.key
        known = self.tensors.get(key)
        self.tensors[key] = state if known is None else tensors.fold(metric.reduction, known, state)
        if not metric.in_loss:
            before = self.withheld.get(key)
            self.withheld[key] = withheld if before is None else before + withheld

    def add_sums(self, metrics: tuple[Observed, ...], states: Tensor) -> None:
        """Fold the states of many metrics in with one addition; see ``Window.observe_sums``."""
        batch = (metrics, states.device)
        known = self.sums.get(batch)
        self.sums[batch] = states if known is None else known + states

    def take(self) -> Taken:
        """All of it, on its way to the host; nothing is left here."""
        states = [*self.tensors.values(), *self.withheld.values(), *self.sums.values()]
        states += self._late.tensors
        copy = tensors.Copy(states) if states else None
        sums = [metrics for metrics, _ in self.sums]
        taken = Taken(self.host, list(self.tensors), list(self.withheld), sums, self._late, copy)
        self.host, self.tensors, self.withheld, self.sums = Local(), {}, {}, {}
        self._late = _Late()
        return taken


class _Late:
    """Observations in tensors of the host, to be read together: to work on each costs far more."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self._observed: list[tuple[Observed, list[float | None]]] = []

    def __len__(self) -> int:
        return len(self._observed)

    def add(self, metric: Observed, statistics: tuple[Any, ...]) -> None:
        """Keep the tensors as they are now; whoever made them may write to them."""
        numbers: list[float | None] = []
        kept = []
        for statistic in statistics:
            if tensors.is_tensor(statistic):
                kept.append(tensors.kept(metric.key, statistic))
                numbers.append(None)
            else:
                numbers.append(_number(metric, statistic))
        self.tensors += kept
        self._observed.append((metric, numbers))

    def fold_into(self, local: Local, rows: Iterable[Sequence[float]]) -> None:
        """Fold all of it, whose tensors hold ``rows``; nothing is left here."""
        read = iter(rows)
        for metric, numbers in self._observed:
            local.add(metric, [next(read)[0] if n is None else n for n in numbers])
        self.tensors, self._observed = [], []


@dataclass
class Taken:
    """Observations on their way to the host."""

    host: Local
    keys: list[str]
    withheld: list[str]
    sums: list[tuple[Observed, ...]]
    late: _Late
    copy: tensors.Copy | None

    def arrived(self, metrics: Mapping[str, Observed]) -> Local:
        """The sums, once the copy is there; the only place that waits for a device."""
        rows = iter(self.copy.rows() if self.copy else ())
        for key in self.keys:
            self.host.fold(metrics[key], tuple(next(rows)))
        for key in self.withheld:
            self.host.withhold(key, int(next(rows)[0]))
        for many in self.sums:
            numbers = iter(next(rows))
            for metric in many:
                self.host.fold(metric, tuple(islice(numbers, len(metric.reduction.slots))))
        self.late.fold_into(self.host, rows)
        return self.host


def _number(metric: Metric, statistic: Any) -> float:
    if type(statistic) is float:
        return statistic
    try:
        return plain_number(statistic)
    except Rejected as why:
        raise ObservationError(metric.key, "statistic", statistic, str(why)) from why
