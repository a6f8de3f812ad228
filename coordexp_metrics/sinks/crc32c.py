"""The checksum of an event file is linear: what a bit adds to it depends on its place alone.

CRC32C over GF(2): the checksum of two texts laid over each other is their checksums laid over each
other. So a long text is halved again and again, and a text of which only some bytes change from one
record to the next costs those bytes. Where C code for it is installed, that is used instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..contract.crc32c import ALL_ONES, REVERSED_POLYNOMIAL

__all__ = ["Patch", "crc32c"]

Words = NDArray[np.uint32]

SHORT = 64


def crc32c(data: bytes) -> int:
    """CRC32C of ``data``.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    if len(data) < SHORT:
        state = ALL_ONES
        for byte in data:
            state = _BYTES[(state ^ byte) & 255] ^ (state >> 8)
        return state ^ ALL_ONES
    # Zeros before a text add nothing, so it is filled up to a power of two at its front.
    states = np.zeros(1 << (len(data) - 1).bit_length(), "<u4")
    text = states[-len(data) :]
    text[:] = np.frombuffer(data, np.uint8)
    text[:4] ^= 255
    states = _TABLE[states]
    doubling = 0
    while len(states) > 1:
        states = _moved(states[0::2], doubling) ^ states[1::2]
        doubling += 1
    return int(states[0]) ^ ALL_ONES


class Patch:
    """The checksum of a text of which only the bytes at some places change.

    Args:
        text: with zeros at those places.
        places: the places, as indices.

    >>> hex(Patch(b"1234\\x00\\x00789", [4, 5]).checksum(b"56"))
    '0xe3069283'
    """

    def __init__(self, text: bytes, places: Sequence[int]) -> None:
        self._base = crc32c(text)
        behind = len(text) - 1 - np.asarray(places, np.int64)
        bits = np.tile(_TABLE[1 << np.arange(8)], (len(behind), 1))
        for doubling in range(len(text).bit_length()):
            due = (behind >> doubling & 1).astype(bool)
            bits[due] = _moved(bits[due].ravel(), doubling).reshape(-1, 8)
        self._bits = bits.ravel()

    def checksum(self, changing: bytes) -> int:
        """The checksum with ``changing`` at the places, in their order."""
        on = np.unpackbits(np.frombuffer(changing, np.uint8), bitorder="little")
        return int(np.bitwise_xor.reduce(self._bits * on)) ^ self._base


def _moved(states: Words, doubling: int) -> Words:
    """``states`` after ``2 ** doubling`` further zero bytes."""
    tables = _zeros(doubling)
    parts = np.ascontiguousarray(states).view(np.uint8).reshape(-1, 4)
    moved = tables[0][parts[:, 0]]
    for table, part in zip(tables[1:], parts.T[1:], strict=True):
        moved ^= table[part]
    return moved


@cache
def _zeros(doubling: int) -> tuple[Words, ...]:
    """What each byte of a state becomes after ``2 ** doubling`` further zero bytes."""
    if doubling == 0:
        places = np.arange(256, dtype="<u4")
        return _TABLE, places, places << np.uint32(8), places << np.uint32(16)
    return tuple(_moved(table, doubling - 1) for table in _zeros(doubling - 1))


def _byte_table() -> tuple[int, ...]:
    table = list(range(256))
    for _ in range(8):
        table = [state >> 1 ^ (REVERSED_POLYNOMIAL if state & 1 else 0) for state in table]
    return tuple(table)


_BYTES = _byte_table()
_TABLE: Words = np.array(_BYTES, "<u4")
