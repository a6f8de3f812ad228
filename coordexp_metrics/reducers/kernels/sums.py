"""Rows become sums in a fixed order, without atomics, so equal batches give equal bits.

First a fixed number of programs a column sum their share of the rows, over every population at
once. Then each state adds its partial sums, or counts its bin of the histogram.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .rows import FINITE, IS_COORD, MISFIT, SAYS_COORD, SUPERVISED, TOP1, TOP5, TOP5_BINS

__all__ = ["fill_states", "sum_columns"]

IGNORE = tl.constexpr(-1)
DESC = tl.constexpr(1)
COORD = tl.constexpr(2)
FORMAT = tl.constexpr(3)
POPULATIONS = tl.constexpr(16)
# Columns and populations by their numbers in ``layout``.
MASS = tl.constexpr(2)
GATE = tl.constexpr(3)
STORED = tl.constexpr(12)
ONE = tl.constexpr(12)
SAYS_TEXT = tl.constexpr(16)
SAMPLED = tl.constexpr(18)
CLAIMED = tl.constexpr(12)
ELSEWHERE = tl.constexpr(13)
UNKNOWN = tl.constexpr(14)
ONCE = tl.constexpr(-2)
DROPPED = tl.constexpr(-3)
SHIFTED_ABOVE = tl.constexpr(0.1)


@triton.jit
def populations_of(found, types):
    """Bit p is set where the row belongs to population p of ``layout.Population``."""
    supervised = (found & SUPERVISED) != 0
    coord = (found & IS_COORD) != 0
    read = supervised & ((found & FINITE) != 0)
    seen = read & (types != IGNORE)
    known = (types == IGNORE) | (types == DESC) | (types == COORD) | (types == FORMAT)
    word = read.to(tl.int32)
    word |= (read & ~coord).to(tl.int32) << 1
    word |= (read & coord).to(tl.int32) << 2
    word |= (seen & ~coord).to(tl.int32) << 3
    word |= (seen & coord).to(tl.int32) << 4
    word |= (read & (types == DESC)).to(tl.int32) << 5
    word |= (read & (types == FORMAT)).to(tl.int32) << 6
    word |= (read & (types == COORD)).to(tl.int32) << 7
    word |= (supervised & ~coord).to(tl.int32) << 8
    word |= (supervised & coord).to(tl.int32) << 9
    word |= (supervised & ~read).to(tl.int32) << 10
    word |= ((found & MISFIT) != 0).to(tl.int32) << 11
    word |= (supervised & (types == COORD)).to(tl.int32) << 12
    word |= (supervised & (types == COORD) & ~coord).to(tl.int32) << 13
    word |= (supervised & ~known).to(tl.int32) << 14
    return word


@triton.jit
def count_supervised(flags, start, stop, ROWS: tl.constexpr):
    """How many rows from ``start`` to before ``stop`` are supervised."""
    count = tl.zeros([ROWS], tl.int32)
    for begin in range(start, stop, ROWS):
        index = begin + tl.arange(0, ROWS)
        found = tl.load(flags + index, mask=index < stop, other=0)
        count += ((found & SUPERVISED) != 0).to(tl.int32)
    return tl.sum(count, 0)


@triton.jit(do_not_specialize=["rows", "length", "types_batch", "types_place", "most"])
def sum_columns(
    flags,
    columns,
    types,
    partials,
    rows,
    length,
    types_batch,
    types_place,
    most,
    TYPED: tl.constexpr,
    SAMPLES: tl.constexpr,
    PARTS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One column over one part of the rows: its sum over each population.

    Args:
        flags, columns: what ``read_rows`` left of ``rows = B * length`` rows.
        types: integers ``[B, length]`` with two strides, shifted like labels; read if ``TYPED``.
        partials: out, float64 ``[PARTS, COLUMNS, 16]``.
        most: at most so many supervised rows, equally far apart, are sampled; if ``SAMPLES``.
    """
    part = tl.program_id(0)
    column = tl.program_id(1)
    share = (rows + PARTS - 1) // PARTS
    start = part * share
    stop = tl.minimum(start + share, rows)
    before = 0
    apart = 1
    if SAMPLES:
        before = count_supervised(flags, 0, start, ROWS)
        supervised = before + count_supervised(flags, start, rows, ROWS)
        apart = tl.maximum((supervised + most - 1) // most, 1)
    population = tl.arange(0, POPULATIONS)[None, :]
    sums = tl.zeros([POPULATIONS], tl.float64)
    for begin in range(start, stop, ROWS):
        index = begin + tl.arange(0, ROWS)
        inside = index < stop
        found = tl.load(flags + index, mask=inside, other=0)
        typed = tl.zeros([ROWS], tl.int64)
        if TYPED:
            place = index % length + 1
            step = (index // length).to(tl.int64) * types_batch + place.to(tl.int64) * types_place
            wanted = inside & (place < length)
            typed = tl.load(types + step, mask=wanted, other=IGNORE).to(tl.int64)
        value = value_of(found, columns, column, index, rows, ROWS)
        if SAMPLES:
            supervised_here = ((found & SUPERVISED) != 0).to(tl.int32)
            order = before + tl.cumsum(supervised_here, 0) - 1
            before += tl.sum(supervised_here, 0)
            value = tl.where((column < SAMPLED) | (order % apart == 0), value, 0.0)
        member = (populations_of(found, typed)[:, None] >> population) & 1
        sums += tl.sum(tl.where(member != 0, value[:, None], 0.0), 0)
    out = partials + (part * COLUMNS + column) * POPULATIONS
    tl.store(out + tl.arange(0, POPULATIONS), sums)


@triton.jit
def value_of(found, columns, column, index, rows, ROWS: tl.constexpr):
    """One column of some rows, float64; NaN where a row is not finite, hence stores nothing."""
    stored = tl.where(column > SAMPLED, MASS, column)
    value = tl.full([ROWS], 1.0, tl.float64)
    if (column < STORED) | (column > SAMPLED):
        needed = tl.where(stored <= GATE, FINITE, FINITE + IS_COORD)
        at = columns + stored.to(tl.int64) * rows + index
        value = tl.load(at, mask=(found & needed) == needed, other=float("nan"))
    elif (column > ONE) & (column < SAMPLED):
        bit = tl.where(column == ONE + 1, TOP1, TOP5_BINS)
        bit = tl.where(column == ONE + 2, TOP5, bit)
        bit = tl.where((column == ONE + 3) | (column == SAYS_TEXT), SAYS_COORD, bit)
        value = (((found & bit) != 0) != (column == SAYS_TEXT)).to(tl.float64)
    return value


@triton.jit(do_not_specialize=["rows", "sums", "counts"])
def fill_states(
    partials,
    slots,
    table,
    states,
    rows,
    sums,
    counts,
    TYPED: tl.constexpr,
    PARTS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """``BLOCK`` states: sums by the table of a ``Layout``, or counts of the histogram after them.

    Args:
        partials: of ``sum_columns``; slots: of ``read_rows``.
        table: int32 ``[2, sums]``: where each state comes from, with types and without.
        states: out, float64 ``[sums + counts]``.
    """
    block = tl.program_id(0)
    tables = (sums + BLOCK - 1) // BLOCK
    if block >= tables:
        first = (block - tables) * BLOCK
        count_slots(slots, states + sums, rows, counts, first, ROWS, BLOCK)
        return
    j = block * BLOCK + tl.arange(0, BLOCK)
    source = tl.load(table + sums + j, mask=j < sums, other=-1)
    dropped = 0.0
    if TYPED:
        unknown = sum_of(partials, ONE * POPULATIONS + UNKNOWN, PARTS, COLUMNS)
        claimed = sum_of(partials, ONE * POPULATIONS + CLAIMED, PARTS, COLUMNS)
        elsewhere = sum_of(partials, ONE * POPULATIONS + ELSEWHERE, PARTS, COLUMNS)
        unusable = (unknown > 0) | (elsewhere > SHIFTED_ABOVE * claimed)
        typed = tl.load(table + j, mask=j < sums, other=-1)
        source = tl.where(unusable, source, typed)
        dropped = tl.where(unusable, 1.0, 0.0)
    part = tl.arange(0, PARTS)[:, None] * (COLUMNS * POPULATIONS)
    named = (source >= 0)[None, :]
    found = tl.load(partials + part + source[None, :], mask=named, other=0.0)
    value = tl.where(source == ONCE, 1.0, tl.sum(found, 0))
    tl.store(states + j, tl.where(source == DROPPED, dropped, value), mask=j < sums)


@triton.jit
def sum_of(partials, source, PARTS: tl.constexpr, COLUMNS: tl.constexpr):
    """One sum over all parts."""
    part = tl.arange(0, PARTS)
    return tl.sum(tl.load(partials + part * (COLUMNS * POPULATIONS) + source), 0)


@triton.jit
def count_slots(slots, states, rows, counts, first, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """How many rows fall in each of ``BLOCK`` bins of the histogram."""
    bins = first + tl.arange(0, BLOCK)
    count = tl.zeros([BLOCK], tl.int32)
    for begin in range(0, rows, ROWS):
        index = begin + tl.arange(0, ROWS)
        slot = tl.load(slots + index, mask=index < rows, other=-1)
        count += tl.sum((slot[:, None] == bins[None, :]).to(tl.int32), 0)
    tl.store(states + bins, count.to(tl.float64), mask=bins < counts)
