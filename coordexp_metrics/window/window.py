"""One optimizer step's state: observations fold as they come, in any order; ratios are born last.

    window = Window(CATALOGUE)
    window.observe(CoordLoss(Pass.B).bbox_ciou, weighted_sum, weight)
    payload = window.close(mode="train", global_step=7)

A statistic may be a number or a 0-d tensor on any device; tensors stay there until ``close``, which
copies them once. Whatever the cut into micro-batches, packs and ranks, the payload is the one that
a single process would have made of all samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from ..contract.catalogue import Catalogue
from ..contract.errors import ObservationError
from ..contract.family import Family
from ..contract.header import package_version
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
from .lagging import Lagging
from .layout import Layout
from .observing import Observations
from .ranks import GlooRanks, ranks_of
from .reduced import Disagreement, Imbalance
from .steps import Closed, Gathered, Steps

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup

__all__ = ["Window"]

Number: TypeAlias = "float | Tensor"
Gauge: TypeAlias = Total | Maximum | Minimum | Flag | Agreed | SlowestRank
Group: TypeAlias = "ProcessGroup | Literal['local'] | None"


class Window:
    """Everything observed for one optimizer step, or for the steps of one logging window.

    Args:
        catalogue: the declarations.
        group: the data-parallel ranks; ``None``: all ranks of ``torch.distributed`` where it runs;
            ``"local"``: this process alone. All ranks of the group make the window, in the same
            order as their other windows; it then has a gloo group of its own.
        device: where statistics that come as numbers are folded; the host by default.
        lag: with 1, ``close`` returns the payload of the close before it, and neither a collective
            nor a device is waited for on the calling thread.
        families: the families in use, by class or name; all of them by default.
        timeout: how many seconds a collective may take before the group is retired.

    Attributes:
        withheld: for each monitor with observations that were not finite, how many.
        disagreements: for each withheld knob, the ranks behind each value.
        imbalance: for each ``slowest_rank``, how much longer the slowest rank took.
        nonfinite_ranks: the ranks with an observation that was not finite.

    All four speak of the last payload that was returned.

    Raises:
        RankError: ranks with another package or catalogue, or a rank that did not come.
        ValueError: an argument is none of these.

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
        group: Group = None,
        device: object = None,
        lag: Literal[0, 1] = 0,
        *,
        families: Iterable[type[Family] | str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        if lag not in {0, 1} or not timeout > 0:
            raise ValueError(f"lag is 0 or 1, and timeout is positive, not {lag!r} and {timeout!r}")
        self.catalogue = catalogue
        self.lag = lag
        ranks = ranks_of(group, timeout)
        self.layout = Layout(_in_use(catalogue, families), ranks.world_size)
        if isinstance(ranks, GlooRanks):
            package = f"coordexp-metrics {package_version()}"
            ranks.agree((package, f"catalogue {catalogue.digest}", f"layout {self.layout.digest}"))
        self._observations = Observations(device)
        self._summed: dict[tuple[Observed, ...], int] = {}
        self._steps = Steps(catalogue, self.layout, ranks)
        self._lagging: Lagging[Closed] | None = Lagging() if lag else None
        self.withheld: dict[str, int] = {}
        self.disagreements: dict[str, Disagreement] = {}
        self.imbalance: dict[str, Imbalance] = {}
        self.nonfinite_ranks: frozenset[int] = frozenset()

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
        self._observations.add(self.layout.metrics.get(key) or self._found(key), statistics)

    def observe_sums(self, metrics: tuple[Observed, ...], states: Tensor) -> None:
        """Fold one observation of each of many metrics in, as one tensor and with one addition.

        Args:
            metrics: totals, means and quantiles, each once; the same tuple for the same states.
            states: float64 ``[n]`` on any device: for each metric its slots, a total's sum and 1, a
                mean's weighted sum and weight, a quantile's counts by bin. What is not finite
                stays, so the sums of monitors must be finite: nothing is withheld here. The tensor
                is kept, so give a copy of one that is written again.

        Raises:
            UnknownKeyError: the catalogue has no such key.
            ObservationError: a metric is no sum, or the states are of another size.

        >>> import torch
        >>> from coordexp_metrics import CATALOGUE
        >>> window = Window(CATALOGUE)
        >>> metrics = (CATALOGUE["token_acc"], CATALOGUE["token_count"])
        >>> window.observe_sums(metrics, torch.tensor([4.0, 5.0, 5.0, 1.0], dtype=torch.float64))
        >>> window.close(mode="train", global_step=7).metrics
        {'token_acc': 0.8, 'token_count': 5}
        """
        if metrics not in self._summed:
            for metric in metrics:
                found = self.layout.metrics.get(metric.key) or self._found(metric.key)
                if not found.reduction.adds:
                    raise ObservationError(metric.key, "metric", metric.kind, "is no sum")
            self._summed[metrics] = sum(len(metric.reduction.slots) for metric in metrics)
        if states.shape != (needed := (self._summed[metrics],)):
            why = f"must have the shape {needed}"
            raise ObservationError(metrics[0].key, "states", str(tuple(states.shape)), why)
        self._observations.add_sums(metrics, states.detach())

    def _found(self, key: str) -> Observed:
        """The metric behind an alias, or behind a name that an open family reads as another."""
        found = self.catalogue[key]
        for page in self.catalogue.pages:
            if page.open_name(found.key) and found.key not in {m.key for m in page.metrics}:
                found = page.metrics[-1]
        if not isinstance(found, Observed):
            raise ObservationError(found.key, "metric", found.kind, _way_out(found))
        if found.key not in self.layout.metrics:
            why = "is not among the families in use"
            raise ObservationError(found.key, "family", found.family, why)
        return found

    def step(self) -> None:
        """End an optimizer step that is not logged: reduce it, and fold it into the open window.

        One collective, whatever was observed. Every rank calls it for the same steps. A process
        alone only sets the step aside, for the close.
        """
        job = partial(self._steps.end, self._observations.take())
        job() if self._lagging is None else self._lagging.run(job)

    def close(self, *, mode: Mode, global_step: int) -> Payload:
        """The payload of everything observed since the last close; the window is empty again.

        One collective, whatever was observed: what came after the last ``step`` is one more step.
        Keys that do not belong to ``mode`` and internal helpers stay behind; formulas are computed
        from the folded sums.

        With ``lag=1`` this is the payload of the close before, and None the first time.
        """
        job = partial(self._steps.close, self._observations.take(), mode, global_step)
        closed = job() if self._lagging is None else self._lagging.close(job)
        # Typed for lag=0: whoever asks for lag=1 expects the None.
        return self._deliver(closed) if closed else None  # type: ignore[return-value]

    def gather(self, message: bytes) -> Gathered:
        """What each rank says, of any length, over the window's own group: two collectives.

        Every rank calls it between the same closes. Where the window folds this process alone, and
        after the group was retired, it is this rank's own message.

        >>> from coordexp_metrics import CATALOGUE
        >>> Window(CATALOGUE, group="local").gather(b"all is well")
        Gathered(messages=[b'all is well'], own=0)
        """
        self._settle()
        return self._steps.gather(message)

    def drain(self) -> tuple[Payload, ...]:
        """The payloads that ``lag=1`` still holds, in order; before saving, evaluating, ending."""
        return tuple(map(self._deliver, self._lagging.drain())) if self._lagging else ()

    def _deliver(self, closed: Closed) -> Payload:
        reduced = closed.reduced
        self.withheld, self.disagreements = reduced.withheld, reduced.disagreements
        self.imbalance, self.nonfinite_ranks = reduced.imbalance, frozenset(reduced.nonfinite_ranks)
        return closed.payload

    @property
    def attempt(self) -> int:
        """1, and one more for every time that training went back to an earlier step."""
        return self._steps.attempt

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain numbers: the same on all ranks, but for ``open``.

        ``open`` holds what this rank observed since the last step. Payloads that ``lag=1`` still
        holds are not in it; they come from ``drain``.
        """
        self._settle()
        taken = self._observations.take()
        self._observations.host = taken.arrived(self.layout.metrics)
        return self._steps.to_data(self._observations.host)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``, in a world of any size.

        What was open is this rank's alone: it is taken up by the rank that saved it in a world of
        the same size, and left out, with a warning, anywhere else. Trainers save between optimizer
        steps, where nothing is open.
        """
        self._settle()
        self._observations.take()
        self._observations.host = self._steps.load(state)

    def _settle(self) -> None:
        if self._lagging is not None:
            self._lagging.settle()


def _in_use(catalogue: Catalogue, families: Iterable[type[Family] | str] | None) -> list[Observed]:
    observed = [metric for metric in catalogue.values() if isinstance(metric, Observed)]
    if families is None:
        return observed
    names = {family if isinstance(family, str) else family.__name__ for family in families}
    unknown = names - {page.name for page in catalogue.pages}
    if unknown:
        raise ValueError(f"no family of the catalogue is called {', '.join(sorted(unknown))}")
    return [metric for metric in observed if metric.family in names]


def _way_out(metric: Metric) -> str:
    if metric.formula is not None:
        parts = ", ".join(dict.fromkeys(leaf.key for leaf in metric.formula.leaves()))
        return f"is computed, not observed; observe {parts}"
    return "is computed, not observed"
