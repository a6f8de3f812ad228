"""From folded states to a payload: ratios are born here, and what is absent stays absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.kinds import Cumulative, Observed, SharedQuantile, Total
from ..contract.metric import Metric, Mode
from ..contract.payload import Payload
from ..contract.values import nonfinite_name
from .layout import EXACT
from .reduced import Reduced

__all__ = ["Closing"]

WITHHELD = "contract/withheld_total"
LOCAL = "local/"


class Closing:
    """What a catalogue makes of folded states."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        metrics = dict(catalogue.items())
        self._metrics = metrics
        self._read: list[tuple[str, Observed | SharedQuantile]] = [
            (metric.of.key if isinstance(metric, SharedQuantile) else key, metric)
            for key, metric in metrics.items()
            if isinstance(metric, (Observed, SharedQuantile))
        ]
        self._running = [m for m in metrics.values() if isinstance(m, Cumulative)]

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
        for source, metric in self._read:
            state = reduced.states.get(source)
            value = None if state is None else _value(metric, state)
            if value is not None:
                values[metric.key] = value
        if mode == "train" and running is not None:
            self._run_on(values, running)
        if mode == "eval":
            self._speak_for_twins(values)
        for computed in self._catalogue.computed:
            if mode in computed.modes and computed.key not in values:
                value = computed.formula.evaluate(values)
                if value is not None:
                    values[computed.key] = value
        return values

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
