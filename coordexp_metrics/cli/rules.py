"""``rules``: everything that is checked, as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .common import table

if TYPE_CHECKING:
    from ..audit.rules import Rule

__all__ = ["card", "every_rule", "facts", "rules"]


def rules(
    severity: Annotated[
        Literal["error", "warning", "note"] | None, typer.Option(help="Only these.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the rules of every verb that checks, with their severity."""
    found = [rule for rule in every_rule().values() if severity in {None, rule.severity}]
    if as_json:
        typer.echo(json.dumps([facts(rule) for rule in found], indent=2))
    else:
        rows = [[r.id, r.severity, verb(r), r.name, r.text] for r in found]
        typer.echo(table(rows))


def every_rule() -> dict[str, Rule]:
    """By id: those of logs first, then what only sources and catalogues can break."""
    from ..audit.rules import RULES
    from ..drift.rules import RULES as DRIFT

    return {**RULES, **{name: rule for name, rule in DRIFT.items() if name not in RULES}}


def facts(rule: Rule) -> dict[str, str]:
    """A rule as data."""
    return {
        "id": rule.id,
        "name": rule.name,
        "severity": rule.severity,
        "verb": verb(rule),
        "text": rule.text,
        **({"evidence": rule.evidence} if rule.evidence else {}),
        "bad": rule.bad,
        "good": rule.good,
    }


def verb(rule: Rule) -> str:
    """Which verb says it; names of 2xx are checked in sources by ``lint`` as well."""
    from ..audit.rules import RULES

    if rule.id not in RULES:
        return {"6": "check", "7": "diff"}.get(rule.id[3], "lint")
    return "doctor" if rule.evidence else "validate"


def card(rule: Rule) -> str:
    """A rule for people: what is wrong, what a finding rests on, a bad and a good example."""
    import textwrap

    def told(text: str) -> str:
        return textwrap.fill(text, 88, initial_indent="  ", subsequent_indent="  ")

    parts = [f"{rule.id} {rule.name} ({rule.severity}, {verb(rule)})", told(rule.text)]
    if rule.evidence:
        parts += ["", told(f"Evidence: {rule.evidence}")]
    parts += ["", "  bad", *_example(rule, rule.bad), "", "  good", *_example(rule, rule.good)]
    return "\n".join([*parts, ""])


def _example(rule: Rule, text: str) -> list[str]:
    """An example of the doctor is series, a key a line."""
    if not rule.evidence:
        return [f"    {text}"]
    series = [part.strip().rpartition(": ") for part in text.split(";")]
    rows = [[f"    {key}", *values.split()] for key, _, values in series]
    width = max(map(len, rows))
    return table([row + [""] * (width - len(row)) for row in rows]).split("\n")
