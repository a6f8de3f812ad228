"""A row that is in order is found so by loops in C; only a fault is looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter, le, mod
from typing import Any

from ..contract.check import Bound, BoundLaw, Plan, Violation
from .findings import Finding

__all__ = ["Checks", "Fault"]

Picker = Callable[[Sequence[float]], Sequence[float]]


@dataclass(slots=True)
class Fault:
    """A bound or a law of a plan that is broken.

    Attributes:
        broken: the bound or law.
        values: the values that broke it last.
        said: the finding that it has become.
    """

    broken: Bound | BoundLaw
    values: tuple[float, ...] = ()
    said: Finding | None = None

    def violation(self) -> Violation:
        """What to say of it."""
        return self.broken.violation(*self.values)


class Checks:
    """The bounds and laws of one plan.

    >>> from coordexp_metrics import CATALOGUE
    >>> from coordexp_metrics.contract.check import Checker
    >>> checks = Checks(Checker(CATALOGUE).plan(("rollout/f1", "epoch"), "train"))
    >>> [fault.values for fault in checks.broken([1.5, 1.0])]
    [(1.5,)]
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        bounds = plan.bounds
        self._lows = [bound.low for bound in bounds]
        self._highs = [bound.high for bound in bounds]
        self._bounded = _picker([bound.position for bound in bounds])
        self._whole = _picker([bound.position for bound in bounds if bound.whole])
        self._laws = [(*law, Fault(law)) for law in plan.laws]
        self._faults: dict[tuple[int, bool], Fault] = {}
        sides = [side for law in plan.successions for side in (law.left, law.right)]
        where = plan.names.where
        self._succeeding = [
            (key, where[key])
            for key in dict.fromkeys(leaf.key for side in sides for leaf in side.leaves())
            if key in where
        ]

    def broken(self, row: Sequence[float]) -> Iterator[Fault]:
        """What the finite values of ``row``, in the order of the plan's keys, violate."""
        picked = self._bounded(row)
        within = all(map(le, self._lows, picked)) and all(map(le, picked, self._highs))
        if not within or any(map(mod, self._whole(row), repeat(1))):
            yield from self._out_of_bounds(row)
        for left, right, law, fault in self._laws:
            try:
                a, b = left(row), right(row)
                if a == b or law.holds(a, b):
                    continue
            except (ZeroDivisionError, OverflowError):
                continue
            fault.values = a, b
            yield fault

    def succeeding(self, row: Sequence[float]) -> dict[str, float]:
        """The values that laws of succession look at, by train name."""
        return {key: row[position] for key, position in self._succeeding}

    def _out_of_bounds(self, row: Sequence[float]) -> Iterator[Fault]:
        for bound in self.plan.bounds:
            position, low, high, whole, _ = bound
            value = row[position]
            outside = not low <= value <= high
            if outside or (whole and value % 1):
                fault = self._faults.setdefault((position, outside), Fault(bound))
                fault.values = (value,)
                yield fault


def _picker(positions: Sequence[int]) -> Picker:
    if len(positions) > 1:
        picked: Any = itemgetter(*positions)
        return picked  # type: ignore[no-any-return]
    return lambda row: [row[position] for position in positions]
