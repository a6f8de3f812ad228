"""What changed between two catalogues, and the version that must follow.

A key that has another name in the second catalogue is one rename, not a loss and a gain; formulas
that only follow a rename have not changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..contract.catalogue import Catalogue
from ..contract.interchange import to_data
from .fields import CATALOGUE_FIELDS, FAMILY_FIELDS, METRIC_FIELDS, Bump, Field, Level
from .renamed import renamed_keys

__all__ = ["Change", "Difference", "compare", "formula_text"]

OPERATORS = frozenset("+-*/")
_BUMPS: tuple[Bump, ...] = ("none", "patch", "minor", "major")
_LEVELS = {"breaking": 0, "semantic": 1, "compatible": 2}
_RULES = {"breaking": "CXM703", "semantic": "CXM704", "compatible": "CXM705"}


class Change(NamedTuple):
    """One difference.

    Attributes:
        rule: its id, ``CXM704``.
        level: ``breaking``, ``semantic`` or ``compatible``.
        key: the key in the second catalogue, or in the first where it is gone; empty for a change
            of the catalogue as a whole.
        field: what changed, such as ``unit``; ``key`` where a key came, went or was renamed.
        before, after: the values; None where there is none.
        bump: the version step that it asks for.
        metric: whether ``key`` is a key; else it is the name of a family.
    """

    rule: str
    level: Level
    key: str
    field: str
    before: Any
    after: Any
    bump: Bump
    metric: bool = True


@dataclass(frozen=True)
class Difference:
    """All changes, worst first."""

    changes: tuple[Change, ...]
    keys: int = 0

    @property
    def bump(self) -> Bump:
        """The version step that follows: the greatest that any change asks for."""
        return max((change.bump for change in self.changes), key=_BUMPS.index, default="none")

    def at_least(self, level: Level) -> tuple[Change, ...]:
        """Changes of ``level`` or worse; breaking is worse than semantic."""
        return tuple(c for c in self.changes if _LEVELS[c.level] <= _LEVELS[level])


def compare(base: Catalogue, head: Catalogue) -> Difference:
    """The difference from ``base`` to ``head``.

    >>> from coordexp_metrics import CATALOGUE
    >>> compare(CATALOGUE, CATALOGUE).bump
    'none'
    """
    old, new = to_data(base), to_data(head)
    before, after = _metrics(old), _metrics(new)
    names = renamed_keys(before, after, head)
    old, before = _follow(old, names), {key: _follow(m, names) for key, m in before.items()}
    changes = [
        *_keys(before, after, names),
        *_metric_changes(before, after, names),
        *_family_changes(old, new),
        *_catalogue_changes(old, new, names),
    ]
    order = sorted(changes, key=lambda c: (_LEVELS[c.level], c.rule, c.key, c.field))
    return Difference(tuple(order), len(after))


def _metrics(data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {metric["key"]: metric for family in data["families"] for metric in family["metrics"]}


def _follow(data: Any, names: Mapping[str, str], field: str = "") -> Any:
    """``data`` with new names where it points at renamed keys."""
    if isinstance(data, dict):
        return {name: _follow(part, names, name) for name, part in data.items()}
    if isinstance(data, list):
        return [_follow(part, names) for part in data]
    pointers = {"metric", "of", "eval_twin", "alias_switch", "replacement"}
    return names.get(data, data) if field in pointers else data


def _keys(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[Change]:
    for key in before.keys() - after.keys() - names.keys():
        yield Change("CXM701", "breaking", key, "key", key, None, "major")
    for key in after.keys() - before.keys() - set(names.values()):
        yield Change("CXM706", "compatible", key, "key", None, key, "minor")
    for old, new in names.items():
        yield Change("CXM702", "breaking", new, "key", old, new, "major")


def _metric_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[Change]:
    for key, metric in before.items():
        head = after.get(names.get(key, key))
        if head is None:
            continue
        # The name in evaluation follows a rename, which has been said.
        said = {"key", "eval_key"} if key in names else {"key"}
        yield from _changes(head["key"], metric, head, METRIC_FIELDS, said)


def _changes(
    key: str,
    base: Mapping[str, Any],
    head: Mapping[str, Any],
    fields: Sequence[Field],
    said: set[str] | frozenset[str] = frozenset(),
    *,
    metric: bool = True,
) -> Iterator[Change]:
    for field in fields:
        before, after = _meaning(field, base), _meaning(field, head)
        if field.name in said or before == after:
            continue
        level = field.judge(before, after)
        bump = field.bump if level == "compatible" else "major"
        yield Change(_RULES[level], level, key, field.name, before, after, bump, metric)


def _meaning(field: Field, data: Mapping[str, Any]) -> Any:
    """The value of a field, without what only shows it, and in any order where none counts."""
    value = data.get(field.name)
    if field.name == "formula" and value is not None:
        return {"tree": value["tree"]}
    if field.name == "laws":
        return [_law(law) for law in value or ()]
    if field.name in {"modes", "emitted_by", "aliases", "logged_aliases"}:
        return sorted(value or ())
    return value or None if isinstance(value, (str, list, bool)) else value


def _law(law: Mapping[str, Any]) -> dict[str, Any]:
    text = f"{formula_text(law['left'])} {law['relation']} {formula_text(law['right'])}"
    return {"text": text, **({"weak": True} if law.get("weak") else {})}


def formula_text(tree: Any) -> str:
    """A formula of a JSON catalogue in print, every operation in brackets.

    >>> formula_text(["/", {"metric": "a_total"}, ["exp", 2]])
    '(a_total / exp(2))'
    """
    if isinstance(tree, dict):
        return str(tree.get("metric") or tree["parameter"])
    if isinstance(tree, list):
        name, *parts = tree[0], *map(formula_text, tree[1:])
        return (
            f"({parts[0]} {name} {parts[1]})"
            if name in OPERATORS
            else f"{name}({', '.join(parts)})"
        )
    return str(tree)


def _family_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Families that have a key in common are one family, whatever they are called."""
    heads = {metric["key"]: family for family in new["families"] for metric in family["metrics"]}
    by_name = {family["name"]: family for family in new["families"]}
    for family in old["families"]:
        shared = (heads.get(metric["key"]) for metric in family["metrics"])
        head = next((f for f in shared if f is not None), by_name.get(family["name"]))
        if head is not None:
            yield from _changes(head["name"], family, head, FAMILY_FIELDS, metric=False)


def _catalogue_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[Change]:
    base, head = (
        {**data, **{name: _patterns(data[name]) for name in ("removed", "suppressed")}}
        for data in (old, new)
    )
    kept = [names.get(key, key) for key in _metrics(old)]
    present = [key for key in _metrics(new) if key in set(kept)]
    base["order"] = [key for key in kept if key in set(present)]
    head["order"] = present
    yield from _changes("", base, head, CATALOGUE_FIELDS, metric=False)


def _patterns(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted(f"{e['pattern']} {' '.join(e.get('modes', ()))}".strip() for e in entries)
