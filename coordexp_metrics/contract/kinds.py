"""The kind of a metric is its type, and says what may be observed.

What a trainer observes is ``Observed``; rates, formulas and running totals are computed from it, so
handing one to ``Window.observe`` is a type error before it is a wrong number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .algebra import Agreement, Extremum, Histogram, Op, Ratio, Reduction, Sum
from .formula import Expression
from .metric import Metric

__all__ = [
    "Agreed",
    "Cumulative",
    "Derived",
    "Flag",
    "Maximum",
    "Mean",
    "Minimum",
    "Observed",
    "Quantile",
    "Rate",
    "SharedQuantile",
    "SlowestRank",
    "Total",
]


class Observed(Metric):
    """A metric that a trainer observes; the reduction says how observations fold."""

    @cached_property
    def reduction(self) -> Reduction:
        """The law behind the kind."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Total(Observed):
    """A sum over everything in the window."""

    kind = "total"
    absent_at_zero: bool = False

    @cached_property
    def reduction(self) -> Sum:
        return Sum()

    @property
    def whole(self) -> bool:
        return True


class Mean(Observed):
    """A mean over a declared population: Σ numerator / Σ denominator."""

    kind = "mean"

    @cached_property
    def reduction(self) -> Ratio:
        return Ratio()


class Maximum(Observed):
    """The greatest value in the window."""

    kind = "maximum"

    @cached_property
    def reduction(self) -> Extremum:
        return Extremum(Op.MAX)


class Minimum(Observed):
    """The least value in the window."""

    kind = "minimum"

    @cached_property
    def reduction(self) -> Extremum:
        return Extremum(Op.MIN)


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Flag(Observed):
    """1 if it was on anywhere; with ``everywhere``, only if it was on everywhere."""

    kind = "flag"
    everywhere: bool = False

    @cached_property
    def reduction(self) -> Extremum:
        return Extremum(Op.MIN if self.everywhere else Op.MAX)

    @property
    def whole(self) -> bool:
        return True

    def details(self) -> dict[str, object]:
        return {"everywhere": True} if self.everywhere else {}


class Agreed(Observed):
    """A setting that must be equal on all ranks; where it is not, the key is withheld."""

    kind = "agreed"

    @cached_property
    def reduction(self) -> Agreement:
        return Agreement()


class SlowestRank(Observed):
    """A sum within a rank, the maximum over ranks, then a sum over steps: wall clock."""

    kind = "slowest_rank"

    @cached_property
    def reduction(self) -> Sum:
        return Sum()


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Quantile(Observed):
    """A quantile of a mergeable histogram over every member of the population."""

    kind = "quantile"
    level: float = 0.5
    limits: tuple[float, float] | None = None

    @cached_property
    def reduction(self) -> Histogram:
        edges = Histogram.COORDINATE_EDGES
        if self.limits is not None:
            edges = Histogram.log_edges(*self.limits)
        return Histogram(edges, self.level, integral=self.unit == "token")

    def details(self) -> dict[str, object]:
        return {"level": self.level, "limits": None if self.limits is None else [*self.limits]}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class SharedQuantile(Metric):
    """Another quantile of the same population: it reads the histogram of ``of``."""

    kind = "quantile"
    level: float = 0.5
    of: Quantile

    @cached_property
    def reduction(self) -> Histogram:
        """The histogram of ``of``, read at this level."""
        shared = self.of.reduction
        return Histogram(shared.edges, self.level, integral=shared.integral)

    def details(self) -> dict[str, object]:
        limits = self.of.limits
        return {"level": self.level, "limits": None if limits is None else [*limits]}


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Rate(Metric):
    """A ratio of two declared totals, formed after the fold."""

    kind = "rate"
    formula: Expression


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Derived(Metric):
    """A formula over declared metrics."""

    kind = "derived"
    formula: Expression

    @property
    def whole(self) -> bool:
        return self.formula.integral


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Cumulative(Metric):
    """State of the run: the reduced total of each window is added once, at its close."""

    kind = "cumulative"
    of: Total

    @property
    def whole(self) -> bool:
        return True

    def details(self) -> dict[str, object]:
        return {"of": self.of.key}
