"""CRC32C as TensorBoard's record files use it: in C where a package has it, else by a table.

Writer and reader share it, and neither needs numpy for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import TypeAlias, cast

__all__ = [
    "ALL_ONES",
    "REVERSED_POLYNOMIAL",
    "Checksum",
    "by_table",
    "crc32c",
    "installed",
    "masked",
]

Checksum: TypeAlias = Callable[[bytes], int]

REVERSED_POLYNOMIAL = 0x82F63B78
ALL_ONES = 0xFFFFFFFF
MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes) -> int:
    """CRC32C of ``data``.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    return _fastest()(data)


def masked(checksum: int) -> int:
    """The form in which a TFRecord holds a checksum: rotated by 15 bits, plus a constant.

    >>> hex(masked(crc32c(b"123456789")))
    '0xc78ab0e5'
    """
    return ((checksum >> 15 | checksum << 17) + MASK_DELTA) & ALL_ONES


def installed() -> Checksum | None:
    """CRC32C in C, where one of the two packages that have it is installed."""
    try:
        import google_crc32c

        if google_crc32c.implementation == "c":  # its Python is slower than ours
            return cast(Checksum, google_crc32c.value)
    except ImportError:
        pass
    try:
        import crc32c as other
    except ImportError:
        return None
    return cast(Checksum, other.crc32c)


def by_table(data: bytes) -> int:
    """CRC32C of ``data`` without a library: two bytes at a time, about 20 MB a second."""
    table = _table()
    crc = ALL_ONES
    for word in struct.unpack_from(f"<{len(data) // 2}H", data):
        crc = table[(crc ^ word) & 0xFFFF] ^ crc >> 16
    if len(data) % 2:
        crc = _step(crc ^ data[-1], 8)
    return crc ^ ALL_ONES


@cache
def _table() -> tuple[int, ...]:
    """What two bytes make of a checksum."""
    bytewise = [_step(byte, 8) for byte in range(256)]
    return tuple(
        bytewise[low_out & 0xFF] ^ low_out >> 8
        for word in range(1 << 16)
        for low_out in (bytewise[word & 0xFF] ^ word >> 8,)
    )


def _step(crc: int, bits: int) -> int:
    for _ in range(bits):
        crc = crc >> 1 ^ (REVERSED_POLYNOMIAL if crc & 1 else 0)
    return crc


@cache
def _fastest() -> Checksum:
    return installed() or by_table
