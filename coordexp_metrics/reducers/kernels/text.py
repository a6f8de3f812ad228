"""One read of the ids that are no coordinates: every lane keeps sums under a maximum of its own.

A tile is ``[UNROLL, LANES, WIDTH]`` ids in ascending order. ``WIDTH`` neighbours are one 128-bit
load, and a lane is what one thread reads of all tiles. For its ids seen so far a lane holds

    m      the greatest logit, and ``at``, the first tile that holds it
    l      m log2(e), rounded: the level that its powers are relative to
    r      Σ 2^z_i,  z_i = x_i log2(e) − l
    r·     Σ 2^z_i z_i
    rT     Σ 2^(z_i / T)
    ahead  #(x_i > x_y) + #(x_i = x_y, i < y)

When the level rises by d, sums under the old one become sums under the new one:

    r ← r 2^−d        r· ← (r· − r d) 2^−d        rT ← rT 2^(−d / T)

No power is above 1 and no term of r· above 0, but for the rounding of l, so nothing overflows and
nothing cancels, whatever the logits: a fixed reference would need a second path for rows beyond
it. At a T so low that even this rounding would matter (``COLD``), rT is relative to m itself.
NaN and +∞ make r NaN for good, which is how a row that is not finite is found.

At the end the greatest of all, ``a``, is taken out: its term is exactly 1, and added in float32 it
would bury a remainder of 1e-8, and with it the loss of a row that is nearly certain. Its lane, one
of some hundred, is summed again without it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .tiles import (
    LOG2_E,
    above,
    below,
    exp2,
    first_ids,
    logits_at,
    text_of,
    widened,
    without_coordinates,
)

__all__ = ["read_text"]

LOWEST = tl.constexpr(-3.4028234663852886e38)
# 2^-200 is 0 in float32; a finite factor keeps 0 · (−∞) from being NaN.
NO_POWER = tl.constexpr(-200.0)
NOWHERE = tl.constexpr(2147483647)


@triton.jit
def fold(
    x,
    tile,
    first,
    label,
    target,
    m,
    at,
    level,
    r,
    dot,
    heated,
    ahead,
    inverse,
    HEATED: tl.constexpr,
    COLD: tl.constexpr,
    ENTROPY: tl.constexpr,
    RANK: tl.constexpr,
    PTX: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """The state of every lane after one more tile."""
    best = tl.max(tl.max(x, 2), 0)
    at = tl.where((best > m) | ((best == m) & (tile < at)), tile, at)
    was = tl.maximum(m, LOWEST)
    m = tl.maximum(m, best)
    risen = tl.maximum(level, best * LOG2_E)
    fall = level - risen
    level = risen
    lower = above(x, level[None, :, None], PTX)
    power = exp2(lower, PTX)
    scale = exp2(fall, PTX)
    if ENTROPY:
        terms = power * tl.maximum(lower, NO_POWER)
        dot = (dot + r * tl.maximum(fall, NO_POWER)) * scale + tl.sum(tl.sum(terms, 2), 0)
    r = r * scale + tl.sum(tl.sum(power, 2), 0)
    if HEATED:
        if COLD:
            now = tl.maximum(m, LOWEST)
            lower = (x - now[None, :, None]) * LOG2_E
            fall = (was - now) * LOG2_E
        powers = exp2(lower * inverse, PTX)
        heated = heated * exp2(fall * inverse, PTX) + tl.sum(tl.sum(powers, 2), 0)
    if RANK:
        limit = tl.where(first + WIDTH <= label, below(target), target)
        # Counted in float32: exact far beyond a lane, and one instruction less than in int32.
        ahead += tl.sum(tl.sum(tl.where(x > limit[:, :, None], 1.0, 0.0), 2), 0)
    return m, at, level, r, dot, heated, ahead


@triton.jit
def read_text(
    row,
    bits,
    label,
    target,
    inverse,
    V: tl.constexpr,
    STRIDE: tl.constexpr,
    START: tl.constexpr,
    STOP: tl.constexpr,
    SCATTERED: tl.constexpr,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    LOADS: tl.constexpr,
    HEATED: tl.constexpr,
    COLD: tl.constexpr,
    ENTROPY: tl.constexpr,
    RANK: tl.constexpr,
    PTX: tl.constexpr,
    UNROLL: tl.constexpr,
    LANES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """m, a, r, r·, rT and ahead of one row; r, r· and rT without a, float64 and relative to m.

    Whole tiles before ``HEAD`` and from ``TAIL`` on hold no coordinate and are read without a mask;
    the few that the coordinates or the end of the vocabulary cut come after them. ``LOADS`` is a
    power of two that covers the loads of one lane.
    """
    WHOLE: tl.constexpr = V // (UNROLL * LANES * WIDTH)
    TILES: tl.constexpr = (V + UNROLL * LANES * WIDTH - 1) // (UNROLL * LANES * WIDTH)
    place = tl.arange(0, WIDTH)[None, None, :]
    m = tl.full([LANES], float("-inf"), tl.float32)
    at = tl.full([LANES], 0, tl.int32)
    level = tl.full([LANES], LOWEST, tl.float32)
    r = tl.zeros([LANES], tl.float32)
    dot = tl.zeros([LANES], tl.float32)
    heated = tl.zeros([LANES], tl.float32)
    ahead = tl.zeros([LANES], tl.float32)
    if HEAD + WHOLE - TAIL > 0:
        ahead_ids = first_ids(TAIL if HEAD == 0 else 0, UNROLL, LANES, WIDTH)[:, :, None] + place
        raw = tl.load(logits_at(row, ahead_ids, STRIDE, V))
        for step in range(HEAD + WHOLE - TAIL):
            x = widened(raw, PTX)
            # The next tile travels while this one is folded; the last one is asked for twice.
            after = tl.minimum(step + 1, HEAD + WHOLE - TAIL - 1)
            after = tl.where(after < HEAD, after, after + (TAIL - HEAD))
            ahead_ids = first_ids(after, UNROLL, LANES, WIDTH)[:, :, None] + place
            raw = tl.load(logits_at(row, ahead_ids, STRIDE, V))
            tile = tl.where(step < HEAD, step, step + (TAIL - HEAD))
            first = first_ids(tile, UNROLL, LANES, WIDTH)
            if SCATTERED:
                x = without_coordinates(x, first[:, :, None] + place, first, bits, V)
            m, at, level, r, dot, heated, ahead = fold(
                x, tile, first, label, target, m, at, level, r, dot, heated, ahead, inverse,
                HEATED, COLD, ENTROPY, RANK, PTX, WIDTH,
            )  # fmt: skip
    for step in range(TAIL - HEAD + TILES - WHOLE):
        tile = tl.where(step < TAIL - HEAD, HEAD + step, WHOLE)
        first = first_ids(tile, UNROLL, LANES, WIDTH)
        ids = first[:, :, None] + place
        x = text_of(row, ids, first, ids >= 0, bits, STRIDE, V, START, STOP, SCATTERED)
        m, at, level, r, dot, heated, ahead = fold(
            x, tile, first, label, target, m, at, level, r, dot, heated, ahead, inverse,
            HEATED, COLD, ENTROPY, RANK, PTX, WIDTH,
        )  # fmt: skip

    # The first id of the greatest logit: only the loads that can hold it are read again.
    peak = tl.max(m, 0)
    tile = tl.min(tl.where(m == peak, at, NOWHERE), 0)
    first = first_ids(tile, UNROLL, LANES, WIDTH)
    ids = first[:, :, None] + place
    wanted = ((m == peak) & (at == tile))[None, :, None] & (ids >= 0)
    x = text_of(row, ids, first, wanted, bits, STRIDE, V, START, STOP, SCATTERED)
    winner = tl.min(tl.min(tl.min(tl.where(x == peak, ids, NOWHERE), 2), 1), 0)

    # Its lane once more without it, beside the other lanes: all relative to m.
    own = (winner // WIDTH) % LANES
    first = tl.arange(0, LOADS) * (LANES * WIDTH) + own * WIDTH
    ids = first[:, None] + tl.arange(0, WIDTH)[None, :]
    wanted = (ids >= 0) & (ids != winner)
    x = text_of(row, ids, first, wanted, bits, STRIDE, V, START, STOP, SCATTERED)
    lower = (x - tl.maximum(peak, LOWEST)) * LOG2_E
    power = exp2(lower, PTX)
    others = tl.arange(0, LANES) != own
    seen = m > float("-inf")
    fall = level.to(tl.float64) - tl.maximum(peak, LOWEST).to(tl.float64) * LOG2_E
    fall = tl.where(seen, fall, 0.0)
    scale = tl.where(seen, tl.exp2(fall), 0.0)
    # A lane that met a NaN makes the sum NaN, even where its scale is 0.
    r_others = tl.where(others, r.to(tl.float64), 0.0)
    text = tl.sum(r_others * scale, 0) + tl.sum(tl.sum(power.to(tl.float64), 1), 0)
    text_dot = tl.zeros([], tl.float64)
    text_heated = tl.zeros([], tl.float64)
    if ENTROPY:
        terms = tl.where(others, dot.to(tl.float64), 0.0) + r_others * fall
        own_terms = (power * tl.maximum(lower, NO_POWER)).to(tl.float64)
        text_dot = (tl.sum(terms * scale, 0) + tl.sum(tl.sum(own_terms, 1), 0)) / LOG2_E
    if HEATED:
        if COLD:
            fall = tl.where(seen, (m.to(tl.float64) - peak.to(tl.float64)) * LOG2_E, 0.0)
        scale = tl.where(others & seen, tl.exp2(fall * inverse), 0.0)
        text_heated = tl.sum(heated.to(tl.float64) * scale, 0)
        text_heated += tl.sum(tl.sum(exp2(lower * inverse, PTX).to(tl.float64), 1), 0)
    rank = tl.sum(ahead.to(tl.int32), 0)
    if RANK:
        rank += tied_before(row, bits, label, target, V, STRIDE, START, STOP, SCATTERED, WIDTH)
    return peak, winner, text, text_dot, text_heated, rank


@triton.jit
def tied_before(
    row,
    bits,
    label,
    target,
    V: tl.constexpr,
    STRIDE: tl.constexpr,
    START: tl.constexpr,
    STOP: tl.constexpr,
    SCATTERED: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Ids with the label's logit before it in its own load, where ``fold`` counts none."""
    first = label // WIDTH * WIDTH
    ids = first + tl.arange(0, WIDTH)
    x = text_of(row, ids, first, ids < label, bits, STRIDE, V, START, STOP, SCATTERED)
    return tl.sum((x == target).to(tl.int32), 0)
