"""One read of the logits leaves about ten numbers a row; all the rest follows from them.

With ``m = max_i x_i``, its first index ``a`` and the coordinate ids ``C``, a row leaves

    r  = Σ exp(x_i − m)            over i ∉ C ∪ {a}
    r· = Σ exp(x_i − m) (x_i − m)  over the same
    rT = Σ exp((x_i − m) / T)      over the same

and the maximum of every block of 256 ids. ``a`` stays out because its term is exactly 1: added in
float32 it would bury a remainder of 1e-8, and with it the loss of a row that is nearly certain. So
the sums are kept by block, and the block of ``a`` is summed again without it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import hosts
from .blocks import BLOCK, Reading, read_blocks

__all__ = ["Sweep", "sweep"]


@dataclass(frozen=True)
class Sweep:
    """What the read leaves of n rows.

    Attributes:
        block_peaks: the maximum of each block of ids, ``[n, ceil(V / 256)]``; float32, or float64
            for float64 logits.
        peak: m, not finite where the row is not; float64 ``[n]``, as what follows.
        winner: a, int64 ``[n]``.
        rest: r.
        rest_dot: r·, in nats; zeros unless asked for.
        rest_heated: rT; r itself at temperature 1.
    """

    block_peaks: Tensor
    peak: Tensor
    winner: Tensor
    rest: Tensor
    rest_dot: Tensor
    rest_heated: Tensor


def sweep(logits: Tensor, rows: Tensor, reading: Reading) -> Sweep:
    """Read ``rows [n]`` (ascending) of ``logits [N, V]``, without a copy of them.

    >>> from .coord_vocabulary import CoordVocabulary
    >>> reading = Reading(CoordVocabulary([3]), temperature=1.0, entropy=False)
    >>> read = sweep(torch.tensor([[0.0, 9.0, 9.0, 1.0]]), torch.tensor([0]), reading)
    >>> int(read.winner), round(float(read.rest), 6)
    (1, 1.000123)
    """
    read = read_blocks(logits, rows, reading)
    block = read.peaks.argmax(1, keepdim=True)
    peak = read.peaks.gather(1, block).to(hosts.wide(logits.device))
    ids = block * BLOCK + torch.arange(BLOCK, device=logits.device)
    real = ids < logits.shape[1]
    values = logits[rows[:, None], ids.clamp(max=logits.shape[1] - 1)].to(peak.dtype)
    column = torch.where(real, values, -torch.inf).argmax(1, keepdim=True)
    winner = ids.gather(1, column)
    below = values - peak
    others = real & (ids != winner) & (reading.vocabulary.bins_of(ids) < 0) & below.isfinite()
    powers = torch.where(others, below.exp(), 0.0)
    rest = _replaced(read.sums, block, powers)
    rest_dot = rest_heated = rest
    if reading.entropy:
        rest_dot = _replaced(read.dots, block, powers * torch.where(others, below, 0.0))
    if reading.heated:
        powers = torch.where(others, (below * reading.inverse).exp(), 0.0)
        rest_heated = _replaced(read.heated, block, powers)
    return Sweep(read.peaks, peak.squeeze(1), winner.squeeze(1), rest, rest_dot, rest_heated)


def _replaced(sums: Tensor, block: Tensor, terms: Tensor) -> Tensor:
    """The sum over all blocks, where one block is the sum of ``terms`` instead."""
    return sums.scatter(1, block, 0.0).sum(1, dtype=terms.dtype) + terms.sum(1)
