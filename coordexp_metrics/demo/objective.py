"""The objective is differentiable; the statistics only watch. Both read the same logits.

Text targets pay cross-entropy over the whole vocabulary. Coordinate targets pay

    soft_ce + w1 + gate  (+ 0 * ce)

where, with p the softmax over the 1000 coordinate logits and q a Gaussian around the target bin,

    soft_ce = -sum_k q_k log p_k            w1   = sum_k |P_k - Q_k| / (K - 1)   (P, Q: CDFs)
    ce      = -log p_target                 gate = -log of the coordinate mass in the full softmax

Every statistic is a sum and the weight it was summed over: sums travel, ratios are born at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from coordexp_metrics.demo.coordjson import COORD, DESC, FIRST_COORD, FORMAT, UNSUPERVISED, Batch
from coordexp_metrics.demo.scenes import BINS

SIGMA = 2.0
SOFT_CE_WEIGHT, W1_WEIGHT, CE_WEIGHT, GATE_WEIGHT = 1.0, 1.0, 0.0, 1.0

Observations = dict[str, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Supervised:
    """The positions that have a target, as rows: logits `[N, V]`, targets `[N]`, types `[N]`."""

    logits: Tensor
    targets: Tensor
    types: Tensor

    @classmethod
    def of(cls, logits: Tensor, batch: Batch) -> Supervised:
        """The logits at one position predict the label of the next."""
        kept = batch.labels[:, 1:] != UNSUPERVISED
        return cls(
            logits[:, :-1][kept], batch.labels[:, 1:][kept], batch.token_types[:, 1:][kept]
        )

    @property
    def is_coord(self) -> Tensor:
        return self.targets >= FIRST_COORD


@dataclass(frozen=True)
class Terms:
    """What each target pays: one entry for every text target, one for every coordinate target."""

    text_ce: Tensor
    soft_ce: Tensor
    w1: Tensor
    ce: Tensor
    gate: Tensor

    @property
    def coord(self) -> Tensor:
        weighted = SOFT_CE_WEIGHT * self.soft_ce + W1_WEIGHT * self.w1
        return weighted + CE_WEIGHT * self.ce + GATE_WEIGHT * self.gate


def terms(rows: Supervised) -> Terms:
    """The differentiable part."""
    text, coord = ~rows.is_coord, rows.is_coord
    bins = rows.targets[coord] - FIRST_COORD
    log_p = rows.logits[coord][:, FIRST_COORD:].log_softmax(dim=-1)
    q = gaussian_targets()[bins]
    return Terms(
        text_ce=F.cross_entropy(rows.logits[text], rows.targets[text], reduction="none"),
        soft_ce=-(q * log_p).sum(dim=-1),
        w1=(log_p.exp() - q).cumsum(dim=-1).abs().sum(dim=-1) / (BINS - 1),
        ce=F.nll_loss(log_p, bins, reduction="none"),
        gate=-log_coord_mass(rows.logits[coord]),
    )


def gaussian_targets() -> Tensor:
    """Row t is a Gaussian around bin t, cut at the ends of the axis and normalised there."""
    bins = torch.arange(BINS)
    distance = (bins.unsqueeze(0) - bins.unsqueeze(1)) / SIGMA
    return (-0.5 * distance.square()).softmax(dim=-1)


def log_coord_mass(logits: Tensor) -> Tensor:
    """How much of the full softmax stands on coordinate tokens, in logarithm."""
    return logits[..., FIRST_COORD:].logsumexp(dim=-1) - logits.logsumexp(dim=-1)
