"""Findings for people, for machines and for pull requests; everything printed is ASCII."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ..contract.errors import safe_text
from .findings import Finding
from .rules import RULES
from .validate import Report

__all__ = ["FORMATS", "as_github", "as_json", "as_text"]

SHOWN = 20
CARRIED_KEY = "CXM211"
_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}


def as_json(report: Report) -> str:
    """Everything, one object: ``findings`` and ``statistics``."""
    return json.dumps(report.to_data(), indent=1, allow_nan=False) + "\n"


def as_text(report: Report) -> str:
    """Worst first, a group for each rule, ``path:line: CXM203 message``."""
    parts = []
    for rule, group in groupby(report.findings, key=lambda finding: finding.rule):
        lines = list(_merged(list(group)))
        parts.append(f"{rule} {RULES[rule].name} ({RULES[rule].severity}): {RULES[rule].text}")
        parts += [f"{_place(f)}: {f.rule} {f.message}{_times(f)}" for f in lines[:SHOWN]]
        if len(lines) > SHOWN:
            parts.append(f"... and {len(lines) - SHOWN} more; --format json lists all")
        parts.append("")
    return "\n".join([*parts, _summary(report)]) + "\n"


def as_github(report: Report) -> str:
    """Annotations of a workflow run."""
    parts = []
    for rule, group in groupby(report.findings, key=lambda finding: finding.rule):
        parts += [_annotation(f, RULES[rule].name) for f in list(_merged(list(group)))[:SHOWN]]
    return "".join(f"{part}\n" for part in [*parts, _summary(report)])


FORMATS = {"text": as_text, "json": as_json, "github": as_github}


def _merged(findings: Sequence[Finding]) -> Iterator[Finding]:
    """A family that nobody declared is one line, not a line for each of its keys."""
    families: dict[str, list[Finding]] = {}
    for finding in findings:
        if "family" in finding.evidence:
            families.setdefault(finding.evidence["family"], []).append(finding)
        else:
            yield finding
    for family, members in sorted(families.items()):
        first = min(members, key=lambda finding: (finding.path, finding.line))
        names = ", ".join(safe_text(member.key) for member in members[:3])
        more = ", ..." if len(members) > 3 else ""
        keys = _number(len(members), "key")
        carried = safe_text(f"{family}*")
        message = f"{safe_text(family)} is not in the catalogue: {keys} ({names}{more}); "
        message += f"declare the family, or --carry {carried}"
        if first.rule == CARRIED_KEY:
            message = f"{keys} carry values of older steps ({names}{more})"
        count = max(member.count for member in members)
        yield replace(first, key=family, message=message, evidence={"count": count})


def _place(finding: Finding) -> str:
    path = safe_text(finding.path, 400)[1:-1] or "-"
    return f"{path}:{finding.line}" if finding.line else path


def _times(finding: Finding) -> str:
    return f" ({finding.count} times)" if finding.count > 1 else ""


def _annotation(finding: Finding, name: str) -> str:
    where = f"file={_property(finding.path)}" + (f",line={finding.line}" * bool(finding.line))
    title = _property(f"{finding.rule} {name}")
    message = _data(finding.message + _times(finding))
    return f"::{_GITHUB[finding.severity]} {where},title={title}::{message}"


def _data(text: str) -> str:
    plain = "".join(c if " " <= c <= "~" or c in "\r\n" else ascii(c)[1:-1] for c in text)
    return plain.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _summary(report: Report) -> str:
    records, totals = report.statistics.get("records", 0), report.statistics.get("findings", {})
    if not records:
        said = "nothing was checked: no record could be read"
    elif report.statistics.get("in_scope") == 0:
        said = "nothing was checked: no key of the log is in the scope"
    else:
        files = max(1, len(report.statistics.get("files", ())))
        said = f"{_number(records, 'record')} of {_number(files, 'file')} checked"
    found = ", ".join(_number(count, name) for name, count in totals.items())
    unchecked = "; a part could not be checked" if records and report.unchecked else ""
    return f"{said}: {found or 'no findings'}{_muted(report)}{unchecked}"


def _muted(report: Report) -> str:
    muted = report.statistics.get("muted", {})
    known = f"; {muted['findings']} more are in the baseline" if muted.get("findings") else ""
    gone = f"; {muted['gone']} of the baseline are gone" if muted.get("gone") else ""
    return known + gone


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)
