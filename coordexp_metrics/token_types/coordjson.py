"""CoordJSON is JSON whose geometry arrays hold bare coordinate tokens; every piece has one type.

    {"objects": [{"desc": "a dog", "bbox_2d": [<|coord_1|>, <|coord_20|>, ...]}]}

The value of ``desc``, without its quotes, is description; a coordinate token is a coordinate; all
else is format. So quotes, keys, brackets and the separators between coordinates are format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..contract.errors import ObservationError
from ..rollouts.objects import BINS
from .codes import COORD, DESC, FORMAT

__all__ = ["FieldOrder", "TypedText", "read_coordjson", "write_coordjson"]

GEOMETRY = ("bbox_2d", "poly")
FieldOrder: TypeAlias = Literal["as_given", "desc_first", "geometry_first"]
ORDERS: dict[str, Any] = {
    "as_given": None,
    "desc_first": lambda key: (key in GEOMETRY) - (key == "desc"),
    "geometry_first": lambda key: (key == "desc") - (key in GEOMETRY),
}
_COORDS = [(f"<|coord_{k}|>", COORD) for k in range(BINS)]
_SPELLED: dict[object, tuple[str, int]] = dict(enumerate(_COORDS)) | {c[0]: c for c in _COORDS}
# Possessive, and a string that never closes runs to the end: one pass, whatever the text.
_STRING = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)(?:"(\s*+:)?|\\?\Z)'
_LEXEME = re.compile(rf"{_STRING}|(<\|coord_\d+\|>)", re.DOTALL)

Piece: TypeAlias = tuple[str, int]


class TypedText(NamedTuple):
    """A text and the type of each of its characters.

    Attributes:
        text: CoordJSON.
        types: DESC, COORD or FORMAT, one for each character.
    """

    text: str
    types: NDArray[np.int8]


def write_coordjson(
    payload: Mapping[str, Any], field_order: FieldOrder = "as_given", ensure_ascii: bool = False
) -> TypedText:
    """Spell a payload, knowing the type of every piece because it is spelled here.

    Args:
        payload: ``{"objects": [{"desc": str, "bbox_2d" or "poly": [...]}]}``. Coordinates are
            tokens such as ``"<|coord_7|>"`` or bins 0..999, flat or in points; other keys are JSON.
        field_order: ``"desc_first"`` or ``"geometry_first"``; by default as the objects have it.
        ensure_ascii: whether descriptions are escaped to ASCII, as ``json.dumps`` does unasked.

    Raises:
        ObservationError: the payload has no such form; it says what.

    >>> write_coordjson({"objects": [{"desc": "a", "bbox_2d": [1, 2, 3, 4]}]}).text
    '{"objects": [{"desc": "a", "bbox_2d": [<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]}]}'
    """
    if field_order not in ORDERS:
        raise _unusable("field_order", field_order, f"must be one of {', '.join(ORDERS)}")
    objects = payload.get("objects") if isinstance(payload, Mapping) else None
    if isinstance(objects, str) or not isinstance(objects, Sequence):
        raise _unusable("payload", payload, "must be a mapping with a list of 'objects'")
    quote = encode_basestring_ascii if ensure_ascii else encode_basestring
    pieces: list[Piece] = []
    separator = "{"
    for key, value in payload.items():
        pieces.append((f"{separator}{quote(_key(key))}: ", FORMAT))
        if key == "objects":
            _write_objects(pieces, objects, ORDERS[field_order], quote)
        else:
            pieces.append((_plain(value, ensure_ascii), FORMAT))
        separator = ", "
    pieces.append(("}", FORMAT))
    return _typed(pieces)


def _write_objects(pieces: list[Piece], objects: Sequence[Any], order: Any, quote: Any) -> None:
    separator = "["
    for item in objects:
        if not isinstance(item, Mapping):
            raise _unusable("payload", item, "must hold objects that are mappings")
        before = separator + "{"
        for key in item if order is None else sorted(item, key=order):
            pieces.append((f"{before}{quote(_key(key))}: ", FORMAT))
            _write_field(pieces, key, item[key], quote)
            before = ", "
        pieces.append(("}" if item else separator + "{}", FORMAT))
        separator = ", "
    pieces.append(("]" if objects else "[]", FORMAT))


def _write_field(pieces: list[Piece], key: str, value: Any, quote: Any) -> None:
    if key == "desc":
        if not isinstance(value, str):
            raise _unusable("payload", value, "must have text as 'desc'")
        pieces += (('"', FORMAT), (quote(value)[1:-1], DESC), ('"', FORMAT))
    elif key in GEOMETRY:
        _write_geometry(pieces, value)
    else:
        pieces.append((_plain(value, quote is encode_basestring_ascii), FORMAT))


def _write_geometry(pieces: list[Piece], values: Any) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise _unusable("payload", values, "must have a list of coordinates as geometry")
    separator = "["
    for value in values:
        pieces.append((separator, FORMAT))
        coordinate = _SPELLED.get(value) if type(value) in {int, str} else None
        if coordinate is not None:
            pieces.append(coordinate)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            _write_geometry(pieces, value)
        else:
            raise _unusable("payload", value, "must have bins 0..999 or their tokens as geometry")
        separator = ", "
    pieces.append(("]" if values else "[]", FORMAT))


def read_coordjson(text: str) -> TypedText:
    """Type a text that is CoordJSON already, whatever its white space.

    Raises:
        ObservationError: it does not open with a brace.

    >>> typed = read_coordjson('{"objects":[{"desc":"a","bbox_2d":[<|coord_1|>]}]}')
    >>> [typed.text[i] for i in (typed.types == DESC).nonzero()[0]]
    ['a']
    """
    if not text.lstrip().startswith("{"):
        raise _unusable("payload", text, "must be CoordJSON, which opens with a brace")
    return _typed(list(_pieces(text)))


def _pieces(text: str) -> Iterator[Piece]:
    key, end = "", 0
    for found in _LEXEME.finditer(text):
        value, is_key, coordinate = found.groups()
        if is_key:
            key = value
        elif coordinate or key == "desc":
            start, stop = found.span(3 if coordinate else 1)
            yield text[end:start], FORMAT
            yield text[start:stop], COORD if coordinate else DESC
            end = stop
    yield text[end:], FORMAT


def _typed(pieces: list[Piece]) -> TypedText:
    texts, types = zip(*pieces, strict=True)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return TypedText("".join(texts), np.repeat(np.array(types, np.int8), lengths))


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise _unusable("payload", key, "must have text as keys")
    return key


def _plain(value: object, ensure_ascii: bool) -> str:
    try:
        return json.dumps(value, ensure_ascii=ensure_ascii)
    except (TypeError, ValueError, RecursionError):
        raise _unusable("payload", value, "must hold nothing that JSON cannot") from None


def _unusable(argument: str, value: object, why: str) -> ObservationError:
    return ObservationError("token_types", argument, value, why)
