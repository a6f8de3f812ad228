"""What the catalogue states of one record holds to the last digit that was logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...contract.check import BoundLaw
from ...contract.errors import safe_text
from ...contract.law import Law
from ...contract.metric import Metric
from ..series import Column, Shape
from .factors import explained, nearly
from .log import Case, Log, Offender, said

__all__ = ["atoms_and_loss", "declared_laws"]

LOSS = ("loss", "train/loss", "eval_loss", "eval/loss")


@dataclass
class Broken:
    """A law, and where it does not hold."""

    law: Law
    key: str
    keys: tuple[str, ...]
    sides: list[tuple[float, float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    of: int = 0


def declared_laws(log: Log) -> Iterator[Case]:
    """Formulas, identities and inequalities of the catalogue (CXM520, 522, 523, 531)."""
    for broken in sorted(_broken(log).values(), key=lambda found: (found.key, str(found.law))):
        if broken.rows:
            yield _case(log, broken)


def _broken(log: Log) -> dict[int, Broken]:
    found: dict[int, Broken] = {}
    for shape in log.table.shapes.values():
        plan = log.checker.plan(shape.keys, "eval" if log.table.mode == "eval" else "train")
        spelled = {key: str(plan.names.keys[at]) for key, at in plan.names.where.items()}
        for bound in plan.laws:
            leaves = {leaf.key for side in _sides(bound.law) for leaf in side}
            if _sums_atoms(bound.law) or (log.copies and _copied(log, leaves, spelled)):
                continue
            keys = tuple(spelled[key] for key in sorted(leaves) if key in spelled)
            name = next((spelled[k] for k in _first(bound.law) if k in spelled), "")
            broken = found.setdefault(id(bound.law), Broken(bound.law, name, keys))
            _check(
                log, shape, bound, [plan.names.where[k] for k in leaves & spelled.keys()], broken
            )
    return found


def _check(
    log: Log, shape: Shape, bound: BoundLaw, positions: Sequence[int], broken: Broken
) -> None:
    columns = [log.table.columns[shape.keys[position]] for position in positions]
    for entry, row in enumerate(shape.rows):
        values = shape.values(entry)
        try:
            left, right = bound.left(values), bound.right(values)
        except (ZeroDivisionError, OverflowError):
            continue
        broken.of += 1
        if left == right or bound.law.holds(left, right):
            continue
        slack = 0.0 if bound.law.exact else _slack(bound, values, positions, columns)
        apart = left - right if bound.law.relation == "<=" else abs(left - right)
        if apart > slack:
            broken.rows.append(row)
            broken.sides.append((left, right))


def _slack(
    bound: BoundLaw, values: Sequence[float], positions: Sequence[int], columns: Sequence[Column]
) -> float:
    """How far rounding of its inputs may drive the two sides apart."""
    moved, total = list(values), 0.0
    base = bound.left(values) - bound.right(values)
    for position, column in zip(positions, columns, strict=True):
        if column.quantum:
            moved[position] = values[position] + column.quantum
            try:
                total += abs(bound.left(moved) - bound.right(moved) - base)
            except (ZeroDivisionError, OverflowError):
                return float("inf")
            moved[position] = values[position]
    return 1.1 * total


def _case(log: Log, broken: Broken) -> Case:
    law, sides, count = broken.law, broken.sides, len(broken.rows)
    left, right = ([side[n] for side in sides] for n in (0, 1))
    offenders = [Offender(row, a, b) for row, (a, b) in zip(broken.rows, sides, strict=True)]
    ratios = [_ratio(a, b) for a, b in sides]
    factor = explained(log, broken.rows, ratios)
    rule = _rule(law, factor is not None)
    if rule == "CXM531" and factor is not None:
        more = right if right[0] > left[0] else left
        key = next((k for k in broken.keys if log.columns[k].at(broken.rows[0]) == more[0]), "")
        less = left if more is right else right
        policies = policies_of(log)
        even = (
            f"; {' and '.join(map(said, policies))} together make {less[0] * len(policies):g}"
            if len(policies) > 1
            else ""
        )
        return Case(
            rule,
            key or broken.key,
            f"{said(key or broken.key)} is {more[0]:g} where {less[0]:g} were decoded: {factor} "
            f"times too many in {count} of {broken.of} records ({law}){even}",
            [Offender(row, a, b) for row, a, b in zip(broken.rows, more, less, strict=True)],
            broken.of,
            0.9 if count == broken.of else 0.7,
            {
                "law": str(law),
                "factor": factor.values[0],
                "true_values": less[:8],
                "policies": policies,
            },
            broken.keys,
            str(law),
        )
    because = f"; the factor is {factor}" if factor else ""
    short = safe_text(law.statement, 120)[1:-1]
    message = (
        f"{said(broken.key)}: {short}: {_law(law)} gives {left[0]:.9g} and {right[0]:.9g}"
        f"{because}, and fails in {count} of {broken.of} records"
    )
    evidence = {"law": str(law), "factor": factor.values[0] if factor else None}
    sure = 0.6 if law.weak else 0.95
    return Case(
        rule, broken.key, message, offenders, broken.of, sure, evidence, broken.keys, str(law)
    )


def policies_of(log: Log) -> list[str]:
    """Families within ``rollout/`` that generated for themselves: ``rollout/anchor/``, ..."""
    below = {n.family for k, n in log.names.items() if n.last.startswith("gen_")}
    return sorted(f for f in below if f.startswith("rollout/") and f != "rollout/")


def _rule(law: Law, factored: bool) -> str:
    if factored and law.exact and law.relation == "==" and "rollouts" in str(law):
        return "CXM531"
    if law.relation == "<=":
        return "CXM522" if law.exact else "CXM520"
    return "CXM523" if law.exact else "CXM520"


def _ratio(a: float, b: float) -> float:
    small, large = sorted((abs(a), abs(b)))
    return large / small if small else 0.0


def _law(law: Law) -> str:
    text = str(law)
    return text if len(text) <= 160 else text[:157] + "..."


def _sides(law: Law) -> tuple[list[Metric], list[Metric]]:
    return list(law.left.leaves()), list(law.right.leaves())


def _first(law: Law) -> Iterator[str]:
    """The metric that a law is about: the side that stands alone, then all others."""
    alone = [side for side in (law.left, law.right) if isinstance(side, Metric)]
    for side in (*alone, law.left, law.right):
        yield from (leaf.key for leaf in side.leaves())


def _sums_atoms(law: Law) -> bool:
    """The catalogue's own sum knows declared atoms alone; ``atoms_and_loss`` takes all."""
    leaves = list(law.left.leaves())
    return len(leaves) > 3 and all(leaf.in_loss for leaf in leaves)


