"""A line that holds nothing which JSON blurs may be decoded by orjson, and by nothing else.

orjson keeps the last of two equal keys, rounds an integer beyond 64 bits, and takes ``-0`` for 0.
So each line is cleared of these first; whatever is not cleared goes to the strict decoder, which
also names what it finds. Where orjson is not installed every line goes there.
"""

from __future__ import annotations

import re
from typing import Any

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

__all__ = ["UNSURE", "quickly"]

UNSURE = object()
NUMBERS = frozenset({float, int})
WORD = 2.0**63
_MINUS_ZERO = re.compile(rb"-0(?![.0-9eE])")


def quickly(raw: bytes, depth: int) -> Any:
    r"""The object in ``raw``, or UNSURE.

    >>> quickly(b'{"a": 1, "a": 2}', 32) is UNSURE
    True
    """
    if orjson is None or raw[:1] != b"{" or raw[-1:] != b"}":
        return UNSURE
    if b"\\" in raw or _MINUS_ZERO.search(raw):
        return UNSURE
    try:
        value = orjson.loads(raw)
    except ValueError:
        return UNSURE
    strings = _strings(value, depth)
    # Without a backslash each string has two quotes, so a key that was lost leaves two over.
    return value if strings is not None and raw.count(b'"') == 2 * strings else UNSURE


def _strings(value: Any, depth: int) -> int | None:
    """Keys and strings in ``value``; None where it is too deep, or a float may have been an int."""
    named = type(value) is dict
    parts = list(value.values()) if named else value
    types = list(map(type, parts))
    kinds = set(types)
    floats = parts if kinds <= NUMBERS else [part for part in parts if type(part) is float]
    if depth < 1 or (floats and not (max(floats) < WORD and min(floats) > -WORD)):
        return None
    count = types.count(str) + (len(parts) if named else 0)
    for part in parts if not kinds.isdisjoint({dict, list}) else ():
        if type(part) in {dict, list}:
            inner = _strings(part, depth - 1)
            if inner is None:
                return None
            count += inner
    return count
