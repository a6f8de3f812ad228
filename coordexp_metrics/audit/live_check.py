"""The checks of ``validate``, and presence: what should stand in a record, and what should not.

One engine does both. ``validate`` looks at what stands in a record; ``live_check`` also looks at
conditions, variants, required keys and coverage, so it needs, and takes, more context.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.errors import safe_text
from ..contract.record import Record
from .baseline import Baseline, identity_of
from .context import Context
from .coverage import Coverage, coverage
from .findings import Finding, Findings
from .inspector import Inspector
from .scope import Scope
from .validate import Report, inspect, statistics_of, totals

__all__ = ["Wanted", "live_check", "muted_by"]


@dataclass(frozen=True)
class Wanted:
    """What a live-check is asked for, beside the catalogue.

    Attributes:
        scope: globs or families to look at; everything where there are none.
        require: keys or globs of which at least one key must be met.
        least_coverage: percent of the keys that are due, at least; None for any.
        baseline: findings that are known; they are muted, and counted.
    """

    scope: Sequence[str] = ()
    require: Sequence[str] = ()
    least_coverage: float | None = None
    baseline: Baseline = field(default_factory=Baseline)


def live_check(
    records: Iterable[Record],
    catalogue: Catalogue | None = None,
    carry: Sequence[str] = (),
    *,
    context: Context | None = None,
    wanted: Wanted | None = None,
) -> Report:
    """Check every record, and what should have been there.

    Args:
        records: what ``read`` gives, or any records.
        catalogue: the declarations; None for the package's own.
        carry: patterns of keys that need no declaration, ``my/*``.
        context: variant and settings of the run; a log's header adds to it.
        wanted: scope, required keys, coverage and baseline.

    >>> from coordexp_metrics.contract.record import Record
    >>> row = {"stage2/channel_b": 0.0, "time/rollout_generate_s": 0.0}
    >>> [(f.rule, f.key) for f in live_check([Record("train", 7, row)]).findings]
    [('CXM412', 'time/rollout_generate_s')]
    """
    if catalogue is None:
        from ..catalogue import CATALOGUE

        catalogue = CATALOGUE
    wanted = wanted or Wanted()
    context = context or Context()
    findings = Findings()
    inspector = Inspector(findings, catalogue, carry, _numbers(context) or None, context)
    seen, unchecked = inspect(records, inspector, findings)
    scope = Scope(wanted.scope, catalogue)
    met = {key: inspector.names.canonical(key) for key in inspector.names.met}
    covered = coverage(catalogue, inspector.names.declared, list(seen), inspector.context, scope)
    _require(findings, wanted.require, met)
    _cover(findings, covered, wanted.least_coverage)
    ordered = [f for f in findings if _in_scope(f, scope)]
    new, known = wanted.baseline.split(ordered)
    statistics = {
        **statistics_of(records, seen, inspector),
        "met": {key: {"metric": met[key], "records": n} for key, n in inspector.names.met.items()},
        "in_scope": scope.among(met.items()),
        "coverage": covered.to_data(),
        "muted": _muted(known, wanted.baseline),
        **totals(new),
    }
    nothing = not scope.among(met.items())
    return Report(tuple(new), statistics, unchecked or nothing)


def _numbers(context: Context) -> dict[str, float]:
    """Settings that formulas may need, by the last part of their names."""
    return {
        name.rpartition(".")[2]: value
        for name, value in context.settings.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _in_scope(finding: Finding, scope: Scope) -> bool:
    return not finding.key or finding.rule in ALWAYS or scope.holds(finding.key, finding.metric)


# What was asked for is answered, whatever the scope.
ALWAYS = frozenset({"CXM416", "CXM417"})


def _require(findings: Findings, patterns: Sequence[str], met: dict[str, str | None]) -> None:
    names = {*met, *filter(None, met.values())}
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            message = f"{safe_text(pattern)} was required, and no record has it"
            findings.add("CXM416", message, key=pattern)


def _cover(findings: Findings, covered: Coverage, least: float | None) -> None:
    if least is not None and covered.percent < least:
        message = (
            f"{covered.percent:.1f} % of the {len(covered.due)} keys that are due were met; "
            f"{least:g} % were asked for"
        )
        findings.add("CXM417", message, evidence={"missing": covered.to_data()["missing"]})


def _muted(known: Sequence[Finding], baseline: Baseline) -> dict[str, Any]:
    """What the baseline hid, and what of it is no longer there."""
    met = {identity_of(finding) for finding in known}
    return {
        "findings": len(known),
        "records": sum(finding.count for finding in known),
        "gone": len(baseline.known - met),
    }


def muted_by(report: Report, baseline: Baseline) -> Report:
    """``report`` without what ``baseline`` knows."""
    new, known = baseline.split(report.findings)
    statistics = {**report.statistics, "muted": _muted(known, baseline), **totals(new)}
    return replace(report, findings=tuple(new), statistics=statistics)
