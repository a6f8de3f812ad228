"""From folded states to a payload: ratios are born here, and what is absent stays absent."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from ..contract.catalogue import Catalogue
from ..contract.formula import Evaluator, run
from ..contract.kinds import Cumulative, Observed, SharedQuantile, Total
from ..contract.metric import Metric, Mode
from ..contract.payload import Payload
from ..contract.values import nonfinite_name
from .layout import EXACT
from .reduced import Reduced

__all__ = ["Closing"]

WITHHELD = "contract/withheld_total"
LOCAL = "local/"
MEMORY = 64

Bound: TypeAlias = "tuple[int, str, Evaluator]"


class Closing:
    """What a catalogue makes of folded states."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        metrics = dict(catalogue.items())
        self._metrics = metrics
        self._sources: list[tuple[str, Observed | SharedQuantile]] = [
            (metric.of.key if isinstance(metric, SharedQuantile) else key, metric)
            for key, metric in metrics.items()
            if isinstance(metric, (Observed, SharedQuantile))
        ]
        self._running = [m for m in metrics.values() if isinstance(m, Cumulative)]
        # Which keys there are is nearly always as it was at the close before.
        self._read = lru_cache(MEMORY)(self._read_of)
        self._bound = lru_cache(MEMORY)(self._bound_over)

    def payload(
        self,
        reduced: Reduced,
        running: dict[str, float] | None,
        coverage: Mapping[str, Any],
        mode: Mode,
        global_step: int,
    ) -> Payload:
        """The payload of ``reduced``; ``running`` holds the cumulative keys and grows by it.

        Without it they are absent. What is local is spelled ``local/<key>``; it never wears a
        global name.
        """
        values = self.values(reduced, running, mode)
        if reduced.withheld:
            values[WITHHELD] = sum(reduced.withheld.values())
        prefix = LOCAL if coverage["scope"] == "local" else ""
        metrics: dict[str, float] = {}
        nonfinite: dict[str, str] = {}
        for key, value in values.items():
            metric = self._metrics.get(key)
            if metric is not None and (metric.internal or not _belongs(metric, values, mode)):
                continue
            text = nonfinite_name(value)
            if text is None:
                metrics[prefix + key] = value
            else:
                nonfinite[prefix + key] = text
        return Payload(mode, global_step, metrics, nonfinite, coverage)

    def values(
        self, reduced: Reduced, running: dict[str, float] | None, mode: Mode
    ) -> dict[str, float]:
        """Every value of ``reduced``, internal helpers and the other mode's keys included."""
        values: dict[str, float] = {}
        for source, metric in self._read(frozenset(reduced.states)):
            value = _value(metric, reduced.states[source])
            if value is not None:
                values[metric.key] = value
        if mode == "train" and running is not None:
            self._run_on(values, running)
        if mode == "eval":
            self._speak_for_twins(values)
        self._compute(values, mode)
        return values

    def _compute(self, values: dict[str, float], mode: Mode, after: int = -1) -> None:
        """Add what formulas make of ``values``, those after the formula number ``after``."""
        numbers = list(values.values())
        for place, key, formula in self._bound(tuple(values), mode, after):
            value = run(formula, numbers)
            if value is None:  # so what is bound to it is absent too
                self._compute(values, mode, place)
                return
            values[key] = value
            numbers.append(value)

    def _bound_over(self, keys: tuple[str, ...], mode: Mode, after: int) -> list[Bound]:
        """The formulas that these keys allow, each over these and the results before it."""
        where = {key: index for index, key in enumerate(keys)}
        bound = []
        for place, computed in enumerate(self._catalogue.computed):
            if place > after and mode in computed.modes and computed.key not in where:
                formula = computed.formula.bind(where, computed.formula.parameters())
                if formula is not None:
                    bound.append((place, computed.key, formula))
                    where[computed.key] = len(where)
        return bound

    def _read_of(self, observed: frozenset[str]) -> list[tuple[str, Observed | SharedQuantile]]:
        """What is read off these states, in the order of the catalogue."""
        return [(source, metric) for source, metric in self._sources if source in observed]

    def _run_on(self, values: dict[str, float], running: dict[str, float]) -> None:
        for metric in self._running:
            if metric.of.key in values:
                running[metric.key] = running.get(metric.key, 0) + values[metric.of.key]
                values[metric.key] = running[metric.key]

    def _speak_for_twins(self, values: dict[str, float]) -> None:
        """In evaluation a metric stands for its twin too, so that the twin's formulas find it."""
        for key in list(values):
            metric = self._metrics[key]
            twin = metric.eval_twin
            if twin and (twin.kind, twin.details()) == (metric.kind, metric.details()):
                values.setdefault(twin.key, values[key])


def _value(metric: Observed | SharedQuantile, state: tuple[float, ...]) -> float | None:
    value = metric.reduction.compute(state)
    if value == 0 and isinstance(metric, Total) and metric.absent_at_zero:
        return None
    return _whole(value) if metric.whole else value


def _whole(value: float | None) -> float | None:
    """A whole number as an int, while a float64 still counts by one."""
    if isinstance(value, float) and abs(value) < EXACT and value.is_integer():
        return int(value)
    return value


def _belongs(metric: Metric, values: Mapping[str, float], mode: Mode) -> bool:
    if mode == "eval" and metric.eval_twin is not None:
        return metric.eval_twin.key not in values
    return mode in metric.modes
