"""One program reads one row of logits once, and leaves its statistics.

Logits at ``(b, s)`` predict ``labels[b, s + 1]``. The program of a row that predicts nothing, or
whose label is no id, returns before it reads a logit. The ids are two disjoint parts, text and
coordinates, each with a maximum and a sum of its own; what is said of the whole is put together
from both in float64, by sums of terms of one sign.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .bins import bin_statistics, log1p
from .text import read_text
from .tiles import logits_at

__all__ = ["read_rows"]

UNSUPERVISED = tl.constexpr(-100)
# Times log2(e), greater logits are infinite in float32.
BEYOND = tl.constexpr(2.3e38)
# Bits of a row's flags; ``layout`` says the same to the host.
SUPERVISED = tl.constexpr(1)
FINITE = tl.constexpr(2)
IS_COORD = tl.constexpr(4)
MISFIT = tl.constexpr(8)
TOP1 = tl.constexpr(16)
TOP5 = tl.constexpr(32)
SAYS_COORD = tl.constexpr(64)
TOP5_BINS = tl.constexpr(128)


@triton.jit(
    do_not_specialize=["length", "batch_steps", "labels_batch", "labels_place", "rows"],
)
def read_rows(
    logits,
    labels,
    coord_ids,
    bits,
    edges,
    settings,
    flags,
    columns,
    slots,
    length,
    batch_steps,
    labels_batch,
    labels_place,
    rows,
    UNIT: tl.constexpr,
    STRIDE_S: tl.constexpr,
    STRIDE_V: tl.constexpr,
    V: tl.constexpr,
    K: tl.constexpr,
    PADDED: tl.constexpr,
    START: tl.constexpr,
    STOP: tl.constexpr,
    ORDERED: tl.constexpr,
    SCATTERED: tl.constexpr,
    HEAD: tl.constexpr,
    TAIL: tl.constexpr,
    LOADS: tl.constexpr,
    HEATED: tl.constexpr,
    COLD: tl.constexpr,
    ENTROPY: tl.constexpr,
    RANK: tl.constexpr,
    PTX: tl.constexpr,
    COORD_ONLY: tl.constexpr,
    EDGES: tl.constexpr,
    UNROLL: tl.constexpr,
    LANES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """Statistics of the row that this program is of.

    Args:
        logits: ``[B, S, V]``, float32, bfloat16 or float16. Its stride over batches is
            ``batch_steps * UNIT`` elements, so that the compiler sees the alignment and a new
            length is no new program.
        labels: integers ``[B, S]`` with strides ``labels_batch`` and ``labels_place``.
        coord_ids: ids by bin, int32 ``[K]``; read unless ``ORDERED``: from ``START``, ascending.
        bits: one bit an id, set at coordinates; read if ``SCATTERED``: no range holds them alone.
        edges: of the histogram, float64 ``[EDGES]``, then +∞.
        settings: T, 1/T, σ, the truncation, and the four weights of the coordinate loss, float64.
        flags: out, int32 ``[B * S]``.
        columns: out, float64 ``[12, B * S]``; left as it is where a row is not finite by its
            flags, and its bin columns where its target is no coordinate.
        slots: out, int32 ``[B * S]``, where the row's error falls in the histogram; -1 for none.
        length: S.
        rows: B * S.
    """
    index = tl.program_id(0)
    batch = index // length
    place = index % length
    label = tl.full([], UNSUPERVISED, tl.int64)
    if place + 1 < length:
        step = batch.to(tl.int64) * labels_batch + (place + 1).to(tl.int64) * labels_place
        label = tl.load(labels + step).to(tl.int64)
    known = (label >= 0) & (label < V)
    tl.store(slots + index, -1)
    if not known:
        tl.store(flags + index, tl.where(label == UNSUPERVISED, 0, MISFIT))
        return

    label = label.to(tl.int32)
    k = tl.arange(0, PADDED)
    real = k < K
    if ORDERED:
        ids = START + k
        bin_of_label = label - START
        is_coord = (label >= START) & (label < STOP)
    else:
        ids = tl.load(coord_ids + k, mask=real, other=-1)
        bin_of_label = tl.sum(tl.where(ids == label, k, 0), 0)
        is_coord = tl.sum((ids == label).to(tl.int32), 0) > 0
    if COORD_ONLY:  # noqa: SIM102 (one is known when the kernel is compiled, one is not)
        if not is_coord:
            tl.store(flags + index, 0)
            return

    row = logits + batch.to(tl.int64) * batch_steps * UNIT + place.to(tl.int64) * STRIDE_S
    target = tl.load(logits_at(row, label, STRIDE_V, V)).to(tl.float32)
    temperature = tl.load(settings)
    inverse = tl.load(settings + 1)
    m, winner, rest, rest_dot, rest_heated, rank = read_text(
        row, bits, label, target, inverse.to(tl.float32), V, STRIDE_V, START, STOP, SCATTERED,
        HEAD, TAIL, LOADS, HEATED, COLD, ENTROPY, RANK, PTX, UNROLL, LANES, WIDTH,
    )  # fmt: skip

    # The coordinates, under the greatest of them.
    coords = tl.load(logits_at(row, ids, STRIDE_V, V), mask=real, other=float("-inf"))
    coords = coords.to(tl.float32)
    greatest = tl.max(coords, 0)
    says_coord = greatest > m
    first_coord = tl.min(tl.where(real & (coords == greatest), ids, V), 0)
    says_coord = says_coord | ((greatest == m) & (first_coord < winner))
    winner = tl.where(says_coord, first_coord, winner)
    ahead = (coords > target) | ((coords == target) & (ids < label))
    rank += tl.sum((real & ahead).to(tl.int32), 0)
    top = tl.where(greatest > float("-inf"), greatest, 0.0).to(tl.float64)
    lower = coords.to(tl.float64) - top
    powers = tl.exp(lower)
    inside = tl.sum(powers, 0)

    # Both parts, relative to the greatest logit of all.
    peak = tl.maximum(m, greatest).to(tl.float64)
    has_text = m > float("-inf")
    text_peak = tl.where(has_text, m.to(tl.float64), peak)
    text = tl.where(has_text, tl.exp(text_peak - peak), 0.0)
    coord = tl.where(greatest > float("-inf"), tl.exp(top - peak), 0.0)
    total = text * (1.0 + rest) + coord * inside
    # In ``total`` the greatest term is 1; taken out, log1p keeps the digits of the others.
    log_all = tl.where(says_coord, tl.log(total), log1p(text * rest + coord * inside))
    ce = log_all + (peak - target.to(tl.float64))
    entropy = tl.zeros([], tl.float64)
    if ENTROPY:
        inside_dot = tl.sum(powers * tl.maximum(lower, -800.0), 0)
        surprise = text * ((1.0 + rest) * (log_all + (peak - text_peak)) - rest_dot)
        surprise += coord * (inside * (log_all + (peak - top)) - inside_dot)
        entropy = surprise / total
    if HEATED:
        lower = lower / temperature
        powers = tl.exp(lower)
        inside = tl.sum(powers, 0)
    else:
        rest_heated = rest
    # log-odds of text, and −log of the probability of a coordinate: log(1 + exp odds).
    odds = (m.to(tl.float64) - top) / temperature + log1p(rest_heated) - tl.log(inside)
    mass = 1.0 / (1.0 + tl.exp(odds))
    gate = tl.maximum(odds, 0.0) + log1p(tl.exp(-tl.abs(odds)))

    finite = (tl.abs(peak) < BEYOND) & (tl.abs(target) < float("inf"))
    finite = finite & (rest == rest) & (inside == inside)
    found = SUPERVISED + tl.where(finite, FINITE, 0) + tl.where(is_coord, IS_COORD, 0)
    found += tl.where(winner == label, TOP1, 0) + tl.where(says_coord, SAYS_COORD, 0)
    found += tl.where(rank < (min(V, 5)), TOP5, 0)
    out = columns + index
    step = rows.to(tl.int64)
    tl.store(out, ce)
    tl.store(out + step, entropy)
    tl.store(out + 2 * step, mass)
    tl.store(out + 3 * step, gate)
    if is_coord:
        soft_ce, w1, bin_ce, p_target, margin, error, to_target, bin_rank = bin_statistics(
            lower, powers, inside, bin_of_label, tl.load(settings + 2), tl.load(settings + 3),
            K, PADDED,
        )  # fmt: skip
        found += tl.where(bin_rank < (min(K, 5)), TOP5_BINS, 0)
        loss = weighted(settings + 4, soft_ce) + weighted(settings + 5, w1)
        loss += weighted(settings + 6, bin_ce) + weighted(settings + 7, gate)
        limits = tl.load(edges + tl.arange(0, EDGES))
        slot = tl.sum((limits <= error).to(tl.int32), 0)
        tl.store(slots + index, tl.where(finite, slot, -1))
        tl.store(out + 4 * step, soft_ce)
        tl.store(out + 5 * step, w1)
        tl.store(out + 6 * step, bin_ce)
        tl.store(out + 7 * step, p_target)
        tl.store(out + 8 * step, margin)
        tl.store(out + 9 * step, error)
        tl.store(out + 10 * step, to_target)
        tl.store(out + 11 * step, loss)
    tl.store(flags + index, found)


@triton.jit
def weighted(weight, term):
    """The term under its weight; a weight of 0 leaves out even an infinite term."""
    w = tl.load(weight)
    return tl.where(w != 0, w * term, 0.0)
