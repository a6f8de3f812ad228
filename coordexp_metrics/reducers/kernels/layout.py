"""Every key is a column summed over a population, so one table says which sum is which state.

The kernels sum every column over every population of rows. Whether the types of a batch can be used
is known on the device alone, so a population has two readings: with types, and with dropped ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from ...catalogue.coord_diag import CoordDiag, Forward
from ...catalogue.coord_monitor import CoordMonitor
from ...catalogue.health import Health
from ...catalogue.stage1 import BaseCE, Stage1CoordDiag
from ...catalogue.tokens import TokenAccuracy, TokenTypes
from ...contract.kinds import Mean, Quantile, Total

__all__ = ["Asked", "Column", "Layout", "Population", "layout_of"]


class Column(IntEnum):
    """What is summed: first what a row stores, then what its flags say."""

    CE = 0
    ENTROPY = 1
    MASS = 2
    GATE = 3
    SOFT_CE = 4
    W1 = 5
    BIN_CE = 6
    P_TARGET = 7
    MARGIN = 8
    ERROR = 9
    TO_TARGET = 10
    LOSS = 11
    ONE = 12
    TOP1 = 13
    TOP5 = 14
    SAYS_COORD = 15
    SAYS_TEXT = 16
    TOP5_BINS = 17
    SAMPLED = 18
    SAMPLED_MASS = 19


class Population(IntEnum):
    """Which rows: finite ones unless said otherwise. Text is what is no coordinate."""

    ALL = 0
    TEXT = 1
    COORD = 2
    TEXT_SEEN = 3
    COORD_SEEN = 4
    DESC = 5
    FORMAT = 6
    TYPED_COORD = 7
    TEXT_IN_LOSS = 8
    COORD_IN_LOSS = 9
    LOST = 10
    MISFIT = 11
    CLAIMED = 12
    ELSEWHERE = 13
    UNKNOWN = 14


POPULATIONS = 16
# States that are no sum: 0, 1, and 1 where the types of the batch were dropped.
NOTHING, ONCE, DROPPED = -1, -2, -3
# Without types, nobody is of a type, and nobody is typed IGNORE.
UNTYPED = {
    Population.TEXT_SEEN: Population.TEXT,
    Population.COORD_SEEN: Population.COORD,
    Population.DESC: None,
    Population.FORMAT: None,
    Population.TYPED_COORD: None,
}


@dataclass(frozen=True)
class Asked:
    """What is to be observed of a batch.

    Attributes:
        typed: whether there are types; they may be dropped yet.
        enabled, ce, gate: whether the coordinate term, and these parts of it, are in the loss.
        top5, mass, sampled: whether to log them, and whether masses are of a sample.
        forward: of Stage 2; then only its own family.
    """

    typed: bool
    enabled: bool
    ce: bool
    gate: bool
    top5: bool
    mass: bool
    sampled: bool
    forward: Forward | None


class Term(NamedTuple):
    """One metric: a column over a population; a mean's weight is another column over the same."""

    metric: Total | Mean
    column: Column
    population: Population
    weight: Column = Column.ONE


class Layout(NamedTuple):
    """The states of a batch, flat: two for each total or mean, then the counts of the histogram.

    Attributes:
        metrics: in the order of their states; the quantile is the last.
        typed: for each state before the histogram the place of its sum, ``column * 16 +
            population``, or one of ``NOTHING``, ``ONCE`` and ``DROPPED``.
        untyped: the same where the types were dropped or never given.
        counts: how many bins the histogram has.
    """

    metrics: tuple[Total | Mean | Quantile, ...]
    typed: tuple[int, ...]
    untyped: tuple[int, ...]
    counts: int

    @property
    def size(self) -> int:
        """How many states there are."""
        return len(self.typed) + self.counts


def layout_of(asked: Asked) -> Layout:
    """The layout of what is asked for.

    >>> layout = layout_of(Asked(True, True, False, True, True, True, False, None))
    >>> layout.metrics[0].key, layout.typed[:2]
    ('contract/nonfinite_rows_total', (202, -2))
    """
    terms = list(_terms(asked) if asked.forward is None else _forward_terms(asked.forward))
    diagnostics = Stage1CoordDiag if asked.forward is None else CoordDiag(asked.forward)
    quantile = diagnostics.expected_bin_abs_err_p90
    states = [state for term in terms for state in _states(term)]
    typed, untyped = zip(*states, strict=True)
    metrics = (*(term.metric for term in terms), quantile)
    return Layout(metrics, typed, untyped, len(quantile.reduction.slots))


def _states(term: Term) -> Iterator[tuple[int, int]]:
    """The two states of a term, each with types and without."""
    dropped = term.metric is Health.token_types_dropped_total
    yield (DROPPED, DROPPED) if dropped else _sums(term.column, term.population)
    mean = isinstance(term.metric, Mean)
    yield _sums(term.weight, term.population) if mean else (ONCE, ONCE)


