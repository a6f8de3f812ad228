"""What one rank observed: numbers fold on the host, tensors on their device, and nothing waits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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

    def add(self, metric: Observed, statistics: tuple[Any, ...]) -> None:
        """Fold one observation in.

        Raises:
            ObservationError: the metric cannot take the statistics.
        """
        if isinstance(metric, Quantile):
            self._add_values(metric, *statistics)
        elif len(statistics) != (needed := 2 if isinstance(metric, Mean) else 1):
            what = "a weighted sum and a weight" if needed == 2 else "one number"
            raise ObservationError(metric.key, "statistics", len(statistics), f"must be {what}")
        elif self._device is not None or any(map(tensors.is_tensor, statistics)):
            self._add_tensors(metric, statistics)
        else:
            self._add_numbers(metric, statistics)

    def _add_numbers(self, metric: Observed, statistics: tuple[object, ...]) -> None:
        numbers = [_number(metric, statistic) for statistic in statistics]
        if not (metric.in_loss or all(map(math.isfinite, numbers))):
            self.host.withhold(metric.key, 1)
            return
        reduction: Any = metric.reduction
        self.host.fold(metric, reduction.lift(*numbers))

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
        copy = tensors.Copy([*self.tensors.values(), *self.withheld.values(), *self.sums.values()])
        sums = [metrics for metrics, _ in self.sums]
        taken = Taken(self.host, list(self.tensors), list(self.withheld), copy, sums)
        self.host, self.tensors, self.withheld, self.sums = Local(), {}, {}, {}
        return taken


@dataclass
class Taken:
    """Observations on their way to the host."""

    host: Local
    keys: list[str]
    withheld: list[str]
    copy: tensors.Copy
    sums: list[tuple[Observed, ...]]

    def arrived(self, metrics: Mapping[str, Observed]) -> Local:
        """The sums, once the copy is there; the only place that waits for a device."""
        rows = self.copy.rows()
        for key, row in zip(self.keys, rows, strict=False):
            self.host.fold(metrics[key], tuple(row))
        alone = len(self.keys) + len(self.withheld)
        for key, (count,) in zip(self.withheld, rows[len(self.keys) : alone], strict=True):
            self.host.withhold(key, int(count))
        for many, row in zip(self.sums, rows[alone:], strict=True):
            numbers = iter(row)
            for metric in many:
                self.host.fold(metric, tuple(islice(numbers, len(metric.reduction.slots))))
        return self.host


def _number(metric: Metric, statistic: object) -> float:
    try:
        return plain_number(statistic)
    except Rejected as why:
        raise ObservationError(metric.key, "statistic", statistic, str(why)) from why
