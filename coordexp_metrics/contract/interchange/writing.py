"""A catalogue as JSON data: what every metric says, then what only some say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..catalogue import Catalogue
from ..header import package_version
from ..law import Law
from ..metric import Metric
from ..removal import Page
from .rules import FORMAT_VERSION, OPTIONAL, SCHEMA_ID

__all__ = ["to_data"]


def to_data(catalogue: Catalogue) -> dict[str, Any]:
    """``catalogue`` as JSON data."""
    return {
        "$schema": SCHEMA_ID,
        "format_version": FORMAT_VERSION,
        "package_version": package_version(),
        "digest": catalogue.digest,
        "families": [_family_data(page) for page in catalogue.pages],
        "laws": [_law_data(law) for law in catalogue.cross_laws],
        "removed": [_stated(vars(entry)) for entry in catalogue.removed],
        "suppressed": [_stated(vars(entry)) for entry in catalogue.suppressed],
    }


def _stated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that say something, with tuples as lists."""
    said = {name: value for name, value in fields.items() if value not in (None, "", (), False)}
    return {name: [*v] if isinstance(v, tuple) else v for name, v in said.items()}


def _family_data(page: Page) -> dict[str, Any]:
    return {
        **_stated({"name": page.name, "text": page.text, "pattern": page.pattern}),
        **_stated({"open_names": page.open_names, "module": page.module}),
        "metrics": [_metric_data(metric) for metric in page.metrics],
        "laws": [_law_data(law) for law in page.laws],
    }


def _metric_data(metric: Metric) -> dict[str, Any]:
    """What every metric says, then what only some say."""
    formula, when = metric.formula, metric.when
    return {
        "key": metric.key,
        "eval_key": metric.eval_key,
        "kind": metric.kind,
        "unit": metric.unit,
        "population": metric.population,
        "description": metric.description,
        "modes": [*metric.modes],
        "better": metric.better,
        "bounds": [*metric.bounds],
        "in_loss": metric.in_loss,
        "provenance": metric.provenance,
        "when": None if when is None else when._asdict(),
        **_stated(
            {
                "formula": formula and {"text": str(formula), "tree": formula.to_data()},
                "level": getattr(metric, "level", None),
                "limits": getattr(metric, "limits", None),
                "of": getattr(getattr(metric, "of", None), "key", None),
                "eval_twin": metric.eval_twin and metric.eval_twin.key,
                "deprecated": metric.deprecated and _stated(vars(metric.deprecated)),
                **{name: getattr(metric, name, None) for name in OPTIONAL},
                "internal": metric.internal,
            }
        ),
        "digest": metric.digest,
    }


def _law_data(law: Law) -> dict[str, Any]:
    return {
        "statement": law.statement,
        "text": str(law),
        "left": law.left.to_data(),
        "relation": law.relation,
        "right": law.right.to_data(),
        **_stated({"weak": law.weak}),
    }
