"""From rows to keys: a weighted sum and a weight for each, so that any cut gives the same number.

A row that is not finite is in no sum and in no count, but in ``contract/nonfinite_rows_total``. A
term of the loss is the exception: there it makes the key NaN for the window, as it made the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..catalogue.coord_diag import CoordDiag, Forward
from ..catalogue.coord_monitor import CoordMonitor
from ..catalogue.stage1 import BaseCE, Stage1CoordDiag
from ..catalogue.tokens import TokenAccuracy, TokenTypes
from ..contract.kinds import Mean
from ..window import Window
from . import hosts
from .positions import COORD, DESC, FORMAT, IGNORE, Positions
from .rowstats import RowStatistics

__all__ = ["CoordWeights", "Rows"]


@dataclass(frozen=True)
class CoordWeights:
    """The weights of the coordinate term, and whether it is in the loss."""

    enabled: bool
    soft_ce: float
    w1: float
    ce: float
    gate: float

    def combined(self, soft_ce: Tensor, w1: Tensor, ce: Tensor, gate: Tensor | None) -> Tensor:
        """The coordinate term of rows or of sums; a term of weight 0 is not looked at."""
        terms = ((self.soft_ce, soft_ce), (self.w1, w1), (self.ce, ce), (self.gate, gate))
        zero = torch.zeros_like(soft_ce)
        return sum((w * term for w, term in terms if w and term is not None), zero)


class Rows:
    """The rows of one micro-batch, ready to be observed.

    Args:
        window: where the sums go.
        positions: what each row should predict.
        statistics: what each row said.
    """

    def __init__(self, window: Window, positions: Positions, statistics: RowStatistics) -> None:
        self._window = window
        self._positions = positions
        self._said = statistics
        self._read = positions.supervised & statistics.finite
        self._zero = torch.zeros((), dtype=hosts.wide(self._read.device), device=self._read.device)

    @property
    def lost(self) -> Tensor:
        """How many supervised rows are not finite."""
        return (self._positions.supervised & ~self._said.finite).sum()

    @cached_property
    def _coord(self) -> Tensor:
        return self._read & self._positions.is_coord

    @cached_property
    def _text(self) -> Tensor:
        return self._read & ~self._positions.is_coord

    def _of_type(self, token_type: int) -> Tensor:
        types = self._positions.types
        return torch.zeros_like(self._read) if types is None else types == token_type

    def _mean(self, metric: Mean, column: Tensor | None, population: Tensor) -> None:
        """Σ of a column over a population, and how many that are; absent where nobody read it."""
        if column is None:
            return
        self._window.observe(metric, self._sum(column, population), population.sum())

    def _sum(self, column: Tensor, population: Tensor) -> Tensor:
        return torch.where(population, column.to(self._zero.dtype), self._zero).sum()

    def _term(self, metric: Mean, column: Tensor | None, targets: Tensor, *, in_loss: bool) -> None:
        """A mean over the rows with such targets; in the loss, rows that are not finite stay."""
        if column is None:
            return
        population = self._positions.supervised & targets
        if in_loss:
            column = torch.where(self._read, column, torch.nan)
        else:
            population = population & self._read
        self._mean(metric, column, population)

    def observe_tokens(self, *, top5: bool) -> None:
        """Accuracy over all supervised tokens, and over text (metrics_and_losses.md:465-476).

        Text excludes what is typed IGNORE; without types it is what is no coordinate.
        """
        said, text = self._said, self._text & ~self._of_type(IGNORE)
        self._mean(TokenAccuracy.token_acc, said.top1, self._read)
        if top5:
            self._mean(TokenAccuracy.token_acc_top5, said.top5, self._read)
        self._window.observe(TokenAccuracy.token_count, self._read.sum())
        self._mean(TokenAccuracy.text_token_acc, said.top1, text)

    def observe_types(self, *, top5: bool) -> None:
        """Counts, accuracies and entropies by type (metrics_and_losses.md:478-486)."""
        of = TokenTypes
        for token_type, count, accuracy, accuracy_top5, entropy in (
            (DESC, of.desc_token_count, of.desc_token_acc, of.desc_token_acc_top5, of.desc_entropy),
            (
                FORMAT,
                of.format_token_count,
                of.format_token_acc,
                of.format_token_acc_top5,
                of.format_entropy,
            ),
            (
                COORD,
                of.coord_token_count,
                of.coord_token_acc,
                of.coord_token_acc_top5,
                of.coord_entropy,
            ),
        ):
            population = self._read & self._of_type(token_type)
            self._window.observe(count, population.sum())
            self._mean(accuracy, self._said.top1, population)
            if top5:
                self._mean(accuracy_top5, self._said.top5, population)
            self._mean(entropy, self._said.entropy, population)

    def observe_monitor(self, *, mass: bool, most: int) -> None:
        """Flips and masses by the type of the target (metrics_and_losses.md:498-517)."""
        of, typed = CoordMonitor, ~self._of_type(IGNORE)
        coord, text = self._coord & typed, self._text & typed
        populations = [
            (coord, of.coord_vocab_mass_at_gt_coord),
            (text, of.coord_vocab_mass_at_gt_text),
        ]
        says_coord = self._said.says_coord
        says_text = None if says_coord is None else ~says_coord
        self._mean(of.flip_coord_to_noncoord, says_text, coord)
        self._mean(of.flip_text_to_coord, says_coord, text)
        if self._positions.types is not None:
            structure = self._read & self._of_type(FORMAT)
            desc = self._read & self._of_type(DESC)
            self._mean(of.flip_format_to_coord, says_coord, structure)
            self._mean(of.flip_desc_to_coord, says_coord, desc)
            populations.append((structure, of.coord_vocab_mass_at_gt_format))
            populations.append((desc, of.coord_vocab_mass_at_gt_desc))
        if mass:
            sample = self._every_so_often(most)
            for population, metric in populations:
                self._mean(metric, self._said.mass, population & sample)

    def _every_so_often(self, most: int) -> Tensor:
        """At most ``most`` supervised rows, equally far apart; all of them for 0."""
        supervised = self._positions.supervised
        if not most:
            return supervised
        order = supervised.cumsum(0) - 1
        stride = (supervised.sum() + (most - 1)).div(most, rounding_mode="floor").clamp(min=1)
        return supervised & (order % stride == 0)

    def observe_base_ce(self) -> None:
        """Cross-entropy of text, coordinate targets masked out (metrics_and_losses.md:343-348)."""
        self._term(BaseCE.loss, self._said.ce, ~self._positions.is_coord, in_loss=True)
        self._window.observe(BaseCE.noncoord_tokens, self._text.sum())

    def observe_coord_terms(self, weights: CoordWeights) -> None:
        """The coordinate term and its raw parts (metrics_and_losses.md:367-438)."""
        of, bins, at, on = (
            Stage1CoordDiag,
            self._said.bins,
            self._positions.is_coord,
            weights.enabled,
        )
        self._window.observe(of.enabled, float(on))
        self._window.observe(of.coord_tokens, self._coord.sum())
        self._term(of.soft_ce, bins.soft_ce, at, in_loss=on)
        self._term(of.w1, bins.w1, at, in_loss=on)
        self._term(of.ce, bins.ce, at, in_loss=on and weights.ce != 0)
        self._term(of.gate, self._said.gate, at, in_loss=on and weights.gate != 0)
        self._term(of.loss, self._coord_loss(weights), at, in_loss=on)
        self._mean(of.coord_vocab_mass, self._said.mass, self._coord)
        self._mean(of.acc_top5, bins.top5, self._coord)
        self._mean(of.p_gt_mean, bins.p_gt, self._coord)
        self._mean(of.margin_mean, bins.margin, self._coord)
        self._mean(of.expected_bin_mae, bins.error, self._coord)
        self._window.observe(of.expected_bin_abs_err_p90, *self._errors)
        self._mean(of.w1_to_delta, bins.w1_to_delta, self._coord)

    def _coord_loss(self, weights: CoordWeights) -> Tensor | None:
        bins, gate = self._said.bins, self._said.gate
        if weights.gate and gate is None:
            return None
        return weights.combined(bins.soft_ce, bins.w1, bins.ce, gate)

    @cached_property
    def _errors(self) -> tuple[Tensor, Tensor]:
        return torch.where(self._coord, self._said.bins.error, self._zero), self._coord

    def observe_forward(self, forward: Forward) -> None:
        """The distributions of a Stage-2 forward pass (metrics_and_losses.md:116)."""
        of, bins = CoordDiag(forward), self._said.bins
        self._window.observe(of.coord_tokens_total, self._coord.sum())
        self._mean(of.acc_top5, bins.top5, self._coord)
        self._mean(of.p_gt_mean, bins.p_gt, self._coord)
        self._mean(of.margin_mean, bins.margin, self._coord)
        self._mean(of.expected_bin_mae, bins.error, self._coord)
        self._window.observe(of.expected_bin_abs_err_p90, *self._errors)
        self._mean(of.coord_vocab_mass_mean, self._said.mass, self._coord)
