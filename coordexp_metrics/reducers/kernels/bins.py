"""What a softmax over the K bins says about the target bin, in float64: ``bin_statistics`` again.

K is a small part of V, so the bins stay in registers and everything about them is exact. The names
are those of ``reducers.coord_distribution``; the derivations stand in ``docs/reducers.md``.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["bin_statistics", "log1p"]


@triton.jit
def log1p(y):
    """``log(1 + y)`` for y ≥ 0, to the last digits: what ``1 + y`` rounds away is divided out."""
    whole = 1.0 + y
    lost = tl.where(whole == 1.0, 1.0, whole - 1.0)
    exact = tl.log(whole) * (y / lost)
    return tl.where(whole == 1.0, y, tl.where(y > 1e15, tl.log(whole), exact))


@triton.jit
def bin_statistics(scaled, powers, mass, t, sigma, truncate, K: tl.constexpr, PADDED: tl.constexpr):
    """Eight numbers of one row, in the order of ``BinStatistics``.

    Args:
        scaled: ``(c − max c) / T``, float64 ``[PADDED]``, −∞ from K on.
        powers: ``exp(scaled)``; mass: their sum.
        t: the target bin.
        sigma, truncate: of the soft target, in bins; truncate is infinite where nothing is cut.
    """
    k = tl.arange(0, PADDED)
    real = k < K
    offset = (k - t).to(tl.float64)
    distance = tl.abs(offset)
    z = offset / sigma
    weight = tl.where(real & (distance <= truncate), tl.exp(-0.5 * z * z), 0.0)
    q = weight / tl.sum(weight, 0)
    p = powers / mass
    log_mass = tl.log(mass)
    log_p = scaled - log_mass
    soft_ce = -tl.sum(tl.where(q > 0, q * log_p, 0.0), 0)
    steps = tl.abs(tl.cumsum(p - q, 0))
    w1 = tl.sum(tl.where(real, steps, 0.0), 0) / (K - 1 if K > 1 else 1)
    at_target = tl.sum(tl.where(k == t, scaled, 0.0), 0)
    p_target = tl.sum(tl.where(k == t, p, 0.0), 0)
    before = real & ((scaled > at_target) | ((scaled == at_target) & (k < t)))
    rank = tl.sum(before.to(tl.int32), 0)
    error = tl.abs(tl.sum(p * offset, 0))
    to_target = tl.sum(p * distance, 0)
    return soft_ce, w1, log_mass - at_target, p_target, -at_target, error, to_target, rank
