"""Ties are stable: rank = #(x > g) + #(x = g at an earlier index); top k is rank < k.

Every block whose maximum beats the target, or ties with it and stands earlier, raises the rank by
at least one. So five such blocks decide, and fewer are counted exactly, beside the target's own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .blocks import BLOCK

__all__ = ["TOP", "among_the_first"]

TOP = 5


def among_the_first(
    logits: Tensor, rows: Tensor, label: Tensor, target: Tensor, block_peaks: Tensor
) -> Tensor:
    """Whether the label's rank is below ``min(5, V)``: bool ``[n]``.

    Args:
        logits: ``[N, V]``.
        rows: which rows of it, int64 ``[n]``.
        label: target ids, ``[n]``; target: their logits, in the precision of ``block_peaks``.
        block_peaks: ``[n, ceil(V / 256)]``.

    >>> x, label = torch.tensor([[1.0, 3.0, 3.0, 0.0, 2.0, 2.5]]), torch.tensor([3])
    >>> among_the_first(x, torch.tensor([0]), label, x[:, 3], x.amax(1, keepdim=True))
    tensor([False])
    """
    place = torch.arange(block_peaks.shape[1], device=label.device)
    own = (label // BLOCK)[:, None]
    g = target[:, None]
    ahead = (block_peaks > g) | ((block_peaks == g) & (place < own))
    ahead &= place != own
    upto = ahead.to(torch.int32).cumsum(1, dtype=torch.int32)
    wanted = torch.arange(1, TOP, dtype=torch.int32, device=label.device).expand(len(label), -1)
    found = torch.searchsorted(upto, wanted.contiguous())
    exists = found < block_peaks.shape[1]
    blocks = torch.cat([own, found], 1)
    counted = torch.cat([torch.ones_like(own, dtype=torch.bool), exists], 1)
    ranks = _beaten(logits, rows, label, g, blocks, counted)
    return (upto[:, -1] < TOP) & (ranks < min(TOP, logits.shape[1]))


def _beaten(
    logits: Tensor, rows: Tensor, label: Tensor, g: Tensor, blocks: Tensor, counted: Tensor
) -> Tensor:
    """How many ids of the counted blocks come before the label."""
    inside = torch.arange(BLOCK, device=label.device)
    ids = (blocks[:, :, None] * BLOCK + inside).flatten(1)
    real = counted.repeat_interleave(BLOCK, 1) & (ids < logits.shape[1])
    values = logits[rows[:, None], ids.clamp(max=logits.shape[1] - 1)].to(g.dtype)
    before = (values > g) | ((values == g) & (ids < label[:, None]))
    return (before & real).sum(1)
