"""What one row of logits says, before anybody asks which rows count.

A kernel that fills ``RowStatistics`` another way serves every metric: nothing above sees logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import softplus

from . import hosts
from .blocks import BLOCK, Reading, rows_at_once
from .coord_distribution import BinStatistics, SoftTarget, bin_statistics
from .coord_vocabulary import CoordVocabulary
from .parallel import in_threads
from .positions import Positions, members
from .rank import TOP, among_the_first
from .sweep import Sweep, sweep

__all__ = ["Request", "RowStatistics", "bins_at_targets", "joined", "row_statistics"]

NO_POWER = -800.0
# Elements of an operation over rows: many, so that threads seldom meet in the interpreter between
# two of them, and few enough for a cache.
BATCH = 9 << 14


@dataclass(frozen=True)
class Request:
    """What is to be read.

    Attributes:
        vocabulary: the coordinate bins.
        soft_target: the Gaussian targets of the coordinate loss.
        temperature: T, of the coordinate terms and of the mass.
        top5: whether to rank the target in the whole vocabulary.
        entropy: whether to sum the entropy.
    """

    vocabulary: CoordVocabulary
    soft_target: SoftTarget
    temperature: float
    top5: bool
    entropy: bool


@dataclass(frozen=True)
class RowStatistics:
    """Per row, ``[n]``, float64 unless it is a bool. Rows that are not finite hold anything.

    What cannot be told without all logits is None where nobody had them.

    Attributes:
        finite: the greatest and the target's logit are finite, hence so is the softmax.
        top1: the target is the first of the likeliest ids.
        top5: its rank is below ``min(5, V)``; all False unless asked for.
        says_coord: the likeliest id is a coordinate.
        ce: ``log Σ_i exp x_i − x_t``, nats.
        entropy: ``− Σ_i p_i log p_i`` at temperature 1, nats; zeros unless asked for.
        mass: probability of all coordinates together, at temperature T.
        gate: ``− log mass``, nats.
        bins: the distribution over the bins; zeros where the target is no coordinate.
    """

    finite: Tensor
    top1: Tensor | None
    top5: Tensor | None
    says_coord: Tensor | None
    ce: Tensor | None
    entropy: Tensor | None
    mass: Tensor | None
    gate: Tensor | None
    bins: BinStatistics


def row_statistics(logits: Tensor, positions: Positions, request: Request) -> RowStatistics:
    """Statistics of the rows of ``positions``, in its order, from ``logits [B, S, V]``."""
    parts: list[RowStatistics] = []
    for matrix, part in _matrices(logits, positions):
        parts += _of_matrix(matrix, part, request)
    return joined(parts)


def _matrices(logits: Tensor, positions: Positions) -> Iterator[tuple[Tensor, Positions]]:
    """The logits as matrices of rows, never as a copy: one where strides permit, else B."""
    batch, length, _ = logits.shape
    if batch < 2 or logits.stride(0) == length * logits.stride(1):
        yield logits.flatten(0, 1), positions
        return
    for sample in range(batch):
        yield logits[sample], positions.between(sample * length, (sample + 1) * length)


def _of_matrix(matrix: Tensor, positions: Positions, request: Request) -> list[RowStatistics]:
    """The rows of one matrix ``[N, V]``, in batches of which each fits a cache."""
    bins, count = len(request.vocabulary), max(len(positions.rows), 1)
    if hosts.on_host(matrix.device):
        at_most = max(1, BATCH // max(bins, TOP * BLOCK))
        at_once = -(-count // (2 * -(-count // (2 * at_most))))  # an even number, of one size
        batches = [(matrix, positions[i : i + at_once]) for i in range(0, count, at_once)]
    else:
        at_once = rows_at_once(max(matrix.shape[1], bins), matrix.device)
        batches = [
            (matrix[i : i + at_once], positions.between(i, i + at_once))
            for i in range(0, count, at_once)
        ]
    return in_threads(lambda batch: _of_rows(*batch, request), batches, matrix.device)


def _of_rows(matrix: Tensor, positions: Positions, request: Request) -> RowStatistics:
    """Everything in float64 from here on: the parts of one row are added, never subtracted."""
    reading = Reading(request.vocabulary, request.temperature, request.entropy)
    read = sweep(matrix, positions.rows, reading)
    vocabulary, t = request.vocabulary, request.temperature
    chosen = matrix[positions.rows, positions.label]
    target, peak = chosen.to(read.peak.dtype), read.peak
    says_coord = vocabulary.bins_of(read.winner) >= 0
    winner = torch.where(says_coord, 0.0, 1.0).to(peak.dtype)
    coords = vocabulary.take(matrix, positions.rows).to(peak.dtype)
    top = coords.amax(1, keepdim=True)
    coords -= (top := torch.where(top.isfinite(), top, 0.0))
    top = top.squeeze(1)
    powers = coords.exp()
    text, text_dot = read.rest + winner, read.rest_dot
    inside = powers.sum(1)
    # Without a probability inside there is no scale: far from 0 it would be infinite.
    scale = torch.where(inside > 0, (top - peak).exp(), 0.0)
    log_all = (text + inside * scale).log()
    entropy = torch.zeros_like(peak)
    if request.entropy:
        inside_dot = (powers * coords.clamp(min=NO_POWER)).sum(1)
        surprise = text * log_all - text_dot
        surprise += scale * (inside * (log_all + peak - top) - inside_dot)
        entropy = surprise * (-log_all).exp()
    if t != 1:
        coords /= t
        torch.exp(coords, out=powers)
        inside = powers.sum(1)
    odds = (peak - top) / t + (read.rest_heated + winner).log() - inside.log()
    return RowStatistics(
        finite=peak.isfinite() & target.isfinite(),
        top1=read.winner == positions.label,
        top5=_top5(matrix, positions, chosen, read, request),
        says_coord=says_coord,
        ce=log_all + (peak - target),
        entropy=entropy,
        mass=torch.sigmoid(-odds),
        gate=softplus(odds, threshold=40),
        bins=bins_at_targets(coords, powers, positions, request.soft_target),
    )


def _top5(
    matrix: Tensor, positions: Positions, target: Tensor, read: Sweep, request: Request
) -> Tensor:
    if not request.top5:
        return torch.zeros_like(positions.supervised)
    target = target.to(read.block_peaks.dtype)
    return among_the_first(matrix, positions.rows, positions.label, target, read.block_peaks)


def bins_at_targets(
    scaled: Tensor, powers: Tensor, positions: Positions, soft_target: SoftTarget
) -> BinStatistics:
    """Where the target is a coordinate; on a device everywhere, since to choose is a sync.

    Args:
        scaled, powers: as for ``bin_statistics``, ``[n, K]``, of all rows.
    """
    if not hosts.on_host(scaled.device):
        return bin_statistics(scaled, powers, positions.bin.clamp(min=0), soft_target)
    chosen = members(positions.is_coord)
    found = bin_statistics(scaled[chosen], powers[chosen], positions.bin[chosen], soft_target)
    nowhere = scaled.new_zeros(len(scaled))
    return BinStatistics(*(nowhere.index_copy(0, chosen, column) for column in found))


def joined(parts: list[RowStatistics]) -> RowStatistics:
    """The rows of one part after those of another."""
    if len(parts) == 1:
        return parts[0]
    *names, bins = (field.name for field in fields(RowStatistics))
    columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    joined = zip(*(getattr(part, bins) for part in parts), strict=True)
    return RowStatistics(**columns, bins=BinStatistics(*map(torch.cat, joined)))
