"""A diagnosis as one page: what is worst first, and each finding beside its series."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ..findings import Finding
from ..html import document, element, text
from ..rules import RULES, Severity
from .examine import Diagnosis
from .plots import Curve
from .report import summary
from .svg import panel

__all__ = ["page_of"]

SHOWN = 100
LEGEND = (
    "Coloured dots are records that offend; the dashed line is what they should be, where it can "
    "be told. `coordexp-metrics explain RULE` shows a rule with a bad and a good example."
)
TOLD_APART = frozenset({"count", "of", "places", "offenders", "confidence"})


def page_of(diagnosis: Diagnosis) -> str:
    """The page, self-contained.

    >>> from coordexp_metrics.audit.doctor import examine
    >>> from coordexp_metrics.contract.record import Record
    >>> page = page_of(examine([Record("train", 1, {"a/_<b>": 1.0})], plots=True))
    >>> "a/_&lt;b&gt;" in page, "<b>" in page
    (True, False)
    """
    return document("Log doctor", _body(diagnosis))


def _body(diagnosis: Diagnosis) -> Iterator[str]:
    groups = [
        (rule, list(found))
        for rule, found in groupby(diagnosis.findings, key=lambda finding: finding.rule)
    ]
    files = diagnosis.statistics.get("files", ())
    yield element("h1", text("Log doctor"))
    yield element("p", text(", ".join(files[:5]) + ", ..." * (len(files) > 5)), {"class": "soft"})
    yield element("p", text(_sentence(summary(diagnosis).rpartition(": ")[0])))
    yield element("div", "".join(_chips(diagnosis)), {"class": "chips"})
    if groups:
        yield element("nav", element("table", "".join(_contents(groups))))
    for rule, found in groups:
        yield from _group(rule, found, diagnosis.plots)
    yield element("footer", text(LEGEND))


def _sentence(said: str) -> str:
    return said[:1].upper() + said[1:] + "."


def _chips(diagnosis: Diagnosis) -> Iterator[str]:
    totals = Counter(finding.severity for finding in diagnosis.findings)
    severities: tuple[Severity, ...] = ("error", "warning", "note")
    for severity in severities:
        count = totals[severity]
        if count:
            words = f"{count} {severity}{'s' * (count != 1)}"
            yield element("span", text(words), {"class": f"chip {severity}"})
    if not totals:
        yield element("span", "no findings", {"class": "chip clean"})


def _contents(groups: Sequence[tuple[str, Sequence[Finding]]]) -> Iterator[str]:
    for rule, found in groups:
        told = RULES[rule]
        link = element("a", text(f"{rule} {told.name}"), {"href": f"#{rule}"})
        chip = element("span", text(told.severity), {"class": f"chip {told.severity}"})
        cells = [
            element("td", link),
            element("td", text(told.text)),
            element("td", chip),
            element("td", text(len(found)), {"class": "number"}),
        ]
        yield element("tr", "".join(cells))


def _group(
    rule: str, found: Sequence[Finding], plots: Mapping[tuple[str, str, str], Sequence[Curve]]
) -> Iterator[str]:
    told = RULES[rule]
    chip = element("span", text(told.severity), {"class": "chip"})
    yield element("div", element("h2", text(f"{rule} {told.name}") + chip, {"id": rule}),
                  {"class": told.severity})  # fmt: skip
    yield element("p", text(told.text), {"class": "soft"})
    for finding in found[:SHOWN]:
        yield _card(finding, plots.get((finding.rule, finding.key, finding.message), ()))
    if len(found) > SHOWN:
        yield element("p", text(f"... and {len(found) - SHOWN} more; --format json lists all"))


def _card(finding: Finding, curves: Sequence[Curve]) -> str:
    place = f"{finding.path}:{finding.line}" if finding.line else finding.path
    head = element("span", text(finding.key or "the steps"), {"class": "key"}) + element(
        "span", text(place.rpartition("/")[2]), {"class": "where soft", "title": text(place)}
    )
    parts = [
        element("header", head),
        element("p", text(_sentence(finding.message))),
        _side(_figures(curves), _offenders(finding.evidence.get("offenders", ()))),
        _sure(finding),
        _details(finding.evidence),
    ]
    return element("article", "".join(parts), {"class": finding.severity})


def _side(drawn: str, told: str) -> str:
    """The drawing, with its numbers beside it where there is room."""
    parts = [element("div", drawn, {"class": "drawn"})] if drawn else []
    parts += [element("div", told, {"class": "told"})] if told else []
    return element("div", "".join(parts), {"class": "side"}) if parts else ""


def _figures(curves: Sequence[Curve]) -> str:
    """The offending series, wide; those beside it, narrow."""
    if not curves:
        return ""
    main, *others = curves
    small = "".join(_figure(curve, width=400, height=150) for curve in others)
    beside = element("div", small, {"class": "panels"}) if small else ""
    return _figure(main, width=640, height=200) + beside


def _figure(curve: Curve, width: int, height: int) -> str:
    caption = text(curve.key)
    if any(value is not None for value in curve.expected):
        caption += element("span", "", {"class": "mark"}) + "as logged"
        caption += element("span", "", {"class": "mark dashed"}) + "against"
    return element("figure", panel(curve, width, height) + element("figcaption", caption))


def _offenders(offenders: Sequence[Mapping[str, Any]]) -> str:
    if not offenders or all(o["expected"] is None for o in offenders):
        return ""
    heads = "".join(element("th", h) for h in ("line", "step", "logged", "against"))
    rows = [element("tr", heads)]
    for offender in offenders:
        expected = offender["expected"]
        cells = (
            str(offender["line"]),
            str(offender["step"]),
            f"{offender['value']:.10g}",
            "" if expected is None else f"{expected:.10g}",
        )
        rows.append(element("tr", "".join(element("td", text(cell)) for cell in cells)))
    return element("table", "".join(rows), {"class": "numbers"})


def _sure(finding: Finding) -> str:
    sure, of = finding.evidence.get("confidence"), finding.evidence.get("of")
    plural = "s" * (finding.count != 1)
    records = f"{finding.count} of {of} records" if of else f"{finding.count} record{plural}"
    if sure is None:
        return element("span", text(records), {"class": "soft"})
    bar = element("span", "", {"class": "sure", "style": f"--p: {100 * sure:.0f}%"})
    return element("span", bar + text(f"confidence {sure:.2f}, {records}"), {"class": "soft"})


def _details(evidence: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in evidence.items() if key not in TOLD_APART and value}
    if not rest:
        return ""
    shown = element("pre", element("code", text(json.dumps(rest, indent=1))))
    return element("details", element("summary", "evidence") + shown)
