"""JSON Schemas (2020-12): of a payload, from the catalogue; of a catalogue, from its rules."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.interchange import RULES, SCHEMA_ID
from ..contract.keys import KEY_PATTERN, MAX_KEY_LENGTH
from ..contract.metric import EVAL_PREFIX, Metric, Mode
from ..contract.payload_model import PayloadModel
from .patterns import INTERNAL, declared_apart, either_form, open_names, suppressed

__all__ = ["catalogue_schema", "payload_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PAYLOAD_ID = "https://coordexp-metrics.dev/schemas/payload.v1.schema.json"
MODES: tuple[Mode, ...] = ("train", "eval")


def catalogue_schema() -> dict[str, Any]:
    """The schema of a JSON catalogue."""
    head = {
        "$schema": DIALECT,
        "$id": SCHEMA_ID,
        "title": "Catalogue of metrics, version 1",
        "description": "Every metric key as data. A file by hand needs key, kind, unit and "
        "description of each metric, and what its kind requires.",
    }
    return {**head, **RULES}


def payload_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema of a payload whose keys ``catalogue`` declares. Other keys hold any number."""
    model = PayloadModel.model_json_schema()
    sections = {name: _section(part) for name, part in model["properties"].items()}
    key = {"$ref": "#/$defs/key"}
    sections["metrics"] |= {
        "propertyNames": {**key, "allOf": list(_refused(catalogue))},
        "properties": dict(sorted(_keys(catalogue), key=itemgetter(0))),
        "patternProperties": dict(_open(catalogue)),
        "additionalProperties": {"type": "number"},
    }
    sections["nonfinite"]["propertyNames"] = key
    return {
        "$schema": DIALECT,
        "$id": PAYLOAD_ID,
        "title": model["title"],
        "description": model["description"],
        "type": "object",
        "required": model["required"],
        "properties": sections,
        "allOf": [rule for mode in MODES for rule in _suppressions(catalogue, mode)],
        "$defs": {
            "key": {
                "description": "Printable ASCII segments with slashes between.",
                "type": "string",
                "maxLength": MAX_KEY_LENGTH,
                "pattern": KEY_PATTERN,
            },
        },
    }


def _section(part: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in part.items() if name not in {"title", "default"}}
    return {"description": kept.pop("description"), **kept}


def _value(metric: Metric) -> dict[str, Any]:
    low, high = metric.bounds
    limits = {"minimum": low, "maximum": high}
    return {
        "description": _description(metric),
        "type": "integer" if metric.whole else "number",
        **{word: limit for word, limit in limits.items() if limit is not None},
        **({"deprecated": True} if metric.deprecated else {}),
    }


def _description(metric: Metric) -> str:
    per = f" per {metric.population}" if metric.population else ""
    when = f" Present when {metric.when.text}." if metric.when else ""
    return f"{metric.description} ({metric.kind}; {metric.unit}{per}).{when}"


def _pointer(metric: Metric) -> str:
    return "#/properties/metrics/properties/" + metric.key.replace("/", "~1")


def _keys(catalogue: Catalogue) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every spelling that is declared by itself: the key says what it takes, others refer to it."""
    for metric in catalogue.values():
        if metric.internal:
            continue
        meant = {"$ref": _pointer(metric)}
        yield metric.key, _value(metric)
        if metric.eval_key != metric.key and metric.eval_twin is None and "eval" in metric.modes:
            yield metric.eval_key, meant
        for alias in (*metric.aliases, *metric.logged_aliases):
            another = {**meant, "description": f"Another name of {metric.key}."}
            yield alias, another
            yield EVAL_PREFIX + alias, another


def _open(catalogue: Catalogue) -> Iterator[tuple[str, dict[str, Any]]]:
    """Further names read as the last metric of their family; declared ones speak for themselves."""
    for page in catalogue.pages:
        if page.open_names:
            other = page.metrics[-1]
            apart = [name for name, rule in _keys(catalogue) if not _takes_the_same(rule, other)]
            expression = declared_apart(open_names(page.pattern), apart)
            yield expression, {"$ref": _pointer(other)}


def _takes_the_same(rule: dict[str, Any], metric: Metric) -> bool:
    return "type" in rule and {**rule, "description": ""} == {**_value(metric), "description": ""}


def _refused(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    """Keys that no payload holds. A validator prints the rule, and so the way out."""
    internal = "an internal helper: it never leaves the trainer"
    yield {"not": {"description": internal, "pattern": INTERNAL}}
    names = [name for name, _ in _keys(catalogue)]
    for entry in catalogue.removed:
        instead = f"; use {', '.join(entry.replacements)}" if entry.replacements else ""
        why = f"removed from the contract{instead}".replace("{1}", "...")
        expression = declared_apart(either_form(entry.pattern), names)
        yield {"not": {"description": why, "pattern": expression}}


def _suppressions(catalogue: Catalogue, mode: Mode) -> Iterator[dict[str, Any]]:
    refused = [
        {
            "not": {
                "description": f"suppressed on purpose: {entry.reason or entry.pattern}",
                "pattern": suppressed(entry.pattern, mode),
            }
        }
        for entry in catalogue.suppressed
        if mode in entry.modes
    ]
    if refused:
        yield {
            "if": {"properties": {"mode": {"const": mode}}},
            "then": {"properties": {"metrics": {"propertyNames": {"allOf": refused}}}},
        }
