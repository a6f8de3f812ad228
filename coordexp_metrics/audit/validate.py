"""A finished log against the catalogue: names, values, bounds and laws of every record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.errors import safe_text
from ..contract.record import Record
from .findings import Finding, Findings
from .inspector import Inspector
from .readers import ReadProblem, SourceError
from .rules import RULE_OF_PROBLEM

__all__ = ["Report", "validate"]

# What makes a file unchecked, so that no exit code may say that it is clean.
REFUSALS = frozenset(
    {"file.unreadable", "file.not_regular", "file.too_large", "file.foreign", "file.newer"}
)


@dataclass(frozen=True)
class Report:
    """What a validation found.

    Attributes:
        findings: worst first.
        statistics: how much was checked, and totals.
        unchecked: whether a file was refused, or no record was found: then nothing is clean.
    """

    findings: tuple[Finding, ...]
    statistics: Mapping[str, Any] = field(default_factory=dict)
    unchecked: bool = False

    def exit_code(self, *, strict: bool = False) -> int:
        """0 clean, 1 findings at or above the gate, 2 something could not be checked."""
        if self.unchecked:
            return 2
        gate = {"error", "warning"} if strict else {"error"}
        return int(any(finding.severity in gate for finding in self.findings))

    def to_data(self) -> dict[str, Any]:
        """The report as JSON data."""
        return {
            "findings": [finding.to_data() for finding in self.findings],
            "statistics": dict(self.statistics),
        }


def validate(
    records: Iterable[Record],
    catalogue: Catalogue | None = None,
    carry: Sequence[str] = (),
    parameters: Mapping[str, float] | None = None,
) -> Report:
    """Check every record.

    Args:
        records: what ``read`` gives, or any records.
        catalogue: the declarations; None for the package's own.
        carry: patterns of keys that need no declaration, ``my/*``.
        parameters: numbers that formulas need from the configuration; without them those in the
            log's header are used.

    >>> from coordexp_metrics.contract.record import Record
    >>> report = validate([Record("train", 7, {"rollout/_samples": 3.0})])
    >>> [(finding.rule, finding.key) for finding in report.findings], report.exit_code()
    ([('CXM203', 'rollout/_samples')], 1)
    """
    if catalogue is None:
        from ..catalogue import CATALOGUE

        catalogue = CATALOGUE
    findings = Findings()
    headers = getattr(records, "headers", None)
    inspector = Inspector(findings, catalogue, carry, parameters)
    refusal: ReadProblem | None = None
    seen: Counter[str] = Counter()
    files: set[str] = set()
    try:
        for record in records:
            if not seen:
                inspector.use_headers(getattr(records, "headers", headers) or ())
            seen[record.mode] += 1
            files.add(record.origin[0] if record.origin else "")
            inspector.take(record)
    except SourceError as error:
        refusal = error.problem
    inspector.finish()
    problems = getattr(records, "problems", None)
    counts = Counter(problems.counts) if problems is not None else Counter[str]()
    _add_problems(findings, problems or (), counts)
    if refusal is not None:
        _add_problems(findings, [refusal], Counter({refusal.code: 1}))
        counts[refusal.code] += 1
    unchecked = not seen or not REFUSALS.isdisjoint(counts)
    sorted_findings = tuple(findings)
    statistics = {
        "records": seen.total(),
        "modes": dict(sorted(seen.items())),
        "files": len(files),
        **inspector.statistics(),
        **_totals(sorted_findings),
    }
    return Report(sorted_findings, statistics, unchecked)


def refused(problem: ReadProblem) -> Report:
    """The report on a source that could not be read at all."""
    findings = Findings()
    _add_problems(findings, [problem], Counter({problem.code: 1}))
    return Report(tuple(findings), {"records": 0, **_totals(tuple(findings))}, unchecked=True)


def _add_problems(
    findings: Findings, problems: Iterable[ReadProblem], counts: Mapping[str, int]
) -> None:
    """Each code of a file is one finding: the first place speaks, the others are counted."""
    kept: Counter[str] = Counter(problem.code for problem in problems)
    for problem in problems:
        beyond = counts[problem.code] - kept[problem.code]
        kept[problem.code], beyond = counts[problem.code], max(0, beyond)
        findings.add(
            RULE_OF_PROBLEM.get(problem.code, "CXM131"),
            problem.message,
            places=[(problem.path, problem.line)],
            count=1 + beyond,
            detail=f"{problem.code} {problem.path}",
            code=problem.code,
            offset=problem.offset,
        )


def _totals(findings: Iterable[Finding]) -> dict[str, Any]:
    by_rule: Counter[str] = Counter()
    by_severity: Counter[str] = Counter()
    for finding in findings:
        by_rule[finding.rule] += 1
        by_severity[finding.severity] += 1
    return {"findings": dict(sorted(by_severity.items())), "rules": dict(sorted(by_rule.items()))}
