"""A metric is one line of the catalogue; its kind is its type, and says what may be observed.

What a trainer observes is ``Observed``; rates, formulas and running totals are computed from it, so
handing one to ``Window.observe`` is a type error before it is a wrong number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import ClassVar, Literal, TypeAlias

from .algebra import Agreement, Extremum, Histogram, Op, Ratio, Reduction, Sum
from .formula import Evaluator, Expression
from .units import Condition, Unit

__all__ = [
    "Agreed",
    "Better",
    "Bounds",
    "Cumulative",
    "Derived",
    "Flag",
    "Maximum",
    "Mean",
    "Metric",
    "Minimum",
    "Mode",
    "Observed",
    "Quantile",
    "Rate",
    "SharedQuantile",
    "SlowestRank",
    "Total",
]

Mode: TypeAlias = Literal["train", "eval"]
Better: TypeAlias = Literal["higher", "lower"]
Bounds: TypeAlias = tuple[float | None, float | None]
EVAL_PREFIX = "eval_"


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Metric(Expression):
    """One declared key. In a formula it stands for its value.

    Attributes:
        key: the train name, such as ``coord_diag/B/p_gt_mean``.
        kind: the declaring word: total, mean, rate, ...
        description: what the number means, one sentence.
        unit: what the value is counted in.
        population: what the denominator counts; None where there is none.
        better: which direction is better, None where neither is.
        bounds: least and greatest possible value, None where open.
        in_loss: whether the number takes part in the training loss.
        in_loss_when: the condition on that, empty where there is none.
        modes: the modes in which the key is logged.
        provenance: the forward pass a number came from (A1, A2_coord, B), or None.
        when: when the key is present.
        emitted_by: which trainers log it.
        source: the line of the contract that says so.
        formula: what it is computed from, or checked against.
        aliases: other spellings; ``logged_aliases`` are also written beside the key.
        alias_switch: the key of a flag; where it is 0, logged aliases are not written.
        eval_twin: the metric that this one becomes in evaluation, if not ``eval_`` + its key.
        declared_at: file and line of the declaration.
    """

    kind: ClassVar[str] = ""

    description: str
    unit: Unit
    population: Unit | None = None
    better: Better | None = None
    bounds: Bounds = (None, None)
    in_loss: bool = False
    in_loss_when: str = ""
    modes: tuple[Mode, ...] = ()
    provenance: str | None = None
    when: Condition | None = None
    emitted_by: tuple[str, ...] = ()
    source: str = ""
    formula: Expression | None = None
    aliases: tuple[str, ...] = ()
    logged_aliases: tuple[str, ...] = ()
    alias_switch: str = ""
    eval_twin: Metric | None = None
    unprefixed: bool = False
    declared_at: tuple[str, int] = ("", 0)
    key: str = ""
    name: str = ""
    family: str = ""

    @property
    def internal(self) -> bool:
        """Whether the last segment starts with an underscore: such keys never leave."""
        return self.key.rpartition("/")[2].startswith("_")

    @cached_property
    def eval_key(self) -> str:
        """The name in evaluation: the twin's, its own if it is eval-only, or ``eval_`` + key."""
        if self.eval_twin is not None:
            return self.eval_twin.key
        return self.key if self.eval_only or self.unprefixed else EVAL_PREFIX + self.key

    @property
    def eval_only(self) -> bool:
        """Whether the key has no train form, such as ``eval_rollout/mAP``."""
        return self.modes == ("eval",) and self.key.startswith(EVAL_PREFIX)

    def key_in(self, mode: Mode) -> str:
        """The name that sinks see."""
        return self.eval_key if mode == "eval" else self.key

    @property
    def whole(self) -> bool:
        """Whether every value is a whole number."""
        return False

    @property
    def integral(self) -> bool:
        return self.whole

    @cached_property
    def digest(self) -> str:
        """What the numbers mean: 16 hex digits over kind, unit, population and formula."""
        text = json.dumps(self.definition(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def definition(self) -> dict[str, object]:
        """The parts that change the meaning of the numbers."""
        return {
            "kind": self.kind,
            "unit": str(self.unit),
            "population": None if self.population is None else str(self.population),
            "formula": None if self.formula is None else self.formula.to_data(),
            **self.details(),
        }

    def details(self) -> dict[str, object]:
        """What the kind adds to the definition."""
        return {}

    def bind(
        self, where: Mapping[str, int], parameters: Mapping[str, float] | None = None
    ) -> Evaluator | None:
        index = where.get(self.key)
        if index is None and self.eval_twin is not None:
            index = where.get(self.eval_twin.key)
        return None if index is None else itemgetter(index)

    def leaves(self) -> Iterator[Metric]:
        yield self

    def replaced(self, by: Mapping[int, Metric]) -> Expression:
        return by.get(id(self), self)

    def to_data(self) -> object:
        return {"metric": self.key}

    def __str__(self) -> str:
        return self.key or self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key or '(unbound)'}>"


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
