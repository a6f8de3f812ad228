"""Accumulating micro-batches and reducing ranks are the same fold.

A reduction is a product of slots, and each slot has one operation: SUM, MIN or MAX. Nobody writes
``merge``: it follows from the slots. Hence, for every reduction and any split of the observations,

    lift(xs ++ ys) == merge(lift(xs), lift(ys))        merge(s, identity) == s

in any order, and ``compute(identity)`` is None: what nobody observed is absent, not zero.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cached_property
from typing import ClassVar

__all__ = ["Agreement", "Extremum", "Histogram", "Op", "Ratio", "Reduction", "Sum"]

State = tuple[float, ...]


class Op(Enum):
    """What folds two values of one slot."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"

    @property
    def identity(self) -> float:
        """The value that changes nothing. For SUM an int, so that sums of ints stay exact."""
        return {Op.SUM: 0, Op.MIN: math.inf, Op.MAX: -math.inf}[self]

    def fold(self, a: float, b: float) -> float:
        """``a`` and ``b`` under this operation."""
        if self is Op.SUM:
            return a + b
        if math.isnan(a) or math.isnan(b):
            return math.nan  # min and max keep or lose a NaN by its place
        return min(a, b) if self is Op.MIN else max(a, b)


class Reduction:
    """A product of slots. Subclasses say how one observation is lifted and how a value is read."""

    slots: Sequence[Op]

    @property
    def identity(self) -> State:
        """The state of nothing observed."""
        return tuple(op.identity for op in self.slots)

    @cached_property
    def adds(self) -> bool:
        """Whether every slot is a sum."""
        return all(op is Op.SUM for op in self.slots)

    def merge(self, a: State, b: State) -> State:
        """The state of both: slot by slot, each under its own operation."""
        if self.adds and len(a) == len(b):
            return tuple(map(operator.add, a, b))  # a histogram has a thousand slots
        return tuple(op.fold(x, y) for op, x, y in zip(self.slots, a, b, strict=True))

    def compute(self, state: State) -> float | None:
        """The number that is logged, or None where it is absent."""
        raise NotImplementedError


class Sum(Reduction):
    """A total: Σ x and the number of observations, so that an observed 0 differs from absent.

    >>> Sum().compute(Sum().merge(Sum().lift(2), Sum().lift(3)))
    5
    """

    slots = (Op.SUM, Op.SUM)

    def lift(self, x: float) -> State:
        """One observation."""
        return (x, 1)

    def compute(self, state: State) -> float | None:
        """Σ x, absent without an observation."""
        total, observations = state
        return total if observations else None


class Ratio(Reduction):
    """A mean: Σ numerator over Σ denominator. Sums travel, the ratio is born here.

    >>> mean = Ratio()
    >>> mean.compute(mean.merge(mean.lift(1.0, 1), mean.lift(0.0, 3)))
    0.25
    """

    slots = (Op.SUM, Op.SUM)

    def lift(self, weighted_sum: float, weight: float) -> State:
        """One observation: a sum over ``weight`` members of the population."""
        return (weighted_sum, weight)

    def compute(self, state: State) -> float | None:
        """Σ numerator / Σ denominator, absent where the denominator is zero."""
        numerator, denominator = state
        return numerator / denominator if denominator else None


class Extremum(Reduction):
    """A maximum, a minimum, or a flag: one slot.

    >>> Extremum(Op.MAX).compute((-math.inf,)) is None
    True
    """

    def __init__(self, op: Op) -> None:
        self.slots = (op,)

    def lift(self, x: float) -> State:
        """One observation."""
        return (x,)

    def compute(self, state: State) -> float | None:
        """The extreme value, absent without an observation."""
        return None if state == self.identity else state[0]


class Agreement(Reduction):
    """A knob that must be equal everywhere: its least and its greatest value.

    >>> knob = Agreement()
    >>> knob.compute(knob.lift(0.7)), knob.compute(knob.merge(knob.lift(0.7), knob.lift(0.0)))
    (0.7, None)
    """

    slots = (Op.MIN, Op.MAX)

    def lift(self, x: float) -> State:
        """One observation."""
        return (x, x)

    def compute(self, state: State) -> float | None:
        """The agreed value; absent without an observation, and withheld where values differ."""
        least, greatest = state
        return least if least == greatest else None

    def disagrees(self, state: State) -> bool:
        """True where observations differ, so that the key is withheld and named."""
        least, greatest = state
        return least < greatest


class Histogram(Reduction):
    """Quantiles of a mergeable histogram over fixed edges: n edges make n + 1 counted bins.

    A quantile interpolates between adjacent order statistics (type 7), each known to its bin;
    below the first edge and above the last one values are counted and read as that edge.
    """

    COORDINATE_EDGES: ClassVar[tuple[float, ...]] = (
        *(i / 16 for i in range(256)),
        *(16 + i / 4 for i in range(448)),
        *(float(i) for i in range(128, 1001)),
    )

    def __init__(self, edges: Sequence[float], level: float, *, integral: bool = False) -> None:
        self.edges = tuple(edges)
        self.level = level
        self.integral = integral
        self.slots = (Op.SUM,) * (len(self.edges) + 1)

    @staticmethod
    def log_edges(lowest: float, highest: float) -> tuple[float, ...]:
        """Edges that grow by 1 % from ``lowest`` to beyond ``highest``."""
        count = math.ceil(math.log(highest / lowest) / math.log(1.01))
        return tuple(lowest * 1.01**i for i in range(count + 1))

    def lift(self, values: Iterable[float]) -> State:
        """One observation: a sample of the population."""
        counts = [0] * len(self.slots)
        for value in values:
            counts[bisect_right(self.edges, value)] += 1
        return tuple(counts)

    def read(self, bin_index: int) -> float:
        """The value that stands for a bin: its middle, or its only whole number."""
        if bin_index == 0:
            return 0.0 if self.edges[0] >= 0 else self.edges[0]
        if bin_index == len(self.edges):
            return self.edges[-1]
        low, high = self.edges[bin_index - 1 : bin_index + 1]
        middle = (low + high) / 2
        whole = float(math.ceil(low))
        if self.integral:
            return whole if whole + 1 >= high else float(round(middle))
        return low if low == 0 else middle

    def compute(self, state: State) -> float | None:
        """The quantile at ``level``, absent without an observation."""
        population = int(sum(state))
        if not population:
            return None
        position = (population - 1) * self.level
        below = math.floor(position)
        lower, upper = (self._order_statistic(state, rank) for rank in (below, below + 1))
        return lower + (upper - lower) * (position - below)

    def _order_statistic(self, state: State, rank: int) -> float:
        seen = 0.0
        last = 0
        for index, count in enumerate(state):
            if count:
                seen, last = seen + count, index
                if seen > rank:
                    break
        return self.read(last)
