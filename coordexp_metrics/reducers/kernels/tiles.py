"""Where the ids of a tile stand in memory, and their logits as float32.

Where a plain operation costs too many instructions, ``PTX`` names the one that does it; without, as
in the interpreter, plain operations give the same numbers.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "LOG2_E",
    "above",
    "below",
    "exp2",
    "first_ids",
    "logits_at",
    "text_of",
    "widened",
    "without_coordinates",
]

# As float32, so that it is the same number in both precisions.
LOG2_E = tl.constexpr(1.44269502162933349609375)


@triton.jit
def logits_at(row, ids, STRIDE: tl.constexpr, V: tl.constexpr):
    """Where the logits of some ids of a row stand; 64-bit only where 32 bits do not reach."""
    if STRIDE * V < 2147483648:
        return row + ids * STRIDE
    return row + ids.to(tl.int64) * STRIDE


@triton.jit
def first_ids(tile, UNROLL: tl.constexpr, LANES: tl.constexpr, WIDTH: tl.constexpr):
    """The first id of each load of a tile, int32 ``[UNROLL, LANES]``."""
    part = tl.arange(0, UNROLL)[:, None] * (LANES * WIDTH)
    return tile * (UNROLL * LANES * WIDTH) + part + tl.arange(0, LANES)[None, :] * WIDTH


@triton.jit
def text_of(
    row,
    ids,
    first,
    wanted,
    bits,
    STRIDE: tl.constexpr,
    V: tl.constexpr,
    START: tl.constexpr,
    STOP: tl.constexpr,
    SCATTERED: tl.constexpr,
):
    """Logits of ``ids`` as float32; −∞ where one is beyond V, a coordinate, or not wanted.

    ``first`` are the ids without their last dimension, at its first place. Eight ids share a byte
    of ``bits``, and a load is at most one byte of them.
    """
    real = wanted & (ids < V) & ((ids < START) | (ids >= STOP))
    x = tl.load(logits_at(row, ids, STRIDE, V), mask=real, other=float("-inf")).to(tl.float32)
    if SCATTERED:
        x = without_coordinates(x, ids, first, bits, V)
    return x


@triton.jit
def without_coordinates(x, ids, first, bits, V: tl.constexpr):
    """−∞ where the bit of an id is set: a coordinate that no range tells."""
    byte = tl.load(bits + first // 8, mask=first < V, other=0).to(tl.int32)
    is_coord = (tl.expand_dims(byte, -1) >> (ids % 8)) & 1
    return tl.where(is_coord != 0, float("-inf"), x)


@triton.jit
def exp2(x, PTX: tl.constexpr):
    """``2 ** x`` of float32, 0 below 2^-126: to keep subnormals costs three more instructions."""
    if PTX:
        return tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return tl.exp2(x)


@triton.jit
def above(x, level, PTX: tl.constexpr):
    """``x log2(e) − level`` of float32, rounded once: at 1e4 a second rounding would be seen."""
    if PTX:
        x, level = tl.broadcast(x, level)
        return tl.fma(x, tl.full(x.shape, LOG2_E, tl.float32), -level)
    return (x.to(tl.float64) * LOG2_E - level).to(tl.float32)


@triton.jit
def widened(x, PTX: tl.constexpr):
    """Logits as float32; two of bfloat16 in two instructions, where a conversion takes three."""
    if PTX and x.dtype == tl.bfloat16:
        return tl.inline_asm_elementwise(
            "{ shl.b32 $0, $2, 16; and.b32 $1, $2, 0xffff0000; }",
            "=r,=r,r",
            [x],
            dtype=tl.float32,
            is_pure=True,
            pack=2,
        )
    return x.to(tl.float32)


@triton.jit
def below(g):
    """The greatest float32 below g, so that ``x >= g`` is ``x > below(g)``."""
    bits = g.to(tl.int32, bitcast=True)
    stepped = tl.where(bits > 0, bits - 1, bits + 1)
    # Below both zeros stands the first normal number: the hardware may compare subnormals as 0.
    return tl.where(g == 0, -1.1754943508222875e-38, stepped.to(tl.float32, bitcast=True))
