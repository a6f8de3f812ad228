"""What a softmax over K ordered bins says about the target bin t, row by row.

With ``p = softmax(c / T)`` over the bins and ``q`` a Gaussian around t, normalised over the bins.
K is small, so everything here is float64 and exact; see ``docs/reducers.md`` for the derivations.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from . import hosts
from .rank import TOP

__all__ = ["BinStatistics", "SoftTarget", "bin_gradient", "bin_statistics"]


class BinStatistics(NamedTuple):
    """Per row, float64 ``[n]``; metrics_and_losses.md:382-438.

    Attributes:
        soft_ce: ``− Σ_k q_k log p_k``, nats.
        w1: ``Σ_k |Σ_{j ≤ k} (p_j − q_j)| / (K − 1)``, a share of the range.
        ce: ``− log p_t``, nats.
        p_gt: ``p_t``.
        margin: ``(max_k c_k − c_t) / T``.
        error: ``|Σ_k p_k k − t|``, bins.
        w1_to_delta: ``Σ_k p_k |k − t|``, bins.
        top5: 1.0 where the rank of t among the bins is below ``min(5, K)``.
    """

    soft_ce: Tensor
    w1: Tensor
    ce: Tensor
    p_gt: Tensor
    margin: Tensor
    error: Tensor
    w1_to_delta: Tensor
    top5: Tensor


class SoftTarget:
    """The Gaussian around each bin: ``q_k ∝ exp(−(k − t)² / 2σ²)``, zero beyond the truncation.

    Args:
        bins: K.
        sigma: σ in bins, above 0.
        truncate: the greatest ``|k − t|`` in bins that keeps its probability; None keeps all.
    """

    def __init__(self, bins: int, sigma: float, truncate: float | None) -> None:
        self.bins = bins
        self.sigma = sigma
        self.truncate = truncate
        self._on: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def offsets(self, target: Tensor) -> Tensor:
        """``k − t`` in bins: ``[n, K]``."""
        return self._tables(target.device)[0].index_select(0, self.bins - 1 - target)

    def at(self, target: Tensor) -> Tensor:
        """q: ``[n, K]``."""
        _, window, norm = self._tables(target.device)
        return window.index_select(0, self.bins - 1 - target) / norm[target][:, None]

    def _tables(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """All offsets and weights as sliding windows over one line, and the norm of each bin."""
        tables = self._on.get(device)
        if tables is None:
            line = torch.arange(1 - self.bins, self.bins, device=device).to(hosts.wide(device))
            weight = torch.exp(-0.5 * (line / self.sigma) ** 2)
            if self.truncate is not None:
                weight = torch.where(line.abs() <= self.truncate, weight, 0.0)
            windows = weight.unfold(0, self.bins, 1)
            norm = windows.sum(1).flip(0)
            tables = self._on[device] = (line.unfold(0, self.bins, 1), windows, norm)
        return tables


def bin_statistics(
    scaled: Tensor, powers: Tensor, target: Tensor, soft_target: SoftTarget
) -> BinStatistics:
    """The statistics of n rows.

    Args:
        scaled: ``(c − max c) / T``, float64 ``[n, K]``.
        powers: ``exp(scaled)``.
        target: t, int64 ``[n]``, in ``0 .. K − 1``.
        soft_target: q.

    >>> scaled = torch.tensor([[0.0, -9e9, -9e9]], dtype=torch.float64)
    >>> row = bin_statistics(scaled, scaled.exp(), torch.tensor([0]), SoftTarget(3, 1e-3, None))
    >>> float(row.p_gt), float(row.error), float(row.w1)
    (1.0, 0.0, 0.0)
    """
    mass = powers.sum(1, keepdim=True)
    p, log_p = powers / mass, scaled - mass.log()
    q, offsets = soft_target.at(target), soft_target.offsets(target)
    column = target[:, None]
    at_target = scaled.gather(1, column)
    before = (scaled > at_target) | ((scaled == at_target) & (offsets < 0))
    bins = scaled.shape[1]
    return BinStatistics(
        soft_ce=-torch.where(q > 0, q * log_p, 0.0).sum(1),
        w1=(p - q).cumsum(1).abs().sum(1) / max(bins - 1, 1),
        ce=-log_p.gather(1, column).squeeze(1),
        p_gt=p.gather(1, column).squeeze(1),
        margin=-at_target.squeeze(1),
        error=(p * offsets).sum(1).abs(),
        w1_to_delta=(p * offsets.abs()).sum(1),
        top5=(before.sum(1) < min(TOP, bins)).to(p.dtype),
    )


def bin_gradient(
    p: Tensor, target: Tensor, soft_target: SoftTarget, per_term: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """What the scaled logits of n rows get from ``soft_ce``, ``w1`` and ``ce``: ``[n, K]``.

    With ``F_k = Σ_{j ≤ k} (p_j − q_j)`` and ``s_j = Σ_{k ≥ j} sign F_k / (K − 1)`` that is

        soft_ce: p − q,    w1: p (s − Σ_k p_k s_k),    ce: p − e_t

    and ``sign 0 = 0``, a subgradient, where the two distributions cross.

    Args:
        p: the distribution over the bins, float64 ``[n, K]``.
        target: t, int64 ``[n]``.
        soft_target: q.
        per_term: the gradient of whatever is minimised in each of the three terms, 0-d.

    >>> p, (none, one) = torch.tensor([[0.25, 0.5, 0.25]]), torch.tensor([0.0, 1.0])
    >>> bin_gradient(p, torch.tensor([1]), SoftTarget(3, 1e-3, None), (none, one, none)).tolist()
    [[0.0625, -0.125, 0.0625]]
    """
    soft_ce, w1, ce = per_term
    q, offsets = soft_target.at(target), soft_target.offsets(target)
    signs = (p - q).cumsum(1).sign()
    slope = signs.flip(1).cumsum(1).flip(1) / max(p.shape[1] - 1, 1)
    slope -= (p * slope).sum(1, keepdim=True)
    at_target = (offsets == 0).to(p.dtype)
    return soft_ce * (p - q) + w1 * p * slope + ce * (p - at_target)
