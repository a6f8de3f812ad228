"""The shape of a JSON catalogue: one schema, for editors and for ``interchange`` alike."""

from __future__ import annotations

from typing import Any

from ..declare import BOUNDS_OF_UNIT
from ..deprecation import VERSION_PATTERN
from ..keys import KEY_PATTERN, MAX_KEY_LENGTH
from ..kinds import (
    Agreed,
    Cumulative,
    Derived,
    Flag,
    Maximum,
    Mean,
    Minimum,
    Quantile,
    Rate,
    SlowestRank,
    Total,
)
from ..metric import Bounds, Metric
from ..units import Unit

__all__ = ["FORMAT_VERSION", "KINDS", "OPTIONAL", "RULES", "SCHEMA_ID", "default_bounds"]

FORMAT_VERSION = 1
SCHEMA_ID = "https://coordexp-metrics.dev/schemas/catalogue.schema.json"
OPTIONAL = (
    "in_loss_when",
    "emitted_by",
    "source",
    "aliases",
    "logged_aliases",
    "alias_switch",
    "unprefixed",
    "absent_at_zero",
    "everywhere",
)

KINDS: dict[str, type[Metric]] = {
    word.kind: word
    for word in (
        Total,
        Mean,
        Rate,
        Maximum,
        Minimum,
        Flag,
        Quantile,
        Agreed,
        SlowestRank,
        Cumulative,
        Derived,
    )
}
OPERATORS = ("+", "-", "*", "/")
FUNCTIONS = ("exp", "or_zero", "present_sum", "min", "max", "previous")
ONE_ARGUMENT = ("exp", "or_zero", "previous")


def default_bounds(kind: str, unit: str) -> Bounds:
    """The range of a metric that states none: counts and clocks from 0, others by their unit."""
    if kind in {"total", "cumulative", "slowest_rank"}:
        return (0, None)
    return BOUNDS_OF_UNIT.get(Unit(unit), (None, None))


def _ref(name: str, description: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}", "description": description}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "maxLength": 4000, "description": description}


def _flag(description: str) -> dict[str, Any]:
    return {"type": "boolean", "description": description}


def _list(of: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "array", "items": of, "description": description}


def _closed(properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    shape = {"type": "object", "required": required, "properties": properties}
    return {**shape, "additionalProperties": False, **more}


def _needs(kind: str, name: str, why: str) -> dict[str, Any]:
    of_kind = {"required": ["kind"], "properties": {"kind": {"const": kind}}}
    return {"if": of_kind, "then": {"$comment": why, "required": [name]}}


def _only(name: str, kinds: list[str]) -> dict[str, Any]:
    return {"if": {"required": [name]}, "then": {"properties": {"kind": {"enum": kinds}}}}


def _arguments(functions: tuple[str, ...], count: int) -> dict[str, Any]:
    called = {"type": "array", "prefixItems": [{"enum": list(functions)}]}
    return {"if": called, "then": {"minItems": count + 1, "maxItems": count + 1}}


_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH}
_KEY = {"$ref": "#/$defs/key"}
_MODES = {"enum": ["train", "eval"]}
_NUMBER_OR_NULL = {"type": ["number", "null"]}

_FORMULA = {
    "description": "A number, a metric, a parameter, or [operator or function, operands ...].",
    "type": ["number", "object", "array"],
    "prefixItems": [{"enum": [*OPERATORS, *FUNCTIONS]}],
    "items": {"$ref": "#/$defs/formula"},
    "properties": {"metric": _KEY, "parameter": _NAME, "default": {"type": "number"}},
    "additionalProperties": False,
    "allOf": [
        {"if": {"type": "array"}, "then": {"minItems": 2}},
        _arguments(OPERATORS, 2),
        _arguments(ONE_ARGUMENT, 1),
        {
            "if": {"type": "object", "properties": {"metric": False}},
            "then": {"$comment": "an operand names its metric", "required": ["parameter"]},
        },
        {
            "if": {"type": "object", "required": ["parameter"]},
            "then": {"required": ["default"], "properties": {"metric": False}},
        },
        {
            "if": {"type": "object", "required": ["metric"]},
            "then": {"properties": {"default": False}},
        },
    ],
}

_VERSION = {"type": "string", "pattern": VERSION_PATTERN, "$comment": "a version such as 0.4"}
_END = {"since": _VERSION, "remove_in": _VERSION, "replacement": _KEY, "package": _NAME}

