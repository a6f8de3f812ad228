"""From folded states to a payload: ratios are born here, and what is absent stays absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.metric import Cumulative, Metric, Mode, Observed, SharedQuantile, Total
from ..contract.payload import Payload
from ..contract.values import nonfinite_name
from .layout import EXACT
from .reduced import Reduced

__all__ = ["closed", "values_of"]

WITHHELD = "contract/withheld_total"
LOCAL = "local/"


def closed(
    catalogue: Catalogue,
    reduced: Reduced,
    running: dict[str, float] | None,
    coverage: Mapping[str, Any],
    mode: Mode,
    global_step: int,
) -> Payload:
    """The payload of ``reduced``; ``running`` holds the cumulative keys and grows by this window.

    Without it they are absent. What is local is spelled ``local/<key>``; it never wears a global
    name.
    """
    values = values_of(catalogue, reduced, running, mode)
    if reduced.withheld:
        values[WITHHELD] = sum(reduced.withheld.values())
    return _payload(catalogue, values, coverage, mode, global_step)


def values_of(
    catalogue: Catalogue, reduced: Reduced, running: dict[str, float] | None, mode: Mode
) -> dict[str, float]:
    """Every value that ``reduced`` has, internal helpers and the other mode's keys included."""
    values = _observed(catalogue, reduced.states)
    if mode == "train" and running is not None:
        _run_on(catalogue, values, running)
    if mode == "eval":
        _speak_for_twins(catalogue, values)
    for metric in catalogue.computed:
        if mode in metric.modes and metric.key not in values:
            value = metric.formula.evaluate(values)
            if value is not None:
                values[metric.key] = value
    return values


def _observed(catalogue: Catalogue, states: Mapping[str, tuple[float, ...]]) -> dict[str, float]:
    """The value of each metric that has a state, in catalogue order."""
    values: dict[str, float] = {}
    for key, metric in catalogue.items():
        value = _value(metric, states)
        if value is not None:
            values[key] = value
    return values


def _value(metric: Metric, states: Mapping[str, tuple[float, ...]]) -> float | None:
    if isinstance(metric, SharedQuantile):
        shared = states.get(metric.of.key)
        return None if shared is None else metric.reduction.compute(shared)
    state = states.get(metric.key)
    if state is None or not isinstance(metric, Observed):
        return None
    value = metric.reduction.compute(state)
    if value == 0 and isinstance(metric, Total) and metric.absent_at_zero:
        return None
    return _whole(value) if metric.whole else value


def _whole(value: float | None) -> float | None:
    """A whole number as an int, while a float64 still counts by one."""
    if isinstance(value, float) and abs(value) < EXACT and value.is_integer():
        return int(value)
    return value


def _run_on(catalogue: Catalogue, values: dict[str, float], running: dict[str, float]) -> None:
    for key, metric in catalogue.items():
        if isinstance(metric, Cumulative) and metric.of.key in values:
            running[key] = running.get(key, 0) + values[metric.of.key]
            values[key] = running[key]


def _speak_for_twins(catalogue: Catalogue, values: dict[str, float]) -> None:
    """In evaluation a metric stands for its twin too, so that the twin's formulas find it."""
    for key in list(values):
        metric = catalogue[key]
        twin = metric.eval_twin
        if twin and (twin.kind, twin.details()) == (metric.kind, metric.details()):
            values.setdefault(twin.key, values[key])


def _payload(
    catalogue: Catalogue,
    values: Mapping[str, float],
    coverage: Mapping[str, Any],
    mode: Mode,
    global_step: int,
) -> Payload:
    metrics: dict[str, float] = {}
    nonfinite: dict[str, str] = {}
    prefix = LOCAL if coverage["scope"] == "local" else ""
    for key, value in values.items():
        metric = catalogue.get(key)
        if metric is not None and (metric.internal or not _belongs(metric, values, mode)):
            continue
        text = nonfinite_name(value)
        if text is None:
            metrics[prefix + key] = value
        else:
            nonfinite[prefix + key] = text
    return Payload(
        mode=mode, global_step=global_step, metrics=metrics, nonfinite=nonfinite, coverage=coverage
    )


def _belongs(metric: Metric, values: Mapping[str, float], mode: Mode) -> bool:
    if mode == "eval" and metric.eval_twin is not None:
        return metric.eval_twin.key not in values
    return mode in metric.modes
