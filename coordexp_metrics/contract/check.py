"""What the catalogue says of a record: names, bounds and laws, decided once per set of keys.

A run emits the same keys step after step, so everything that depends on keys alone (names on the
wire, unknown keys, which laws have all their inputs) is a ``Plan``, made once and cached.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .catalogue import Catalogue
from .errors import safe_text
from .formula import Evaluator
from .law import Law
from .metric import Metric, Mode
from .naming import Named, Naming, Violation

__all__ = ["Checker", "Plan", "Violation"]

MAX_PLANS = 256
SLACK = 1e-6


class Bound(NamedTuple):
    """The range of one value; a float may lie ``SLACK`` beyond it, as float32 sums do."""

    position: int
    low: float
    high: float
    whole: bool
    metric: Metric

    def violation(self, value: float) -> Violation:
        """What ``value`` violates: the range, or else that it is whole."""
        if not self.low <= value <= self.high:
            return _out_of_range(self.metric, value)
        why = f"counts {self.metric.unit}s, so {value!r} is no value"
        return Violation("not_whole", self.metric.key, why)


class BoundLaw(NamedTuple):
    """A law whose inputs are all present."""

    left: Evaluator
    right: Evaluator
    law: Law

    def violation(self, left: float, right: float) -> Violation:
        """The law, and the two sides that break it."""
        return _broken(self.law, left, right)


@dataclass(frozen=True)
class Plan:
    """Everything that a set of keys decides.

    Attributes:
        names: what becomes of each key, and what the keys alone violate.
        wire: the sinks' names of the keys that leave, in order.
        bounds: ranges to check.
        laws: laws to check.
        successions: laws that also need the record before.
    """

    names: Named
    wire: tuple[str, ...]
    bounds: tuple[Bound, ...]
    laws: tuple[BoundLaw, ...]
    successions: tuple[Law, ...]

    def broken(self, values: Sequence[float]) -> Iterator[Violation]:
        """What finite ``values``, in the order of the plan's keys, violate."""
        for bound in self.bounds:
            position, low, high, whole, _ = bound
            value = values[position]
            if not low <= value <= high or (whole and value % 1):
                yield bound.violation(value)
        for left, right, law in self.laws:
            try:
                a, b = left(values), right(values)
                holds = a == b or law.holds(a, b)
            except (ZeroDivisionError, OverflowError):
                continue
            if not holds:
                yield _broken(law, a, b)


class Checker:
    """Checks records against a catalogue.

    Args:
        catalogue: the declarations.
        carry: patterns of keys that are delivered though nothing declares them, ``my/*``.
        parameters: numbers that formulas need from the configuration; laws over parameters that
            are not given are mute.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        carry: Sequence[str] = (),
        parameters: Mapping[str, float] | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.parameters = dict(parameters or {})
        self._naming = Naming(catalogue, carry)
        self._plans: dict[tuple[Mode, tuple[object, ...]], Plan] = {}

    def plan(self, keys: tuple[object, ...], mode: Mode) -> Plan:
        """The plan for ``keys`` as they stand in a payload of ``mode``."""
        found = self._plans.get((mode, keys))
        if found is None:
            found = self._make(keys, mode)
            if "key.grammar" not in found.names.dropped.values():
                if len(self._plans) >= MAX_PLANS:
                    self._plans.clear()
                self._plans[mode, keys] = found
        return found

    def check(
        self, values: Mapping[str, float], mode: Mode, before: Mapping[str, float] | None = None
    ) -> list[Violation]:
        """All violations of one record's finite values, by any spelling of their keys.

        ``before`` holds the values of the record before, by train name, for laws of succession.
        """
        plan = self.plan(tuple(values), mode)
        row = list(values.values())
        found = [*plan.names.violations, *plan.names.conflicts(row), *plan.broken(row)]
        if before and plan.successions:
            found += self.succession(plan, plan.names.by_key(row), before)
        return found

    def succession(
        self, plan: Plan, now: Mapping[str, float], before: Mapping[str, float]
    ) -> Iterator[Violation]:
        """What ``now`` violates after ``before``; both by train name."""
        joined = {**now, **{f"previous({key})": value for key, value in before.items()}}
        for law in plan.successions:
            sides = law.check(joined, self.parameters)
            if sides is not None:
                yield _broken(law, *sides)

    def _make(self, keys: tuple[object, ...], mode: Mode) -> Plan:
        names = self._naming.named(keys, mode)
        laws, successions = [], []
        for law in self.catalogue.all_laws:
            left = law.left.bind(names.where, self.parameters)
            right = law.right.bind(names.where, self.parameters)
            if left is not None and right is not None:
                laws.append(BoundLaw(left, right, law))
            elif "previous(" in str(law) and any(k.key in names.where for k in law.left.leaves()):
                successions.append(law)
        wire = tuple(names.wire[position] for position in sorted(names.wire))
        return Plan(names, wire, tuple(_bounds(names)), tuple(laws), tuple(successions))


def _bounds(names: Named) -> Iterator[Bound]:
    for position, metric in names.metrics.items():
        low, high = metric.bounds
        if low is None and high is None and not metric.whole:
            continue
        slack = 0.0 if metric.whole else SLACK
        yield Bound(
            position,
            float("-inf") if low is None else low - slack,
            float("inf") if high is None else high + slack * max(1.0, abs(high)),
            metric.whole,
            metric,
        )


def _out_of_range(metric: Metric, value: float) -> Violation:
    low, high = ("open" if bound is None else f"{bound:g}" for bound in metric.bounds)
    return Violation(
        "out_of_range", metric.key, f"{value!r} lies outside {low}..{high} ({metric.unit})"
    )


def _broken(law: Law, left: float, right: float) -> Violation:
    first = next(law.left.leaves(), None) or next(law.right.leaves())
    return Violation(
        "law.weak" if law.weak else "law",
        first.key,
        f"{safe_text(law.statement, 120)[1:-1]}: {law} fails with {left:.9g} and {right:.9g}",
    )
