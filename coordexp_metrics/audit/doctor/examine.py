"""A log goes through every detector, a stretch at a time; what they say becomes findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ...contract.catalogue import Catalogue
from ...contract.check import Checker
from ...contract.record import Record
from ..findings import Finding, Findings
from ..readers import ReadProblem, SourceError
from ..rules import RULE_OF_CODE, Severity
from ..series import CELLS, Table
from ..validate import REFUSALS, Report
from . import (
    atoms,
    clocks,
    counts,
    digits,
    gauges,
    relations,
    rowsteps,
    stale,
    twins,
    verdicts,
    zeros,
)
from .leaks import Leaks
from .log import MAX_OFFENDERS, Case, Context, Log
from .plots import Curve, curves

__all__ = ["DETECTORS", "Diagnosis", "examine"]

Detector: TypeAlias = Callable[[Log], Iterator[Case]]

DETECTORS: tuple[Detector, ...] = (
    rowsteps.order_of_steps,
    verdicts.declared_laws,
    verdicts.successions,
    atoms.atoms_and_loss,
    counts.fractional_counts,
    counts.multiplied_counts,
    counts.beyond_universe,
    counts.overcounted_rollouts,
    gauges.diluted_gauges,
    relations.broken_relations,
    relations.sums_under_means,
    relations.order_of_quantiles,
    relations.parts_and_whole,
    stale.carried_snapshots,
    stale.never_zero,
    stale.stale_values,
    twins.disagreeing_twins,
    zeros.zeros_for_nothing,
    zeros.hidden_nans,
    zeros.switched_off,
    zeros.constant_rates,
    clocks.mixed_throughput,
    clocks.cumulative_clocks,
    clocks.cumulative_counters,
    digits.stuck_counters,
    digits.few_digits,
)
GATES: Mapping[str, frozenset[Severity]] = {
    "error": frozenset({"error"}),
    "warning": frozenset({"error", "warning"}),
    "note": frozenset({"error", "warning", "note"}),
    "never": frozenset(),
}


@dataclass(frozen=True)
class Diagnosis(Report):
    """What the doctor found.

    Attributes:
        plots: for each finding, by rule, key and place, the series that it is about.
    """

    plots: Mapping[tuple[str, str, str], Sequence[Curve]] = field(default_factory=dict)

    def gated(self, fail_on: str = "error") -> int:
        """0 nothing at or above ``fail_on``, 1 something, 2 a part could not be checked."""
        if self.unchecked:
            return 2
        return int(any(finding.severity in GATES[fail_on] for finding in self.findings))


def examine(
    records: Iterable[Record],
    catalogue: Catalogue | None = None,
    context: Context | None = None,
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    carry: Sequence[str] = (),
    plots: bool = False,
    cells: int = CELLS,
) -> Diagnosis:
    """Look for faults that no range check finds.

    Args:
        records: what ``read`` gives, or any records.
        catalogue: the declarations; None for the package's own.
        context: what is known of the run: its ranks and its accumulation.
        select: rules to keep, by id or its beginning (``CXM54``); all where empty.
        ignore: rules to leave out, likewise.
        carry: patterns of keys that nothing declares and that are carried.
        plots: whether to keep the series of each finding.
        cells: numbers held at a time; a longer log is examined in stretches.

    >>> from coordexp_metrics.contract.record import Record
    >>> rows = [Record("train", n, {"matched": 5 * n, "matched_count": 90 * n, "micro_steps": 18})
    ...         for n in (1, 2, 3)]
    >>> for finding in examine(rows).findings:
    ...     print(finding.rule, finding.key, finding.evidence["factor"])
    CXM530 matched_count 18.0
    """
    if catalogue is None:
        from ...catalogue import CATALOGUE

        catalogue = CATALOGUE
    doctor = _Doctor(catalogue, context or Context(), carry, plots, cells)
    refusals = doctor.read(records)
    doctor.flush()
    doctor.problems(records, refusals)
    found = tuple(f for f in doctor.findings if _wanted(f.rule, select, ignore))
    counts_ = getattr(getattr(records, "problems", None), "counts", Counter[str]())
    refused = {problem.code for problem in refusals} | set(counts_)
    statistics = {
        "records": doctor.seen.total(),
        "modes": {mode: doctor.seen[mode] for mode in ("train", "eval") if doctor.seen[mode]},
        "files": list(getattr(records, "files", ())),
        "keys": doctor.keys,
        "detectors": len(DETECTORS),
        "gave_up": dict(doctor.gave_up),
        **_totals(found),
    }
    unchecked = not doctor.seen or not REFUSALS.isdisjoint(refused)
    return Diagnosis(found, statistics, unchecked, doctor.plots)


class _Doctor:
    def __init__(
        self,
        catalogue: Catalogue,
        context: Context,
        carry: Sequence[str],
        plots: bool,
        cells: int,
    ) -> None:
        self.findings = Findings()
        self.seen: Counter[str] = Counter()
        self.gave_up: Counter[str] = Counter()
        self.plots: dict[tuple[str, str, str], Sequence[Curve]] = {}
        self.keys = 0
        self._leaks = Leaks(self.findings)
        self._catalogue, self._context = catalogue, context
        self._checker = Checker(catalogue, carry)
        self._tables: dict[tuple[str, str, str], Table] = {}
        self._plotting, self._cells = plots, cells
        self._headers = 0

    def read(self, records: Iterable[Record]) -> list[ReadProblem]:
        """Take every record; what ended the reading is given back."""
        held = 0
        try:
            for record in records:
                self._parameters(getattr(records, "headers", ()))
                self.seen[record.mode] += 1
                self._leaks.take(record)
                path = record.origin[0] if record.origin else ""
                home = path, str(record.mode), record.dataset or ""
                table = self._tables.get(home)
                if table is None:
                    table = self._tables[home] = Table(path, record.mode)
                held -= table.size
                table.add(record)
                held += table.size
                if held >= self._cells:
                    self.flush()
                    held = 0
        except SourceError as error:
            return [error.problem]
        return []

    def flush(self) -> None:
        """Examine what is held, and let it go."""
        for table in self._tables.values():
            self.keys = max(self.keys, len(table.columns))
            log = Log(table, self._catalogue, self._context, self._checker)
            for detector in DETECTORS:
                self._run(detector, log)
        self._tables = {}

    def _run(self, detector: Detector, log: Log) -> None:
        try:
            for case in detector(log):
                self._add(log, case)
        except ArithmeticError:  # of numbers near the least float, which nothing measures
            self.gave_up[detector.__name__] += 1

    def problems(self, records: Iterable[Record], refusals: Sequence[ReadProblem]) -> None:
        """What could not be read, under the rules of the readers."""
        for problem in (*getattr(records, "problems", ()), *refusals):
            self.findings.add(
                RULE_OF_CODE.get(problem.code, "CXM131"),
                problem.message,
                places=[(problem.path, problem.line)],
                detail=f"{problem.code} {problem.path}",
                evidence={"code": problem.code, "offset": problem.offset},
            )

    def _parameters(self, headers: Sequence[Mapping[str, Any]]) -> None:
        for header in headers[self._headers :]:
            given = header.get("parameters")
            if type(given) is dict:
                numbers = {k: v for k, v in given.items() if type(v) in {int, float}}
                self._checker.parameters.update(numbers)
        self._headers = len(headers)

    def _add(self, log: Log, case: Case) -> None:
        metric = log.metric(case.key) if case.key else None
        table = log.table
        shown_ = [
            {
                "line": table.lines[offender.row],
                "step": table.steps[offender.row],
                "value": offender.value,
                "expected": offender.expected,
            }
            for offender in case.offenders[:MAX_OFFENDERS]
        ]
        detail = f"{case.detail} {table.path} {table.mode}"
        if self._plotting:
            plot = curves(log, case)
            if plot:
                self.plots.setdefault((case.rule, case.key, case.message), plot)
        self.findings.add(
            case.rule,
            case.message,
            key=case.key,
            metric=None if metric is None else metric.key,
            places=[table.place(offender.row) for offender in case.offenders[:MAX_OFFENDERS]],
            count=len(case.offenders),
            of=case.of,
            detail=detail,
            evidence={
                "confidence": case.confidence,
                "offenders": shown_,
                **case.evidence,
            },
        )


def _wanted(rule: str, select: Sequence[str], ignore: Sequence[str]) -> bool:
    chosen = not select or rule.startswith(tuple(select))
    return chosen and not (ignore and rule.startswith(tuple(ignore)))


def _totals(findings: Iterable[Finding]) -> dict[str, Any]:
    by_rule = Counter(finding.rule for finding in findings)
    by_severity = Counter(finding.severity for finding in findings)
    return {"findings": dict(sorted(by_severity.items())), "rules": dict(sorted(by_rule.items()))}
