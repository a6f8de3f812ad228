"""A diagnosis for people, for machines and for pull requests; everything printed is ASCII."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from typing import Any

from ...contract.errors import safe_text
from ..findings import Finding
from ..rules import RULES
from ..text import as_github
from .examine import Diagnosis

__all__ = ["FORMATS", "summary"]

SHOWN = 20
OFFENDERS = 3


def json_parts(diagnosis: Diagnosis) -> Iterator[str]:
    """All findings, one after the other, and the statistics: one object."""
    yield '{"findings": ['
    for number, finding in enumerate(diagnosis.findings):
        yield ("," * bool(number)) + "\n " + json.dumps(finding.to_data(), allow_nan=False)
    yield f'\n], "statistics": {json.dumps(dict(diagnosis.statistics))}}}\n'


def text_parts(diagnosis: Diagnosis) -> Iterator[str]:
    """Worst first, a group for each rule, with the first offenders under each finding."""
    for rule, group in groupby(diagnosis.findings, key=lambda finding: finding.rule):
        found = list(group)
        told = RULES[rule]
        yield f"{rule} {told.name} ({told.severity}): {told.text}\n"
        for finding in found[:SHOWN]:
            yield f"{_place(finding)}: {rule} {finding.message}\n"
            yield from (f"    {line}\n" for line in evidence_lines(finding))
        if len(found) > SHOWN:
            yield f"... and {len(found) - SHOWN} more; --format json lists all\n"
        yield "\n"
    yield summary(diagnosis) + "\n"


def github_parts(diagnosis: Diagnosis) -> Iterator[str]:
    """Annotations of a workflow run."""
    yield as_github(diagnosis)


FORMATS = {"text": text_parts, "json": json_parts, "github": github_parts}


def evidence_lines(finding: Finding) -> Iterator[str]:
    """The first offenders, how sure this is, and where the rest is."""
    evidence = finding.evidence
    offenders: list[Mapping[str, Any]] = evidence.get("offenders", [])
    if _tells(offenders):
        for offender in islice(offenders, OFFENDERS):
            yield offender_line(offender)
    sure, count, of = evidence.get("confidence"), finding.count, evidence.get("of")
    if sure is not None:
        records = f"{count} of {of} records" if of else f"{count} record" + "s" * (count != 1)
        yield f"{records}, confidence {sure:.2f}"


def _tells(offenders: list[Mapping[str, Any]]) -> bool:
    return any(offender["expected"] is not None for offender in offenders)


def offender_line(offender: Mapping[str, Any]) -> str:
    """Where, what, and what it should be."""
    expected = offender["expected"]
    should = "" if expected is None else f", against {expected:.10g}"
    return f"line {offender['line']}, step {offender['step']}: {offender['value']:.10g}{should}"


def summary(diagnosis: Diagnosis) -> str:
    """How much was examined, and how many findings of each severity there are."""
    statistics = diagnosis.statistics
    totals = statistics.get("findings", {})
    found = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in totals.items())
    if not statistics.get("records"):
        said = "nothing was examined: no record could be read"
    else:
        files = max(1, len(statistics["files"]))
        said = (
            f"{statistics['records']} records and {statistics['keys']} keys of {files} "
            f"file{'s' * (files != 1)} examined"
        )
    unchecked = "; a part could not be read" if diagnosis.unchecked else ""
    return f"{said}: {found or 'no findings'}{unchecked}"


def _place(finding: Finding) -> str:
    path = safe_text(finding.path, 400)[1:-1] or "-"
    return f"{path}:{finding.line}" if finding.line else path
