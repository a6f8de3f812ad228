"""Two records with the same keys differ in their numbers alone: the rest is laid out once.

An event file is a row of TFRecords: a length, its masked CRC32C, the bytes of an ``Event`` message,
their masked CRC32C. The message is written here as protobuf would write it; only the wall time, the
step and 4 bytes a value change from one record to the next.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..contract.crc32c import Checksum, masked
from ..contract.errors import safe_text
from .crc32c import Patch, crc32c

__all__ = ["EventLayout", "framed", "tag_bytes", "varint"]

Bytes = NDArray[np.uint8]
Values = NDArray[np.float32]

LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
WALL_TIME = struct.Struct("<d")
HEAD = LENGTH.size + CHECKSUM.size
# Field numbers of Event, Summary and Summary.Value, each with its wire type.
EVENT_WALL_TIME, EVENT_STEP, EVENT_SUMMARY = b"\x09", b"\x10", b"\x2a"
SUMMARY_VALUE, VALUE_TAG, VALUE_SIMPLE = b"\x0a", b"\x0a", b"\x15"
NO_VALUE = bytes(4)


def varint(number: int) -> bytes:
    """``number`` as protobuf spells an int64.

    Raises:
        ValueError: it is no int64.

    >>> varint(7), varint(300)
    (b'\\x07', b'\\xac\\x02')
    """
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"a step is an int64; got {safe_text(number)}")
    number &= (1 << 64) - 1
    spelled = bytearray()
    while number > 127:
        spelled.append(number & 127 | 128)
        number >>= 7
    spelled.append(number)
    return bytes(spelled)


def tag_bytes(key: str) -> bytes:
    """``key`` in UTF-8; what UTF-8 has no bytes for is spelled out, as ``\\\\udc80``."""
    return key.encode("utf-8", "backslashreplace")


def framed(message: bytes, checksum: Checksum) -> bytes:
    """``message`` as a TFRecord."""
    return _head(len(message), checksum) + message + CHECKSUM.pack(masked(checksum(message)))


class EventLayout:
    """The bytes of an event, for one sequence of keys and one length of the step.

    Args:
        keys: the tags, in order.
        step_size: how many bytes the step takes as a varint.
        fast: CRC32C in C, or None where it is not installed.
    """

    def __init__(self, keys: Sequence[str], step_size: int, fast: Checksum | None) -> None:
        message, places = _message(keys, step_size)
        self._places = np.array(places) + HEAD
        head = _head(len(message), fast or crc32c)
        self._record = np.frombuffer(bytearray(head + message + NO_VALUE), np.uint8)
        self._message = self._record[HEAD:-4]
        self._checksum = Patch(message, places).checksum if fast is None else self._of_whole(fast)

    def record(self, wall_time: float, step: bytes, values: Values) -> bytes:
        """A TFRecord.

        Args:
            wall_time: seconds since the epoch.
            step: the step as a varint of the length that this layout has.
            values: one float32 for each key, in order.
        """
        changing = WALL_TIME.pack(wall_time) + step + values.astype("<f4", copy=False).tobytes()
        self._record[self._places] = np.frombuffer(changing, np.uint8)
        checksum = self._checksum(changing)
        self._record[-4:] = np.frombuffer(CHECKSUM.pack(masked(checksum)), np.uint8)
        return self._record.tobytes()

    def _of_whole(self, fast: Checksum) -> Checksum:
        """All of the message, which costs C less than picking what changed costs numpy."""
        return lambda _: fast(self._message.tobytes())


def _message(keys: Sequence[str], step_size: int) -> tuple[bytes, list[int]]:
    """An ``Event`` with zeros for its numbers, and where these stand."""
    values, offsets = bytearray(), []
    for tag in map(tag_bytes, keys):
        inner = VALUE_TAG + varint(len(tag)) + tag + VALUE_SIMPLE
        values += SUMMARY_VALUE + varint(len(inner) + len(NO_VALUE)) + inner
        offsets.append(len(values))
        values += NO_VALUE
    before = EVENT_WALL_TIME + bytes(WALL_TIME.size) + EVENT_STEP + bytes(step_size)
    start = before + EVENT_SUMMARY + varint(len(values))
    places = [*range(1, 1 + WALL_TIME.size), *range(len(before) - step_size, len(before))]
    places += [len(start) + offset + byte for offset in offsets for byte in range(4)]
    return bytes(start + values), places


def _head(length: int, checksum: Checksum) -> bytes:
    spelled = LENGTH.pack(length)
    return spelled + CHECKSUM.pack(masked(checksum(spelled)))
