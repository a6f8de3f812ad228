"""The wire format of protobuf messages, one level deep: no recursion, and no size that is believed.

A field that a caller does not know costs nothing but its bytes, so nesting can go as deep as it
likes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = [
    "BadMessageError",
    "double_of",
    "fields",
    "float_of",
    "signed",
    "texts",
    "varints",
    "zigzag",
]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT = 10
SIGN = 1 << 63

Value = int | bytes


class BadMessageError(ValueError):
    """The bytes are no message."""


def fields(data: bytes) -> Iterator[tuple[int, Value]]:
    r"""Number and value of each field: an int, or the bytes of what has a length or a fixed size.

    Raises:
        BadMessageError: the bytes are no message.

    >>> list(fields(b"\x08\x96\x01\x12\x02hi"))
    [(1, 150), (2, b'hi')]
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise BadMessageError("a field without a number")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in {FIXED32, FIXED64}:
            size = 4 if kind == FIXED32 else 8
        else:
            raise BadMessageError(f"wire type {kind}")
        if size > end - at:
            raise BadMessageError("a field is longer than its message")
        yield number, data[at : at + size]
        at += size


def varints(value: Value) -> list[int]:
    """The numbers of a repeated field, packed or not."""
    if type(value) is int:
        return [value]
    data, found, at = bytes_of(value), [], 0
    while at < len(data):
        number, at = _varint(data, at)
        found.append(number)
    return found


def bytes_of(value: Value) -> bytes:
    """``value``, if it has bytes."""
    if type(value) is not bytes:
        raise BadMessageError("a number where bytes should be")
    return value


def texts(value: Value) -> str:
    """``value`` as text."""
    try:
        return bytes_of(value).decode()
    except UnicodeDecodeError as error:
        raise BadMessageError("text that is not UTF-8") from error


def signed(value: Value) -> int:
    """``value`` as an int64."""
    if type(value) is not int:
        raise BadMessageError("bytes where a number should be")
    return value - 2 * SIGN if value & SIGN else value


def zigzag(value: Value) -> int:
    """``value`` as a sint64."""
    number = signed(value) & (2 * SIGN - 1)
    return (number >> 1) ^ -(number & 1)


def double_of(value: Value) -> float:
    """``value`` as a double."""
    return _fixed("<d", 8, value)


def float_of(value: Value) -> float:
    """``value`` as a float."""
    return _fixed("<f", 4, value)


def _fixed(form: str, size: int, value: Value) -> float:
    data = bytes_of(value)
    if len(data) != size:
        raise BadMessageError("a number of the wrong size")
    found: float = struct.unpack(form, data)[0]
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in data[at : at + MAX_VARINT]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2 * SIGN - 1), at
        shift += 7
    raise BadMessageError("a number without an end")
