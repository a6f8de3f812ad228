"""Every field of a metric is a row: what a change of it does to those who read the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

__all__ = [
    "CATALOGUE_FIELDS",
    "FAMILY_FIELDS",
    "FOLLOWS",
    "METRIC_FIELDS",
    "Bump",
    "Field",
    "Level",
]

Level: TypeAlias = Literal["breaking", "semantic", "compatible"]
Bump: TypeAlias = Literal["major", "minor", "patch", "none"]
Judge: TypeAlias = Callable[[Any, Any], Level]


class Field(NamedTuple):
    """How a change of one field is classified.

    Attributes:
        name: the field, as a JSON catalogue spells it.
        judge: the level of a change from one value to another.
        text: the same in words.
        bad: a change of the worst level that the field can have.
        good: a change that is compatible, None where every change is worse, or none is.
        bump: what a compatible change asks for: ``minor`` where there is more than before.
    """

    name: str
    judge: Judge
    text: str
    bad: tuple[Any, Any]
    good: tuple[Any, Any] | None = None
    bump: Bump = "patch"


def _always(level: Level) -> Judge:
    return lambda _base, _head: level


def _fewer(base: Any, head: Any) -> Level:
    return "breaking" if set(base or ()) - set(head or ()) else "compatible"


def _more(base: Any, head: Any) -> Level:
    return _fewer(head, base)


def _narrower(base: Any, head: Any) -> Level:
    (low, high), (new_low, new_high) = base or (None, None), head or (None, None)
    raised = new_low is not None and (low is None or new_low > low)
    lowered = new_high is not None and (high is None or new_high < high)
    return "breaking" if raised or lowered else "compatible"


def _condition(base: Any, head: Any) -> Level:
    names = [None if when is None else when["name"] for when in (base, head)]
    return "compatible" if names[1] in {None, names[0]} else "breaking"


def _switch(_base: Any, head: Any) -> Level:
    return "breaking" if head else "compatible"


def _no_longer(base: Any, head: Any) -> Level:
    return "breaking" if base and not head else "compatible"


def _sooner(base: Any, head: Any) -> Level:
    if not (base and head):
        return "compatible"
    before, after = (_numbers(end["remove_in"]) for end in (base, head))
    return "breaking" if after < before else "compatible"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _stricter(base: Any, head: Any) -> Level:
    """A law that all must now keep breaks payloads that passed before."""
    before = {law["text"] for law in base or () if not law.get("weak")}
    after = {law["text"] for law in head or () if not law.get("weak")}
    return "breaking" if after - before else "compatible"


_breaking, _semantic, _compatible = _always("breaking"), _always("semantic"), _always("compatible")
_END = {"since": "0.2", "remove_in": "0.5"}
_WHEN = {"name": "rollout", "text": "a rollout ran"}
_METRIC_A, _METRIC_B = {"metric": "a_total"}, {"metric": "b_total"}
_LAW = {"text": "a_total <= b_total"}

METRIC_FIELDS = (
    Field("key", _breaking, "another key is a rename", ("panels/found", "panels/seen")),
    Field(
        "eval_key", _breaking, "another name in evaluation", ("eval_panels/n", "eval_panels/count")
    ),
    Field("kind", _semantic, "another way to fold observations", ("total", "maximum")),
    Field("unit", _semantic, "counted in something else", ("token", "object")),
    Field("population", _semantic, "another denominator", ("token", "object")),
    Field(
        "formula",
        _semantic,
        "computed in another way; renamed inputs are no change",
        ({"tree": ["/", _METRIC_A, _METRIC_B]}, {"tree": ["/", _METRIC_B, _METRIC_A]}),
    ),
    Field("level", _semantic, "another quantile", (0.9, 0.99)),
    Field("limits", _semantic, "another histogram, so other rounding", ([1, 100], [1, 1000])),
    Field("of", _semantic, "accumulates, or shares, another metric", ("a_total", "b_total")),
    Field("everywhere", _semantic, "a flag that is on under another condition", (None, True)),
    Field("absent_at_zero", _semantic, "absence means another thing", (None, True)),
    Field("in_loss", _semantic, "optimised, or no longer", (False, True)),
    Field("in_loss_when", _semantic, "optimised under another condition", ("", "gate != 0")),
    Field("provenance", _semantic, "read from another forward pass", ("A1", "B")),
    Field(
        "modes",
        _fewer,
        "a mode less is breaking, one more is compatible",
        (["train", "eval"], ["train"]),
        (["train"], ["train", "eval"]),
        "minor",
    ),
    Field(
        "bounds",
        _narrower,
        "narrower is breaking, wider is compatible",
        ([0, None], [0, 1]),
        ([0, 1], [0, None]),
        "minor",
    ),
    Field(
        "when",
        _condition,
        "a new or other condition is breaking; none any more, or other words, is compatible",
        (None, _WHEN),
        (_WHEN, None),
        "minor",
    ),
    Field(
        "emitted_by",
        _fewer,
        "a trainer less is breaking, one more is compatible",
        (["stage1", "stage2"], ["stage1"]),
        (["stage1"], ["stage1", "stage2"]),
        "minor",
    ),
    Field(
        "aliases",
        _fewer,
        "a spelling less is breaking, one more is compatible",
        (["old"], []),
        ([], ["old"]),
        "minor",
    ),
    Field(
        "logged_aliases",
        _fewer,
        "a spelling less is breaking, one more is compatible",
        (["old"], []),
        ([], ["old"]),
        "minor",
    ),
    Field(
        "alias_switch",
        _switch,
        "a new or other switch is breaking, none any more is compatible",
        ("", "legacy/on"),
        ("legacy/on", ""),
        "minor",
    ),
    Field("eval_twin", _breaking, "becomes another metric in evaluation", ("a_total", "b_total")),
    Field("unprefixed", _breaking, "another name in evaluation", (None, True)),
    Field(
        "deprecated",
        _sooner,
        "an earlier end is breaking; a first one, a later one or none is compatible",
        (_END, {**_END, "remove_in": "0.4"}),
        (None, _END),
        "minor",
    ),
    Field("better", _compatible, "which direction is better", (None, "higher")),
    Field("description", _compatible, "other words", ("found", "panels found")),
    Field("source", _compatible, "another line of the contract", ("a.md:1", "a.md:2")),
)
FOLLOWS = {"digest": "kind, unit, population and formula", "internal": "the key"}
"""Fields that are not compared, for others say the same."""

FAMILY_FIELDS = (
    Field("name", _compatible, "another name of the page", ("Panels", "AllPanels")),
    Field("text", _compatible, "other words", ("Panels.", "Panels of a page.")),
    Field("module", _compatible, "declared in another place", ("a", "b")),
    Field("pattern", _compatible, "keys are compared themselves", ("a/{name}", "{name}")),
    Field(
        "open_names",
        _no_longer,
        "no further names is breaking, further ones are compatible",
        (True, None),
        (None, True),
        "minor",
    ),
    Field(
        "laws",
        _stricter,
        "a new law is breaking, unless it is weak; one less is compatible",
        ([], [_LAW]),
        ([_LAW], []),
    ),
)
CATALOGUE_FIELDS = (
    FAMILY_FIELDS[-1],
    Field(
        "removed",
        _compatible,
        "keys that are gone are compared themselves",
        ([], ["loss/ce"]),
    ),
    Field(
        "suppressed",
        _more,
        "keys that no longer leave are breaking, fewer of them are compatible",
        ([], ["eval_rollout/bbox_*"]),
        (["eval_rollout/bbox_*"], []),
        "minor",
    ),
    Field("order", _compatible, "the same keys in another order", (["a", "b"], ["b", "a"])),
)