_METRIC = _closed(
    {
        "key": _ref("key", "The train name."),
        "kind": {"enum": list(KINDS), "description": "How observations fold into one number."},
        "unit": {**_NAME, "description": "What the value is counted in."},
        "description": {**_text("What the number means."), "minLength": 1},
        "population": {
            "type": ["string", "null"],
            "minLength": 1,
            "description": "What the denominator counts.",
        },
        "modes": {
            **_list(_MODES, "Where it is logged. Default: train and eval."),
            "minItems": 1,
        },
        "better": {"enum": ["higher", "lower", None], "description": "Which direction is better."},
        "bounds": {
            "type": "array",
            "prefixItems": [_NUMBER_OR_NULL, _NUMBER_OR_NULL],
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": "Least and greatest value, null where open. Default: by kind and unit.",
        },
        "formula": _closed(
            {"tree": {"$ref": "#/$defs/formula"}, "text": _text("The tree in print.")},
            ["tree"],
            description="What it is computed from, or checked against.",
        ),
        "level": {
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "Of a quantile: 0.9 is the 90th percentile.",
        },
        "limits": {
            "type": ["array", "null"],
            "prefixItems": [
                {"type": "number", "exclusiveMinimum": 0},
                {"type": "number", "exclusiveMinimum": 0},
            ],
            "items": {"type": "number"},
            "minItems": 2,
            "maxItems": 2,
            "description": "Of a quantile's histogram; values in bins need none.",
        },
        "of": _ref("key", "The total that is accumulated, or the quantile that is shared."),
        "when": _closed(
            {"name": _NAME, "text": _text("The condition in words.")},
            ["name", "text"],
            type=["object", "null"],
            description="When the key is present; null where always.",
        ),
        "in_loss": _flag("Whether it takes part in the training loss."),
        "in_loss_when": _text("The condition on that."),
        "provenance": {
            "type": ["string", "null"],
            "minLength": 1,
            "description": "The forward pass that it came from.",
        },
        "emitted_by": _list(_NAME, "Which trainers log it."),
        "source": _text("The line of the contract that says so."),
        "aliases": _list(_KEY, "Other spellings."),
        "logged_aliases": _list(_KEY, "Spellings that are logged beside the key."),
        "alias_switch": _text("The flag that says whether logged aliases are written."),
        "eval_twin": _ref("key", "What it becomes in evaluation, if not eval_ + key."),
        "deprecated": _closed(_END, ["since", "remove_in"], description="When the key goes."),
        "unprefixed": _flag("Whether evaluation spells the key as training does."),
        "absent_at_zero": _flag("Of a total: whether a zero is not logged."),
        "everywhere": _flag("Of a flag: whether it must be on everywhere."),
        "eval_key": _text("Follows from the rest: the name in evaluation."),
        "internal": _flag("Follows from the key: an internal helper never leaves."),
        "digest": _text("Follows from the rest: what the numbers mean."),
    },
    ["key", "kind", "unit", "description"],
    allOf=[
        _needs("mean", "population", "a mean says what its denominator counts"),
        _needs("rate", "formula", "a rate is one total divided by another"),
        _needs("derived", "formula", "a derived metric is a formula"),
        _needs("quantile", "level", "a quantile says which"),
        _needs("cumulative", "of", "a cumulative metric adds up a total"),
        _only("level", ["quantile"]),
        _only("limits", ["quantile"]),
        _only("of", ["quantile", "cumulative"]),
        _only("absent_at_zero", ["total"]),
        _only("everywhere", ["flag"]),
    ],
)

_LAW = _closed(
    {
        "statement": {**_text("The law in words."), "minLength": 1},
        "left": {"$ref": "#/$defs/formula"},
        "relation": {"enum": ["==", "<="]},
        "right": {"$ref": "#/$defs/formula"},
        "weak": _flag("Whether a violation is a hint, not an error."),
        "text": _text("The law in print."),
    },
    ["statement", "left", "relation", "right"],
)

_WILDCARD = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_KEY_LENGTH,
    "$comment": "a key with at most two *",
    "pattern": r"^[^*]*(?:\*[^*]*){0,2}$",
    "description": "A key; * matches anything.",
}

_FAMILY = _closed(
    {
        "name": {**_NAME, "description": "The family's name."},
        "text": {"type": "string", "description": "What its metrics have in common."},
        "pattern": {
            "type": "string",
            "maxLength": MAX_KEY_LENGTH,
            "$comment": "a key with one {name} and at most one {provenance}",
            "pattern": r"^[^{}]*(?:\{provenance\}[^{}]*)?\{name\}[^{}]*(?:\{provenance\}[^{}]*)?$",
            "description": "The shape of its keys. Default: {name}.",
        },
        "open_names": _flag("Whether further names are taken; they read as its last metric."),
        "module": _text("Where it is declared."),
        "metrics": {**_list({"$ref": "#/$defs/metric"}, "Its metrics, in order."), "minItems": 1},
        "laws": _list({"$ref": "#/$defs/law"}, "Laws over its metrics."),
    },
    ["name", "metrics"],
)

RULES: dict[str, Any] = _closed(
    {
        "$schema": _text("The address of this schema, for editors."),
        "format_version": {"const": FORMAT_VERSION, "description": "The version of this format."},
        "package_version": _text("The version that wrote the file."),
        "digest": _text("Follows from the rest: all keys and definitions, in order."),
        "families": _list({"$ref": "#/$defs/family"}, "Metrics that share a pattern and meaning."),
        "laws": _list({"$ref": "#/$defs/law"}, "Laws over metrics of several families."),
        "removed": _list({"$ref": "#/$defs/removed"}, "Keys that are gone."),
        "suppressed": _list({"$ref": "#/$defs/suppressed"}, "Keys that are dropped on purpose."),
    },
    ["format_version", "families"],
    **{
        "$defs": {
            "key": {
                "type": "string",
                "maxLength": MAX_KEY_LENGTH,
                "$comment": "a key such as a/b, in printable ASCII",
                "pattern": KEY_PATTERN,
            },
            "formula": _FORMULA,
            "metric": _METRIC,
            "law": _LAW,
            "family": _FAMILY,
            "removed": _closed(
                {
                    "pattern": _WILDCARD,
                    "replacements": _list(
                        _NAME, "What replaces it; {1} is what the first * matched."
                    ),
                    "source": _text("The line of the contract that says so."),
                    "reason": _text("Why it is gone."),
                },
                ["pattern"],
            ),
            "suppressed": _closed(
                {
                    "pattern": _WILDCARD,
                    "source": _text("The line of the contract that says so."),
                    "reason": _text("Why it is dropped."),
                    "modes": {
                        **_list(_MODES, "Where it is dropped. Default: eval."),
                        "minItems": 1,
                    },
                },
                ["pattern"],
            ),
        }
    },
)
