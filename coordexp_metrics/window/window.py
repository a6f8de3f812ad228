"""One optimizer step's state: observations fold as they come, in any order; ratios are born last.

    window = Window(CATALOGUE)
    window.observe(CoordLoss(Pass.B).bbox_ciou, weighted_sum, weight)
    payload = window.close(mode="train", global_step=7)

A statistic may be a number or a 0-d tensor on any device; tensors stay there until ``close``, which
copies them once.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from ..contract.algebra import Histogram
from ..contract.catalogue import Catalogue
from ..contract.errors import ObservationError, RankError
from ..contract.kinds import (
    Agreed,
    Flag,
    Maximum,
    Mean,
    Minimum,
    Observed,
    Quantile,
    SlowestRank,
    Total,
)
from ..contract.metric import Metric, Mode
from ..contract.payload import Payload
from ..contract.values import Rejected, plain_number
from . import tensors
from .closing import closed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Window"]

Number: TypeAlias = "float | Tensor"
Gauge: TypeAlias = Total | Maximum | Minimum | Flag | Agreed | SlowestRank


class Window:
    """Everything observed for one optimizer step.

    Args:
        catalogue: the declarations.
        group: ``None`` or ``"local"``: this process alone.
        device: where statistics that come as numbers are folded; the host by default.
        lag: 0; ``close`` returns the window that it closes.

    Raises:
        RankError: several ranks train, and ``group`` is not ``"local"``.

    >>> from coordexp_metrics import CATALOGUE
    >>> window = Window(CATALOGUE)
    >>> for total, tokens in [(4.0, 2), (1.0, 3)]:
    ...     window.observe("token_acc", total, tokens)
    >>> window.close(mode="train", global_step=7).metrics
    {'token_acc': 1.0}
    """

    def __init__(
        self,
        catalogue: Catalogue,
        group: Literal["local"] | None = None,
        device: object = None,
        lag: Literal[0] = 0,
    ) -> None:
        if group not in {None, "local"} or lag != 0:
            raise ValueError("a window folds one process: group is None or 'local', and lag is 0")
        if group is None:
            _refuse_ranks()
        self.catalogue = catalogue
        self._device = device
        self._host: dict[str, tuple[float, ...]] = {}
        self._tensors: dict[str, Tensor] = {}
        self._withheld: dict[str, int] = {}
        self._withheld_tensors: dict[str, Tensor] = {}
        self._cumulative: dict[str, float] = {}
        self.withheld: dict[str, int] = {}

    @overload
    def observe(self, metric: Mean, weighted_sum: Number, weight: Number, /) -> None: ...
    @overload
    def observe(self, metric: Gauge, x: Number, /) -> None: ...
    @overload
    def observe(
        self,
        metric: Quantile,
        values: Sequence[float] | Tensor,
        weights: Tensor | None = None,
        /,
    ) -> None: ...
    @overload
    def observe(self, metric: str, /, *statistics: object) -> None: ...

    def observe(self, metric: Metric | str, /, *statistics: Any) -> None:
        """Fold one observation in.

        Args:
            metric: a metric or its key.
            statistics: for a mean, the weighted sum and the weight; for a quantile, the values, and
                as tensors also weights of 1 and 0; for anything else, the number.

        Raises:
            UnknownKeyError: the catalogue has no such key.
            ObservationError: the metric is computed, not observed, or cannot take the statistics.

        A non-finite statistic stays if its metric is in the loss, so that the payload says so; for
        a monitor the whole observation is withheld and counted.
        """
        key = metric if isinstance(metric, str) else metric.key
        found = self.catalogue[key]
        if not isinstance(found, Observed):
            raise ObservationError(found.key, "metric", found.kind, _way_out(found))
        if isinstance(found, Quantile):
            self._observe_values(found, *statistics)
        elif len(statistics) != (needed := 2 if isinstance(found, Mean) else 1):
            what = "a weighted sum and a weight" if needed == 2 else "one number"
            raise ObservationError(found.key, "statistics", len(statistics), f"must be {what}")
        elif self._device is not None or any(map(tensors.is_tensor, statistics)):
            self._observe_tensors(found, statistics)
        else:
            self._observe_numbers(found, statistics)

    def _observe_numbers(self, metric: Observed, statistics: tuple[object, ...]) -> None:
        numbers = [_number(metric, statistic) for statistic in statistics]
        if not (metric.in_loss or all(map(math.isfinite, numbers))):
            self._withheld[metric.key] = self._withheld.get(metric.key, 0) + 1
            return
        reduction: Any = metric.reduction
        self._fold_host(metric, reduction.lift(*numbers))

    def _observe_tensors(self, metric: Observed, statistics: tuple[Any, ...]) -> None:
        state, withheld = tensors.lift(
            metric.key, metric.reduction, statistics, self._device, keep_nonfinite=metric.in_loss
        )
        self._fold_tensor(metric, state, withheld)

    def _observe_values(self, metric: Quantile, values: Any, weights: Any = None) -> None:
        histogram: Histogram = metric.reduction
        if tensors.is_tensor(values):
            self._fold_tensor(metric, *tensors.lift_values(histogram, values, weights))
            return
        if isinstance(values, str) or not isinstance(values, Iterable) or weights is not None:
            why = "must be a sequence of numbers, or a tensor with its weights"
            raise ObservationError(metric.key, "values", values, why)
        numbers = [_number(metric, value) for value in values]
        finite = [number for number in numbers if math.isfinite(number)]
        if len(finite) < len(numbers):
            lost = len(numbers) - len(finite)
            self._withheld[metric.key] = self._withheld.get(metric.key, 0) + lost
        self._fold_host(metric, histogram.lift(finite))

    def _fold_host(self, metric: Observed, state: tuple[float, ...]) -> None:
        known = self._host.get(metric.key)
        self._host[metric.key] = state if known is None else metric.reduction.merge(known, state)

    def _fold_tensor(self, metric: Observed, state: Tensor, withheld: Tensor) -> None:
        key = metric.key
        known = self._tensors.get(key)
        self._tensors[key] = (
            state if known is None else tensors.fold(metric.reduction, known, state)
        )
        if not metric.in_loss:
            before = self._withheld_tensors.get(key)
            self._withheld_tensors[key] = withheld if before is None else before + withheld

    def close(self, *, mode: Mode, global_step: int) -> Payload:
        """The payload of everything observed since the last close; the window is empty again.

        Keys that do not belong to ``mode`` and internal helpers stay behind; formulas are computed
        from the folded sums. ``withheld`` then names the monitors whose observations were not
        finite, with how many.
        """
        self._bring_to_host()
        self.withheld, states = self._withheld, self._host
        self._host, self._withheld = {}, {}
        return closed(self.catalogue, states, self._cumulative, self.withheld, mode, global_step)

    def _bring_to_host(self) -> None:
        states = [*self._tensors.values(), *self._withheld_tensors.values()]
        if not states:
            return
        rows = tensors.to_host(states)
        for key, row in zip(self._tensors, rows, strict=False):
            metric = self.catalogue[key]
            if isinstance(metric, Observed):
                self._fold_host(metric, tuple(row))
        for key, (count,) in zip(self._withheld_tensors, rows[len(self._tensors) :], strict=True):
            if count:
                self._withheld[key] = self._withheld.get(key, 0) + int(count)
        self._tensors, self._withheld_tensors = {}, {}


def _refuse_ranks() -> None:
    torch = sys.modules.get("torch")
    distributed = torch and torch.distributed
    if distributed and distributed.is_available() and distributed.is_initialized():
        world = distributed.get_world_size()
        if world > 1:
            raise RankError(
                f"{world} ranks train, and a window folds one process; "
                "pass group='local' for numbers of this rank alone",
                distributed.get_rank(),
                world,
            )


def _number(metric: Metric, statistic: object) -> float:
    try:
        return plain_number(statistic)
    except Rejected as why:
        raise ObservationError(metric.key, "statistic", statistic, str(why)) from why


def _way_out(metric: Metric) -> str:
    if metric.formula is not None:
        parts = ", ".join(dict.fromkeys(leaf.key for leaf in metric.formula.leaves()))
        return f"is computed, not observed; observe {parts}"
    return "is computed, not observed"
