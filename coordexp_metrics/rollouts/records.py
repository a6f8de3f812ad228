"""A record is an object, or it is dropped for the first reason that applies.

The reasons stand in the order in which they are tested. Of a record that cannot be read nothing can
be said, so its reason is ``other``.
"""

from __future__ import annotations

import json
import re
from typing import TypeAlias

from .objects import DetectedObject, FieldOrder, Geometry
from .scanner import WS, close

__all__ = ["AMBIGUOUS", "REASONS", "judge", "read_usual", "usual_record"]

REASONS = (
    "missing_desc",
    "wrong_arity",
    "unexpected_keys",
    "order_violation",
    "bbox_invalid",
    "other",
)
AMBIGUOUS = "ambiguous"
_KINDS: tuple[Geometry, ...] = ("bbox_2d", "poly")

_TEXT = r'"([^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+)"'
_COORDINATE = r"<\|coord_(?:0|[1-9][0-9]{0,2})\|>"
_ARRAY = rf"\[{WS}{_COORDINATE}(?:{WS},{WS}{_COORDINATE})*+{WS}\]"
_SCALAR = (
    r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null|<\|coord_[0-9]++\|>"
)
_COORDINATES = re.compile(_ARRAY)
_DIGITS = re.compile("[0-9]+")
_KEY = re.compile(rf"{WS}{_TEXT}{WS}:{WS}")
_VALUE = re.compile(rf"{_TEXT}|{_SCALAR}")
_NEXT = re.compile(rf"{WS}(?:(,)|\Z)")

_DESC = rf'"desc"{WS}:{WS}{_TEXT}'
_GEOMETRY = rf'"(bbox_2d|poly)"{WS}:{WS}({_ARRAY})'
_USUAL = {
    "desc_first": re.compile(rf"\{{{WS}{_DESC}{WS},{WS}{_GEOMETRY}{WS}\}}"),
    "geometry_first": re.compile(rf"\{{{WS}{_GEOMETRY}{WS},{WS}{_DESC}{WS}\}}"),
}

Verdict: TypeAlias = DetectedObject | str
Field: TypeAlias = tuple[str, str | None, str]  # key, text if it is one, the value as it stands


def usual_record(field_order: FieldOrder) -> re.Pattern[str]:
    """What a record looks like that has the right fields in the right order."""
    return _USUAL[field_order]


def read_usual(found: re.Match[str], field_order: FieldOrder) -> Verdict:
    """The object of a record that looks as usual, or why it is none."""
    first, second, third = found.groups()
    usual = (first, second, third) if field_order == "desc_first" else (third, first, second)
    desc, array = _decoded(usual[0]), usual[2]
    kind: Geometry = "bbox_2d" if usual[1] == "bbox_2d" else "poly"
    points = tuple(map(int, _DIGITS.findall(array)))
    reason = _missing(desc) or _wrong(kind, points) or _no_box(kind, points)
    return reason or DetectedObject(kind, points, desc)


def judge(text: str, start: int, end: int, field_order: FieldOrder) -> Verdict:
    """The object of a record that has an end; or ``ambiguous``, or the reason to drop it."""
    fields = _fields(text, start + 1, end - 1) if text[start] == "{" else None
    if fields is None or text[end - 1] != "}":
        return "other"
    keys = [key for key, _, _ in fields]
    if len(set(keys)) < len(keys):
        return AMBIGUOUS
    desc = next((words for key, words, _ in fields if key == "desc"), None)
    values = {key: value for key, _, value in fields}
    shapes = [(kind, _points(values[kind])) for kind in _KINDS if kind in values]
    if reason := _missing(desc):
        return reason
    if not shapes or any(_wrong(*shape) for shape in shapes):
        return "wrong_arity"
    if len(keys) > 2:
        return "unexpected_keys"
    if (keys[0] == "desc") != (field_order == "desc_first"):
        return "order_violation"
    return _no_box(*shapes[0]) or DetectedObject(*shapes[0], desc or "")


def _fields(text: str, at: int, stop: int) -> list[Field] | None:
    """The fields between two braces; None if they are no JSON."""
    fields: list[Field] = []
    more = bool(text[at:stop].strip())
    while more:
        key = _KEY.match(text, at, stop)
        end = _value_end(text, key.end(), stop) if key else None
        after = _NEXT.match(text, end, stop) if end is not None else None
        if key is None or after is None or end is None:
            return None
        value = text[key.end() : end]
        words = _decoded(value[1:-1]) if value.startswith('"') else None
        fields.append((_decoded(key[1]), words, value))
        at, more = after.end(), after[1] is not None
    return fields


def _value_end(text: str, at: int, stop: int) -> int | None:
    if text[at:stop][:1] in {"[", "{"}:
        return close(text, at, stop)
    found = _VALUE.match(text, at, stop)
    return found.end() if found else None


def _points(array: str) -> tuple[int, ...]:
    """The bins of a geometry array; none if it holds anything else."""
    return tuple(map(int, _DIGITS.findall(array))) if _COORDINATES.fullmatch(array) else ()


def _missing(desc: str | None) -> str:
    return "" if desc and desc.strip() else "missing_desc"


def _wrong(kind: str, points: tuple[int, ...]) -> str:
    count = len(points)
    right = count == 4 if kind == "bbox_2d" else count >= 6 and count % 2 == 0
    return "" if right else "wrong_arity"


def _no_box(kind: str, points: tuple[int, ...]) -> str:
    if kind == "poly":
        return ""
    x1, y1, x2, y2 = points
    return "" if x1 < x2 and y1 < y2 else "bbox_invalid"


def _decoded(string: str) -> str:
    return str(json.loads(f'"{string}"')) if "\\" in string else string
