"""A row that is in order is found so by loops in C; only a fault is looked at one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter, le, mod
from typing import Any, NamedTuple

from ..contract.check import Bound, BoundLaw, Plan, Violation

__all__ = ["Checks", "Fault"]

Picker = Callable[[Sequence[float]], Sequence[float]]


class Fault(NamedTuple):
    """A bound or a law of the plan, and the values that break it."""

    kind: str
    broken: Bound | BoundLaw
    values: tuple[float, ...]

    @property
    def name(self) -> tuple[str, int]:
        """The same for the same fault in every row of a plan."""
        return self.kind, id(self.broken)

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
        for law in self.plan.laws:
            sides = law.sides(row)
            if sides is not None:
                yield Fault("law", law, sides)

    def succeeding(self, row: Sequence[float]) -> dict[str, float]:
        """The values that laws of succession look at, by train name."""
        return {key: row[position] for key, position in self._succeeding}

    def _out_of_bounds(self, row: Sequence[float]) -> Iterator[Fault]:
        for bound in self.plan.bounds:
            value = row[bound.position]
            if not bound.low <= value <= bound.high:
                yield Fault("range", bound, (value,))
            elif bound.whole and value % 1:
                yield Fault("whole", bound, (value,))


def _picker(positions: Sequence[int]) -> Picker:
    if len(positions) > 1:
        picked: Any = itemgetter(*positions)
        return picked  # type: ignore[no-any-return]
    return lambda row: [row[position] for position in positions]
