"""A float keeps what was counted: float32 ends at 2**24, bfloat16 at three digits."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice
from statistics import median

from ..series import Column
from .log import Case, Log, Offender, said, shown
from .words import named

__all__ = ["few_digits", "stuck_counters"]

ENDS = {2.0**24: "float32", 2.0**11: "float16", 2.0**8: "bfloat16", 65504.0: "float16"}
ENOUGH = 3
MANY = 12


def stuck_counters(log: Log) -> Iterator[Case]:
    """A counter that grew, and stays where its type ends (CXM580)."""
    for key, column in log.columns.items():
        if not column.whole or len(column) < 2 * ENOUGH:
            continue
        kind = ENDS.get(column.greatest)
        if kind is not None:
            yield from _stuck(key, column, kind)
        elif column.least > 2**24 and len(column) >= MANY and not column.constant:
            yield from _even(column)


def _stuck(key: str, column: Column, kind: str) -> Iterator[Case]:
    first = column.values.index(column.greatest)
    stays = all(value == column.greatest for value in column.values[first:])
    grew = first >= ENOUGH and all(
        a < b for a, b in zip(column.values[:first], column.values[1 : first + 1], strict=True)
    )
    count = len(column) - first
    if stays and grew and count >= ENOUGH:
        yield Case(
            "CXM580",
            key,
            f"{said(key)} grows to {column.greatest:.0f} and stays there: the end of a {kind} "
            f"counter, to which adding 1 changes nothing ({count} of {len(column)} records)",
            [Offender(column.rows[n], column.greatest) for n in range(first, len(column))],
            len(column),
            0.95,
            {"type": kind},
        )


def _even(column: Column) -> Iterator[Case]:
    """Beyond 2**24 a float32 knows even numbers alone."""
    values = set(islice(column.values, 500))
    even = all(_float32(value) == value and value % 2 == 0 for value in values)
    if even and len(values) >= MANY and any(value % 64 for value in values):
        yield Case(
            "CXM580",
            column.key,
            f"{said(column.key)} is even in all {len(column)} records, {shown(column.values)}: "
            "beyond 2**24 a float32 counter loses every odd number",
            [Offender(row, v) for row, v in zip(column.rows, column.values, strict=True)],
            len(column),
            0.8,
            {"type": "float32"},
        )


def _float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def few_digits(log: Log) -> Iterator[Case]:
    """A measured value with two or three digits left (CXM581)."""
    for key, column in log.columns.items():
        if column.whole or column.distinct() < ENOUGH or len(column) < MANY:
            continue
        seen = [abs(value) for value in column.values if value]
        few = len(seen) >= MANY and median(seen) < 6 * 2 * column.quantum
        if few and _measured(key):
            yield _case(
                column,
                f"is rounded to {2 * column.quantum:.0e}, of which {shown(column.values)} are "
                "only a few: one or two digits are left",
            )
        elif _bfloat16(column):
            yield _case(column, f"is {shown(column.values)}: bfloat16, so three digits are all")


def _case(column: Column, why: str) -> Case:
    return Case(
        "CXM581",
        column.key,
        f"{said(column.key)} {why} ({len(column)} of {len(column)} records)",
        [Offender(row, v) for row, v in zip(column.rows, column.values, strict=True)],
        len(column),
        0.6,
        {"quantum": 2 * column.quantum},
    )


def _measured(key: str) -> bool:
    """Whether the name is of no schedule, whose values are few by nature."""
    return not {"lr", "rate", "epoch", "ratio", "frac"}.intersection(named(key).words)


def _bfloat16(column: Column) -> bool:
    """Eight bits in every value, which no common denominator explains."""
    seen = {abs(value) for value in islice(column.values, 400) if value}
    if len(seen) < MANY or column.quantum:
        return False
    bits = [struct.unpack("<Q", struct.pack("<d", value))[0] for value in seen]
    if any(word & ((1 << 45) - 1) for word in bits):
        return False
    # k / 2**n with k below 256 has eight bits too; bfloat16 has them in every binade.
    return max(seen) / min(map(_lowest_bit, seen)) >= 2**10


def _lowest_bit(value: float) -> float:
    """The least power of two in ``value``: 0.375 has an eighth."""
    numerator, denominator = value.as_integer_ratio()
    return (numerator & -numerator) / denominator
