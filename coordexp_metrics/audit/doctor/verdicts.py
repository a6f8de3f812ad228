"""A law that does not hold becomes a finding, and the one count that breaks several is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...contract.errors import safe_text
from ...contract.kinds import Total
from ...contract.law import Law
from .factors import Factor, explained, known
from .laws import Checked, check_laws, ratio_of
from .log import Case, Log, Offender, said, shown
from .words import named

__all__ = ["declared_laws", "policies_of", "successions"]

ENOUGH = 3
TRIED = 60


def declared_laws(log: Log) -> Iterator[Case]:
    """Formulas, identities and inequalities of the catalogue (CXM520 to 523, 530, 531, 560)."""
    laws = check_laws(log)
    for law in laws:
        if law.rows:
            yield _broken(log, law)
        if law.nothing:
            yield _of_nothing(log, law)
    yield from _multiplied(log, laws)


def _broken(log: Log, broken: Checked) -> Case:
    law, sides, count = broken.law, broken.sides, len(broken.rows)
    left, right = ([side[n] for side in sides] for n in (0, 1))
    offenders = [Offender(row, a, b) for row, (a, b) in zip(broken.rows, sides, strict=True)]
    ratios = [ratio_of(a, b) for a, b in sides]
    factor = explained(log, broken.rows, ratios)
    rule = _rule(broken, factor is not None)
    if rule == "CXM531" and factor is not None:
        return _over(log, broken, factor)
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


def _over(log: Log, broken: Checked, factor: Factor) -> Case:
    """The side with more rollouts counts some of them again."""
    left, right = ([side[n] for side in broken.sides] for n in (0, 1))
    more, less = (right, left) if right[0] > left[0] else (left, right)
    key = next((k for k in broken.keys if log.columns[k].at(broken.rows[0]) == more[0]), broken.key)
    count, policies = len(broken.rows), policies_of(log)
    even = (
        f"; {' and '.join(map(said, policies))} together make {less[0] * len(policies):g}"
        if len(policies) > 1
        else ""
    )
    return Case(
        "CXM531",
        key,
        f"{said(key)} is {more[0]:g} where {less[0]:g} were decoded: {factor} times too many in "
        f"{count} of {broken.of} records ({broken.law}){even}",
        [Offender(row, a, b) for row, a, b in zip(broken.rows, more, less, strict=True)],
        broken.of,
        0.9 if count == broken.of else 0.7,
        {
            "law": str(broken.law),
            "factor": factor.values[0],
            "true_values": less[:8],
            "policies": policies,
        },
        broken.keys,
        str(broken.law),
    )


def _of_nothing(log: Log, law: Checked) -> Case:
    """A ratio stands there though its denominator is zero."""
    value = log.columns[law.key].at(law.nothing[0]) or 0.0
    count, of = len(law.nothing), law.of + len(law.nothing)
    return Case(
        "CXM560",
        law.key,
        f"{said(law.key)} is {value:g} where {_law(law.law).partition(' == ')[2]} divides by zero: "
        f"nothing was measured, so it must be absent ({count} of {of} records)",
        [Offender(row, log.columns[law.key].at(row) or 0.0) for row in law.nothing],
        of,
        0.95,
        {"law": str(law.law)},
        law.keys,
        "declared",
    )


def _multiplied(log: Log, laws: Sequence[Checked]) -> Iterator[Case]:
    """The one count that, divided by a factor, mends every law that it is in (CXM530)."""
    best: dict[str, tuple[Factor, list[Checked]]] = {}
    for key in sorted({key for law in laws if law.rows for key in law.keys}):
        mine = [law for law in laws if key in law.keys]
        broken = [law for law in mine if len(law.rows) == law.of >= ENOUGH]
        if isinstance(log.metric(key), Total) and log.columns[key].whole and broken:
            factor = _mending(log, key, mine)
            if factor is not None:
                best[key] = factor, broken
    most = max((len(broken) for _, broken in best.values()), default=0)
    found = [key for key, (_, broken) in best.items() if len(broken) == most]
    # Where another count would mend as much, nobody can tell which of them is wrong.
    if len(found) == 1 and most >= 2:
        yield _mended(log, found[0], *best[found[0]])


def _mending(log: Log, key: str, laws: Sequence[Checked]) -> Factor | None:
    column = log.columns[key]
    constants = (Factor("", (float(k),) * len(column)) for k in (2, 3, 4, 6, 8, 16, 32, 64))
    for factor in (*known(log, column.rows), *constants):
        by_row = dict(zip(column.rows, factor.values, strict=True))
        both = zip(column.values, factor.values, strict=True)
        whole = factor.name != key and all(not value % k for value, k in both)
        if whole and all(_holds_without(log, key, law, by_row) for law in laws):
            return factor
    return None


def _holds_without(log: Log, key: str, law: Checked, factors: Mapping[int, float]) -> bool:
    """Whether ``law`` holds in the first rows once ``key`` is divided."""
    for use, (shape, _, places) in enumerate(law.uses):
        for entry, row in zip(range(TRIED), shape.rows, strict=False):
            values = list(shape.values(entry))
            values[places[key]] /= factors[row]
            try:
                if not law.holds(log, use, values):
                    return False
            except (ZeroDivisionError, OverflowError):
                continue
    return True


def _mended(log: Log, key: str, factor: Factor, broken: Sequence[Checked]) -> Case:
    column = log.columns[key]
    true = [value / k for value, k in zip(column.values, factor.values, strict=True)]
    about = ", ".join(said(law.key) for law in broken[:3]) + ", ..." * (len(broken) > 3)
    return Case(
        "CXM530",
        key,
        f"{said(key)} is {shown(column.values)}: divided by {factor} it is {shown(true)}, and "
        f"mends {len(broken)} laws that fail in every record ({about})",
        [Offender(r, v, t) for r, v, t in zip(column.rows, column.values, true, strict=True)],
        len(column),
        0.95,
        {
            "factor": factor.values[0] if factor.constant else list(factor.values[:8]),
            "factor_key": factor.name,
            "true_values": true[:8],
            "laws": [str(law.law) for law in broken],
        },
        (),
        "laws",
    )


def successions(log: Log) -> Iterator[Case]:
    """What a record says of the one before it: a running total grows by its own part (CXM520)."""
    found: dict[str, tuple[Law, list[Offender], str]] = {}
    before: dict[str, float] = {}
    step, of = -1, 0
    for row, shape, entry in log.table.in_order():
        plan = log.plans.get(shape.keys)
        if plan is None or not plan.successions:
            continue
        now = plan.names.by_key(shape.values(entry))
        joined = {**now, **{f"previous({key})": value for key, value in before.items()}}
        for law in plan.successions if 0 <= step < log.table.steps[row] else ():
            of += 1
            sides = law.check(joined, log.checker.parameters)
            if sides is not None:
                first = next(leaf.key for leaf in law.left.leaves())
                spelled = str(plan.names.keys[plan.names.where[first]])
                found.setdefault(str(law), (law, [], spelled))[1].append(Offender(row, *sides))
        before, step = now, log.table.steps[row]
    for law, offenders, key in found.values():
        ratios = [ratio_of(o.value, o.expected or 0.0) for o in offenders]
        factor = explained(log, [offender.row for offender in offenders], ratios)
        because = f"; the factor is {factor}" if factor else ""
        yield Case(
            "CXM520",
            key,
            f"{said(key)}: {safe_text(law.statement, 120)[1:-1]}: {_law(law)} gives "
            f"{offenders[0].value:g} and {offenders[0].expected:g}{because}, and fails in "
            f"{len(offenders)} of {of} records",
            offenders,
            of,
            0.9,
            {"law": str(law), "factor": factor.values[0] if factor else None},
            (),
            str(law),
        )


def policies_of(log: Log) -> list[str]:
    """Families within ``rollout/`` that generated for themselves: ``rollout/anchor/``, ..."""
    below = {n.family for k, n in log.names.items() if n.last.startswith("gen_")}
    return sorted(f for f in below if f.startswith("rollout/") and f != "rollout/")


def _rule(broken: Checked, factored: bool) -> str:
    law = broken.law
    if factored and law.exact and law.relation == "==" and "rollouts" in str(law):
        return "CXM531"
    if named(broken.key).throughput:
        return "CXM570"
    if law.exact:
        return "CXM522" if law.relation == "<=" else "CXM523"
    return "CXM520"


def _law(law: Law) -> str:
    text = str(law)
    return text if len(text) <= 160 else text[:157] + "..."