def _copied(log: Log, leaves: set[str], spelled: dict[str, str]) -> bool:
    return any(spelled.get(leaf, "").startswith(log.copies) for leaf in leaves)


def atoms_and_loss(log: Log) -> Iterator[Case]:
    """The terms under ``loss/`` add up to ``loss`` (CXM521)."""
    key = next((name for name in LOSS if name in log.columns), None)
    prefix = f"{key}/"
    atoms = [k for k in log.columns if k.startswith(prefix) and not _whole_sum(log, k)]
    if key is None or len(atoms) < 2:
        return
    rows, offenders, ratios = 0, [], []
    loss = log.columns[key]
    slack_of = {atom: log.columns[atom] for atom in atoms}
    for row, value in zip(loss.rows, loss.values, strict=True):
        there = [(c, v) for c in slack_of.values() if (v := c.at(row)) is not None]
        if len(there) < 2:
            continue
        rows += 1
        total = sum(v for _, v in there)
        slack = loss.slack(value) + sum(column.slack(v) for column, v in there)
        if not nearly(total, value, slack + 1e-5 * abs(value)):
            offenders.append(Offender(row, value, total))
            ratios.append(_ratio(total, value))
    if not offenders or not _promised(log, atoms, len(offenders), rows):
        return
    factor = explained(log, [offender.row for offender in offenders], ratios)
    first = offenders[0]
    because = f"; the factor is {factor}" if factor else ""
    yield Case(
        "CXM521",
        key,
        f"{said(key)} is {first.value:.9g} but its {len(atoms)} terms add up to "
        f"{first.expected:.9g}{because}: so in {len(offenders)} of {rows} records",
        offenders,
        rows,
        0.9 if len(offenders) < rows else 0.8,
        {"atoms": sorted(atoms)[:40], "factor": factor.values[0] if factor else None},
        tuple(sorted(atoms)[:4]),
    )


def _whole_sum(log: Log, key: str) -> bool:
    return log.names[key].last in {"total", "all", "sum", "mean"}


def _promised(log: Log, atoms: Sequence[str], broken: int, rows: int) -> bool:
    """The contract promises it for its own atoms; elsewhere the other records must."""
    ours = any((metric := log.metric(key)) and metric.in_loss for key in atoms)
    return ours or 2 * broken < rows
