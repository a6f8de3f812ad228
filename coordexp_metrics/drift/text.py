"""Findings and differences for people, machines, pull requests and release notes, all in ASCII."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..audit.findings import Finding
from ..contract.errors import safe_text
from ..generate.markdown import code, table
from .compare import Change, Difference, formula_text
from .rules import RULES

__all__ = ["DIFF_FORMATS", "FORMATS", "as_github", "as_json", "as_text"]

_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}
_SEVERITY = {"breaking": "error", "semantic": "error", "compatible": "note"}
WIDTH = 200


def as_text(findings: Sequence[Finding], statistics: Mapping[str, Any]) -> str:
    """A line a finding, ``path:line:col: CXM201 message``; then a summary."""
    lines = [f"{_place(f)}: {f.rule} {_printable(f.message)}" for f in findings]
    return "\n".join([*lines, _summary(findings, statistics)]) + "\n"


def as_json(findings: Sequence[Finding], statistics: Mapping[str, Any]) -> str:
    """One object: ``findings`` and ``statistics``."""
    data = {"findings": [f.to_data() for f in findings], "statistics": dict(statistics)}
    return json.dumps(data, indent=1, allow_nan=False, default=str) + "\n"


def as_github(findings: Sequence[Finding], statistics: Mapping[str, Any]) -> str:
    """Annotations of a workflow run."""
    lines = [_annotation(f) for f in findings]
    return "\n".join([*lines, _data(_summary(findings, statistics))]) + "\n"


FORMATS = {"text": as_text, "json": as_json, "github": as_github}


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text)


def _place(finding: Finding) -> str:
    column = finding.evidence.get("column", 0)
    parts = [_printable(finding.path) or "-"]
    parts += [str(finding.line)] if finding.line else []
    parts += [str(column)] if finding.line and column else []
    return ":".join(parts)


def _annotation(finding: Finding) -> str:
    where = [f"file={_property(finding.path)}"] if finding.path else []
    where += [f"line={finding.line}"] if finding.line else []
    column = finding.evidence.get("column", 0)
    where += [f"col={column}"] if finding.line and column else []
    title = _property(f"{finding.rule} {RULES[finding.rule].name}")
    level = _GITHUB[finding.severity]
    return f"::{level} {','.join([*where, f'title={title}'])}::{_data(finding.message)}"


def _data(text: str) -> str:
    return _printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _summary(findings: Sequence[Finding], statistics: Mapping[str, Any]) -> str:
    counts = Counter(finding.severity for finding in findings)
    found = ", ".join(
        f"{counts[name]} {name}" + "s" * (counts[name] != 1)
        for name in ("error", "warning", "note")
        if counts[name]
    )
    looked = ", ".join(f"{count} {what}" for what, count in statistics.items() if count)
    return f"{looked or 'nothing'} checked: {found or 'no findings'}"


def _findings(difference: Difference) -> list[Finding]:
    return [
        Finding(
            change.rule,
            _SEVERITY[change.level],  # type: ignore[arg-type]
            change.key,
            change.key if change.metric and change.after is not None else None,
            "",
            0,
            f"{_subject(change)}{_said(change)}",
            {
                "field": change.field,
                "level": change.level,
                "bump": change.bump,
                "before": change.before,
                "after": change.after,
            },
        )
        for change in difference.changes
    ]


def _subject(change: Change) -> str:
    if change.metric:
        return _printable(change.key)
    return f"family {_printable(change.key)}" if change.key else "the catalogue"


def _said(change: Change) -> str:
    if change.rule == "CXM701":
        return " is gone"
    if change.rule == "CXM706":
        return " is new"
    if change.rule == "CXM702":
        return f" was {_printable(str(change.before))}"
    if change.field in {"laws", "removed", "suppressed", "order"}:
        return f": {change.field} changed{_sets(change.before, change.after)}"
    return f": {change.field} was {_value(change.before)}, is {_value(change.after)}"


def _sets(before: Sequence[Any], after: Sequence[Any]) -> str:
    more = [_value(entry) for entry in after or () if entry not in (before or ())]
    fewer = [_value(entry) for entry in before or () if entry not in (after or ())]
    parts = [f"{len(more)} new ({more[0]} ...)"] if more else []
    parts += [f"{len(fewer)} gone ({fewer[0]} ...)"] if fewer else []
    return f": {', '.join(parts)}" if parts else ""


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict) and "tree" in value:
        value = formula_text(value["tree"])
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return safe_text(text, WIDTH)[1:-1]


def _counts(difference: Difference) -> dict[str, Any]:
    levels = Counter(change.level for change in difference.changes)
    return {
        "keys": difference.keys,
        **{level: levels[level] for level in ("breaking", "semantic", "compatible")},
        "bump": difference.bump,
    }


def _diff_text(difference: Difference) -> str:
    lines = [f"{f.rule} {f.evidence['level']}: {f.message}" for f in _findings(difference)]
    return "\n".join([*lines, _diff_summary(difference)]) + "\n"


def _diff_summary(difference: Difference) -> str:
    counts = _counts(difference)
    said = ", ".join(f"{counts[n]} {n}" for n in ("breaking", "semantic", "compatible"))
    return f"{said}; version bump: {difference.bump}"


def _diff_json(difference: Difference) -> str:
    return as_json(_findings(difference), _counts(difference))


def _diff_github(difference: Difference) -> str:
    lines = [_annotation(finding) for finding in _findings(difference)]
    return "\n".join([*lines, _data(_diff_summary(difference))]) + "\n"


_HEADS = {"breaking": "Breaking", "semantic": "Changed in meaning", "compatible": "Compatible"}


def _diff_markdown(difference: Difference) -> str:
    """A release note."""
    parts = [f"## Metrics: {difference.bump} version"]
    for level, head in _HEADS.items():
        rows = [_row(change) for change in difference.changes if change.level == level]
        if rows:
            parts += [f"### {head}", table(("Key", "What", "Before", "After"), rows)]
    if not difference.changes:
        parts.append("No metric changed.")
    return "\n\n".join(parts) + "\n"


def _row(change: Change) -> tuple[str, ...]:
    words = {"CXM701": "gone", "CXM702": "renamed", "CXM706": "new"}
    what = words.get(change.rule, change.field)
    values = (change.before, change.after)
    if change.field in {"laws", "removed", "suppressed", "order"}:
        values = _only(change.before, change.after), _only(change.after, change.before)
    subject = code(change.key) if change.key else "the catalogue"
    return (subject, what, *("" if v in (None, []) else code(_value(v)) for v in values))


def _only(these: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    return [entry for entry in these or () if entry not in (others or ())]


DIFF_FORMATS = {
    "text": _diff_text,
    "json": _diff_json,
    "github": _diff_github,
    "markdown": _diff_markdown,
}
