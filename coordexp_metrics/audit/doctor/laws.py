"""What the catalogue states of one record holds to the last digit that was logged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...contract.check import BoundLaw
from ...contract.law import Law
from ...contract.metric import Metric
from ..series import Column, Shape
from .log import Log

__all__ = ["Checked", "check_laws", "ratio_of"]


@dataclass
class Checked:
    """A law, and the rows in which it does not hold.

    Attributes:
        law: the law.
        key: the key that it is about, as spelled.
        keys: all its keys, as spelled.
        rows: where it fails.
        sides: its two sides there.
        nothing: rows in which its key stands though it divides by zero.
        of: how many rows it was checked in.
        uses: where it was bound: rows of the same keys, the law over them, the places of its keys.
    """

    law: Law
    key: str
    keys: tuple[str, ...]
    rows: list[int] = field(default_factory=list)
    sides: list[tuple[float, float]] = field(default_factory=list)
    nothing: list[int] = field(default_factory=list)
    of: int = 0
    uses: list[tuple[Shape, BoundLaw, dict[str, int]]] = field(default_factory=list)

    def holds(self, log: Log, use: int, values: Sequence[float]) -> bool:
        """Whether it holds over ``values`` of its use, forgiven what rounding can do."""
        _, bound, places = self.uses[use]
        left, right = bound.left(values), bound.right(values)
        if left == right or self.law.holds(left, right):
            return True
        columns = {at: log.table.columns[key] for key, at in places.items()}
        slack = 0.0 if self.law.exact else _slack(bound, values, columns)
        apart = left - right if self.law.relation == "<=" else abs(left - right)
        return apart <= slack


def check_laws(log: Log) -> list[Checked]:
    """Every law of the catalogue whose keys the log has, over every row."""
    found: dict[int, Checked] = {}
    for keys, plan in log.plans.items():
        shape = log.table.shapes[keys]
        spelled = {key: str(plan.names.keys[at]) for key, at in plan.names.where.items()}
        for bound in plan.laws:
            leaves = {leaf.key for leaf in _leaves(bound.law)}
            places = {spelled[k]: plan.names.where[k] for k in sorted(leaves) if k in spelled}
            if _sums_atoms(bound.law) or (log.copies and any(map(log.copied, places))):
                continue
            name = next((spelled[k] for k in _first(bound.law) if k in spelled), "")
            checked = found.setdefault(id(bound.law), Checked(bound.law, name, tuple(places)))
            checked.uses.append((shape, bound, places))
            _check(log, checked)
    return sorted(found.values(), key=lambda checked: (checked.key, str(checked.law)))


def _check(log: Log, checked: Checked) -> None:
    """The latest use, row after row."""
    use = len(checked.uses) - 1
    shape, bound, _ = checked.uses[use]
    for entry, row in enumerate(shape.rows):
        values = shape.values(entry)
        try:
            holds = checked.holds(log, use, values)
        except ZeroDivisionError:
            if isinstance(checked.law.left, Metric) and checked.law.relation == "==":
                checked.nothing.append(row)
            continue
        except OverflowError:
            continue
        checked.of += 1
        if not holds:
            checked.rows.append(row)
            checked.sides.append((bound.left(values), bound.right(values)))


def _slack(bound: BoundLaw, values: Sequence[float], columns: Mapping[int, Column]) -> float:
    """How far rounding of its inputs may drive the two sides apart."""
    moved, total = list(values), 0.0
    base = bound.left(values) - bound.right(values)
    for position, column in columns.items():
        if column.quantum:
            moved[position] = values[position] + column.quantum
            try:
                total += abs(bound.left(moved) - bound.right(moved) - base)
            except (ZeroDivisionError, OverflowError):
                return float("inf")
            moved[position] = values[position]
    return 1.1 * total


def _leaves(law: Law) -> Iterator[Metric]:
    yield from law.left.leaves()
    yield from law.right.leaves()


def _first(law: Law) -> Iterator[str]:
    """The metric that a law is about: the side that stands alone, then all others."""
    alone = [side for side in (law.left, law.right) if isinstance(side, Metric)]
    for side in (*alone, law.left, law.right):
        yield from (leaf.key for leaf in side.leaves())


def _sums_atoms(law: Law) -> bool:
    """The catalogue's own sum knows declared atoms alone; ``atoms_and_loss`` takes all."""
    leaves = list(law.left.leaves())
    return len(leaves) > 3 and all(leaf.in_loss for leaf in leaves)


def ratio_of(a: float, b: float) -> float:
    """The larger over the smaller, 0 where one is 0."""
    small, large = sorted((abs(a), abs(b)))
    return large / small if small else 0.0
