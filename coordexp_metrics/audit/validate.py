"""A finished log against the catalogue: names, values, bounds and laws of every record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.metric import Mode
from ..contract.record import Record
from .findings import Finding, Findings
from .inspector import Inspector
from .readers import ReadProblem, SourceError
from .rules import RULE_OF_CODE

__all__ = ["Report", "inspect", "statistics_of", "totals", "validate"]

# What makes a file unchecked, so that no exit code may say that it is clean.
REFUSALS = frozenset(
    {
        "file.unreadable",
        "file.not_regular",
        "file.too_large",
        "file.damaged",
        "file.foreign",
        "file.newer",
        "record.too_large",
    }
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
    inspector = Inspector(findings, catalogue, carry, parameters)
    seen, unchecked = inspect(records, inspector, findings)
    ordered = tuple(findings)
    statistics = {**statistics_of(records, seen, inspector), **totals(ordered)}
    return Report(ordered, statistics, unchecked)


def inspect(
    records: Iterable[Record], inspector: Inspector, findings: Findings
) -> tuple[Counter[Mode], bool]:
    """How many records of each mode were checked, and whether something could not be."""
    seen: Counter[Mode] = Counter()
    refusals: list[ReadProblem] = []
    headers = 0
    try:
        for record in records:
            if len(getattr(records, "headers", ())) > headers:
                headers = _use_headers(records, inspector, headers)
            seen[record.mode] += 1
            inspector.take(record)
    except SourceError as error:
        refusals.append(error.problem)
    _use_headers(records, inspector, headers)
    inspector.finish(sorted(seen))
    problems = getattr(records, "problems", ())
    counts = Counter(getattr(problems, "counts", {})) + Counter(p.code for p in refusals)
    _add_problems(findings, [*problems, *refusals], counts)
    return seen, not seen or not REFUSALS.isdisjoint(counts)


def _use_headers(records: Any, inspector: Inspector, known: int) -> int:
    """Pass on the headers that were met since."""
    headers, files = getattr(records, "headers", ()), getattr(records, "header_files", ())
    for position in range(known, len(headers)):
        path = files[position] if position < len(files) else ""
        inspector.use_header(headers[position], path)
    return len(headers)


def statistics_of(
    records: Iterable[Record], seen: Counter[Mode], inspector: Inspector
) -> dict[str, Any]:
    """How much was checked."""
    return {
        "records": seen.total(),
        "modes": {mode: seen[mode] for mode in ("train", "eval") if seen[mode]},
        "files": list(getattr(records, "files", ())),
        **inspector.statistics(),
    }


def _add_problems(
    findings: Findings, problems: Iterable[ReadProblem], counts: Mapping[str, int]
) -> None:
    """Each code of a file is one finding: the first place speaks, the others are counted."""
    kept: Counter[str] = Counter(problem.code for problem in problems)
    for problem in problems:
        beyond = counts[problem.code] - kept[problem.code]
        kept[problem.code], beyond = counts[problem.code], max(0, beyond)
        findings.add(
            RULE_OF_CODE.get(problem.code, "CXM131"),
            problem.message,
            places=[(problem.path, problem.line)],
            count=1 + beyond,
            detail=f"{problem.code} {problem.path}",
            evidence={"code": problem.code, "offset": problem.offset},
        )


def totals(findings: Iterable[Finding]) -> dict[str, Any]:
    """Findings by severity and by rule."""
    by_rule: Counter[str] = Counter()
    by_severity: Counter[str] = Counter()
    for finding in findings:
        by_rule[finding.rule] += 1
        by_severity[finding.severity] += 1
    return {"findings": dict(sorted(by_severity.items())), "rules": dict(sorted(by_rule.items()))}
