"""JSON data against the part of JSON Schema that this package's own schemas use.

A file that people write by hand is checked by the very schema that their editor reads, without a
dependency at run time; a ``$comment`` beside a rule is the reason that a fault gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from ..errors import safe_text
from ..keys import near

__all__ = ["Fault", "faults"]

Rule: TypeAlias = Mapping[str, Any]


class Fault(NamedTuple):
    """One thing that is wrong: where it stands, such as ``families[0].name``, and what it is."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'the file'} {self.message}"


class Spot(NamedTuple):
    """A piece of data, the rule for it, the schema that the rule is of, and where it stands."""

    data: Any
    rule: Rule
    root: Rule
    path: str

    def inner(self, data: Any, rule: Rule, step: str = "") -> Iterator[Fault]:
        """What ``rule`` finds wrong with a part of the data, or with the same data."""
        yield from faults(data, rule, self.root, (self.path + step).removeprefix("."))

    def fault(self, message: str) -> Fault:
        """A fault at this spot."""
        return Fault(self.path, message)

    def must(self, what: str) -> Fault:
        """The fault that this spot is not what it must be."""
        return self.fault(f"must be {what}, not {_shown(self.data)}")


def faults(data: Any, rule: Rule, root: Rule, path: str = "") -> Iterator[Fault]:
    """What ``rule``, a part of the schema ``root``, finds wrong with ``data``.

    >>> schema = {"type": "object", "required": ["unit"]}
    >>> [str(fault) for fault in faults({}, schema, schema)]
    ["the file has no 'unit'"]
    """
    spot = Spot(data, rule, root, path)
    for word, value in rule.items():
        check = _WORDS.get(word)
        if check is not None:
            yield from check(spot, value)


def _type(spot: Spot, value: Any) -> Iterator[Fault]:
    names = [value] if isinstance(value, str) else value
    if not any(_TYPES[name](spot.data) for name in names):
        yield spot.must(_either(names))


def _enum(spot: Spot, value: Any) -> Iterator[Fault]:
    if not any(type(spot.data) is type(choice) and spot.data == choice for choice in value):
        yield spot.must(_either(map(repr, value)))


def _const(spot: Spot, value: Any) -> Iterator[Fault]:
    yield from _enum(spot, [value])


def _pattern(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, str) and re.search(value, spot.data) is None:
        yield spot.must(spot.rule.get("$comment", value))


def _shortest(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, str) and len(spot.data) < value:
        yield spot.fault("must not be empty")


def _longest(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, str) and len(spot.data) > value:
        yield spot.fault(f"must have at most {value} characters, not {len(spot.data)}")


def _above(spot: Spot, value: Any) -> Iterator[Fault]:
    if _number(spot.data) and not spot.data > value:
        yield spot.must(f"greater than {value}")


def _below(spot: Spot, value: Any) -> Iterator[Fault]:
    if _number(spot.data) and not spot.data < value:
        yield spot.must(f"less than {value}")


def _fewest(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, list) and len(spot.data) < value:
        yield spot.fault(f"must have at least {value} entries, not {len(spot.data)}")


def _most(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, list) and len(spot.data) > value:
        yield spot.fault(f"must have at most {value} entries, not {len(spot.data)}")


def _first_items(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, list):
        for index, (item, rule) in enumerate(zip(spot.data, value, strict=False)):
            yield from spot.inner(item, rule, f"[{index}]")


def _items(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, list):
        start = len(spot.rule.get("prefixItems", ()))
        for index, item in enumerate(spot.data[start:], start):
            yield from spot.inner(item, value, f"[{index}]")


def _required(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, dict):
        why = f": {spot.rule['$comment']}" if "$comment" in spot.rule else ""
        yield from (spot.fault(f"has no {name!r}{why}") for name in value if name not in spot.data)


def _properties(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, dict):
        for name, rule in value.items():
            if name in spot.data and rule is False:
                yield spot.fault(f"has {name!r}, which does not belong here")
            elif name in spot.data:
                yield from spot.inner(spot.data[name], rule, f".{name}")


def _no_others(spot: Spot, value: Any) -> Iterator[Fault]:
    if isinstance(spot.data, dict) and value is False:
        known = spot.rule.get("properties", {})
        for name in spot.data:
            if name not in known:
                hint = "".join(f"; did you mean {like!r}?" for like in near(str(name), known, 1))
                yield spot.fault(f"has {safe_text(name)}, which is not known here{hint}")


def _all_of(spot: Spot, value: Any) -> Iterator[Fault]:
    for rule in value:
        yield from spot.inner(spot.data, rule)


def _if(spot: Spot, value: Any) -> Iterator[Fault]:
    if next(spot.inner(spot.data, value), None) is None:
        yield from spot.inner(spot.data, spot.rule["then"])


def _reference(spot: Spot, value: Any) -> Iterator[Fault]:
    yield from spot.inner(spot.data, spot.root["$defs"][value.rpartition("/")[2]])


_WORDS: dict[str, Callable[[Spot, Any], Iterator[Fault]]] = {
    "$ref": _reference,
    "additionalProperties": _no_others,
    "allOf": _all_of,
    "const": _const,
    "enum": _enum,
    "exclusiveMaximum": _below,
    "exclusiveMinimum": _above,
    "if": _if,
    "items": _items,
    "maxItems": _most,
    "maxLength": _longest,
    "minItems": _fewest,
    "minLength": _shortest,
    "pattern": _pattern,
    "prefixItems": _first_items,
    "properties": _properties,
    "required": _required,
    "type": _type,
}


def _number(data: Any) -> bool:
    if type(data) is int:
        return abs(data) < 1 << 1023
    return type(data) is float and math.isfinite(data)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "array": lambda data: isinstance(data, list),
    "boolean": lambda data: isinstance(data, bool),
    "integer": lambda data: type(data) is int,
    "null": lambda data: data is None,
    "number": _number,
    "object": lambda data: isinstance(data, dict),
    "string": lambda data: isinstance(data, str),
}


def _shown(data: Any) -> str:
    shapes = {list: "an array", dict: "an object", type(None): "null"}
    return shapes.get(type(data)) or safe_text(data)


def _either(names: Any) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else str(last)