def _sums(column: Column, population: Population) -> tuple[int, int]:
    """Where a sum stands, with types and without."""
    untyped = UNTYPED.get(population, population)
    with_types = column * POPULATIONS + population
    return with_types, NOTHING if untyped is None else column * POPULATIONS + untyped


def _terms(asked: Asked) -> Iterator[Term]:
    one, seen = Column.ONE, Population
    yield Term(Health.nonfinite_rows_total, one, seen.LOST)
    yield Term(Health.labels_out_of_range_total, one, seen.MISFIT)
    yield Term(Health.token_types_dropped_total, one, seen.ALL)
    yield Term(TokenAccuracy.token_acc, Column.TOP1, seen.ALL)
    if asked.top5:
        yield Term(TokenAccuracy.token_acc_top5, Column.TOP5, seen.ALL)
    yield Term(TokenAccuracy.token_count, one, seen.ALL)
    yield Term(TokenAccuracy.text_token_acc, Column.TOP1, seen.TEXT_SEEN)
    if asked.typed:
        yield from _type_terms(top5=asked.top5)
    if asked.enabled:
        yield Term(BaseCE.loss, Column.CE, seen.TEXT_IN_LOSS)
        yield Term(BaseCE.noncoord_tokens, one, seen.TEXT)
    yield from _coord_terms(asked)
    yield from _monitor_terms(asked)


def _type_terms(*, top5: bool) -> Iterator[Term]:
    of, seen = TokenTypes, Population
    for population, count, accuracy, accuracy_top5, entropy in (
        (
            seen.DESC,
            of.desc_token_count,
            of.desc_token_acc,
            of.desc_token_acc_top5,
            of.desc_entropy,
        ),
        (
            seen.FORMAT,
            of.format_token_count,
            of.format_token_acc,
            of.format_token_acc_top5,
            of.format_entropy,
        ),
        (
            seen.TYPED_COORD,
            of.coord_token_count,
            of.coord_token_acc,
            of.coord_token_acc_top5,
            of.coord_entropy,
        ),
    ):
        yield Term(count, Column.ONE, population)
        yield Term(accuracy, Column.TOP1, population)
        if top5:
            yield Term(accuracy_top5, Column.TOP5, population)
        yield Term(entropy, Column.ENTROPY, population)


def _coord_terms(asked: Asked) -> Iterator[Term]:
    of, on = Stage1CoordDiag, asked.enabled
    yield Term(of.coord_tokens, Column.ONE, Population.COORD)
    for metric, column, in_loss in (
        (of.soft_ce, Column.SOFT_CE, on),
        (of.w1, Column.W1, on),
        (of.ce, Column.BIN_CE, on and asked.ce),
        (of.gate, Column.GATE, on and asked.gate),
        (of.loss, Column.LOSS, on),
    ):
        yield Term(metric, column, Population.COORD_IN_LOSS if in_loss else Population.COORD)
    for metric, column in (
        (of.coord_vocab_mass, Column.MASS),
        (of.acc_top5, Column.TOP5_BINS),
        (of.p_gt_mean, Column.P_TARGET),
        (of.margin_mean, Column.MARGIN),
        (of.expected_bin_mae, Column.ERROR),
        (of.w1_to_delta, Column.TO_TARGET),
    ):
        yield Term(metric, column, Population.COORD)


def _monitor_terms(asked: Asked) -> Iterator[Term]:
    of, seen = CoordMonitor, Population
    parts = [
        (
            of.flip_coord_to_noncoord,
            Column.SAYS_TEXT,
            of.coord_vocab_mass_at_gt_coord,
            seen.COORD_SEEN,
        ),
        (of.flip_text_to_coord, Column.SAYS_COORD, of.coord_vocab_mass_at_gt_text, seen.TEXT_SEEN),
    ]
    if asked.typed:
        parts += [
            (
                of.flip_format_to_coord,
                Column.SAYS_COORD,
                of.coord_vocab_mass_at_gt_format,
                seen.FORMAT,
            ),
            (of.flip_desc_to_coord, Column.SAYS_COORD, of.coord_vocab_mass_at_gt_desc, seen.DESC),
        ]
    mass, weight = Column.MASS, Column.ONE
    if asked.sampled:
        mass, weight = Column.SAMPLED_MASS, Column.SAMPLED
    for flip, says, metric, population in parts:
        yield Term(flip, says, population)
        if asked.mass:
            yield Term(metric, mass, population, weight)


def _forward_terms(forward: Forward) -> Iterator[Term]:
    of, coord = CoordDiag(forward), Population.COORD
    yield Term(Health.nonfinite_rows_total, Column.ONE, Population.LOST)
    yield Term(Health.labels_out_of_range_total, Column.ONE, Population.MISFIT)
    yield Term(of.coord_tokens_total, Column.ONE, coord)
    yield Term(of.acc_top5, Column.TOP5_BINS, coord)
    yield Term(of.p_gt_mean, Column.P_TARGET, coord)
    yield Term(of.margin_mean, Column.MARGIN, coord)
    yield Term(of.expected_bin_mae, Column.ERROR, coord)
    yield Term(of.coord_vocab_mass_mean, Column.MASS, coord)
