"""What the detector is trained for: the Stage-1 objective, and nothing that is only watched.

Text targets pay cross-entropy over the whole vocabulary. Coordinate targets pay

    0.1 * soft_ce + w1 + 0 * ce + gate

where, with p the softmax over the 1000 coordinate logits and q a Gaussian around the target bin,

    soft_ce = -sum_k q_k log p_k            w1   = sum_k |P_k - Q_k| / (K - 1)   (P, Q: CDFs)
    ce      = -log p_target                 gate = -log of the coordinate mass in the full softmax

Where a digit is comes easily and what it is does not: at weight 1, soft_ce drowns the few tokens
that name a digit, and a minute is not enough to learn the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss

from coordexp_metrics.demo.coordjson import FIRST_COORD, Batch
from coordexp_metrics.demo.scenes import BINS
from coordexp_metrics.token_types.codes import UNSUPERVISED

SIGMA = 2.0
WEIGHTS = {"soft_ce_weight": 0.1, "w1_weight": 1.0, "ce_weight": 0.0, "gate_weight": 1.0}


@dataclass(frozen=True)
class Supervised:
    """The positions that have a target, as rows: logits `[N, V]`, targets `[N]`, types `[N]`."""

    logits: Tensor
    targets: Tensor
    types: Tensor

    @classmethod
    def of(cls, logits: Tensor, batch: Batch) -> Supervised:
        """The logits at one position predict the label of the next."""
        labels, types = batch.labels[:, 1:], batch.token_types[:, 1:]
        kept = labels != UNSUPERVISED
        return cls(logits[:, :-1][kept], labels[kept], types[kept])

    @property
    def is_coord(self) -> Tensor:
        """Rows whose target is a coordinate."""
        return self.targets >= FIRST_COORD

    @property
    def bins(self) -> Tensor:
        """The target bins of those rows."""
        return self.targets[self.is_coord] - FIRST_COORD


@dataclass(frozen=True)
class Terms:
    """What each target pays: an entry for every text target, or for every coordinate target."""

    text_ce: Tensor
    soft_ce: Tensor
    w1: Tensor
    ce: Tensor
    gate: Tensor

    @property
    def coord(self) -> Tensor:
        """The weighted sum that a coordinate pays."""
        distribution = WEIGHTS["soft_ce_weight"] * self.soft_ce + WEIGHTS["w1_weight"] * self.w1
        return distribution + WEIGHTS["ce_weight"] * self.ce + WEIGHTS["gate_weight"] * self.gate


@dataclass(frozen=True)
class Normaliser:
    """Targets of a whole optimizer step, so that any cut into micro-batches gives one gradient."""

    text: int
    coord: int

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Normaliser:
        """Count the targets before the first forward pass."""
        labels = torch.cat([batch.labels.flatten() for batch in batches])
        coord = int((labels >= FIRST_COORD).sum())
        return cls(text=int((labels != UNSUPERVISED).sum()) - coord, coord=coord)

    def share(self, paid: Terms) -> Tensor:
        """A micro-batch's part of the objective; the parts add up to the step's."""
        return paid.text_ce.sum() / self.text + paid.coord.sum() / self.coord


def terms(rows: Supervised) -> Terms:
    """The differentiable part."""
    coord, text = rows.is_coord, ~rows.is_coord
    log_p = rows.logits[coord, FIRST_COORD:].log_softmax(dim=-1)
    q = gaussian_targets()[rows.bins]
    return Terms(
        text_ce=cross_entropy(rows.logits[text], rows.targets[text], reduction="none"),
        soft_ce=-(q * log_p).sum(dim=-1),
        w1=(log_p.exp() - q).cumsum(dim=-1).abs().sum(dim=-1) / (BINS - 1),
        ce=nll_loss(log_p, rows.bins, reduction="none"),
        gate=-log_coord_mass(rows.logits[coord]),
    )


def gaussian_targets() -> Tensor:
    """Row t is a Gaussian around bin t, normalised over the bins there are."""
    bins = torch.arange(BINS)
    distance = (bins.unsqueeze(0) - bins.unsqueeze(1)) / SIGMA
    return (-0.5 * distance.square()).softmax(dim=-1)


def log_coord_mass(logits: Tensor) -> Tensor:
    """Logarithm of the probability that the full softmax gives to coordinate tokens together."""
    return logits[:, FIRST_COORD:].logsumexp(dim=-1) - logits.logsumexp(dim=-1)
