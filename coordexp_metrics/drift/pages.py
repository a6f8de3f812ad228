"""The tables of rules as Markdown, from the tables that the verbs use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..generate.markdown import code, table, text
from .fields import CATALOGUE_FIELDS, FAMILY_FIELDS, FOLLOWS, METRIC_FIELDS, Field
from .rules import CHECK, DIFF, LINT, Rule

__all__ = ["SECTIONS", "with_tables"]


def _rules(rules: Sequence[Rule]) -> str:
    """Each rule with a bad example and a good one."""
    return "\n".join(
        f"#### {rule.id} {rule.name}\n\n*{rule.severity}* — {text(rule.text)}\n\n"
        f"Bad:\n\n{_block(rule.bad)}\n\nGood:\n\n{_block(rule.good)}\n"
        for rule in rules
    )


def _block(example: str) -> str:
    language = "json" if example.startswith("[") else "python"
    return f"```{language}\n{example}\n```"


def _fields(fields: Sequence[Field]) -> str:
    heads = ("Field", "A change is", "Bad example", "Good example")
    return table(heads, [_row(field) for field in fields])


def _row(field: Field) -> tuple[str, ...]:
    worst = field.judge(*field.bad)
    good = _change(field.good) if field.good is not None else ""
    return code(field.name), f"{worst}: {text(field.text)}", _change(field.bad), good


def _change(pair: tuple[Any, Any]) -> str:
    return " → ".join(code(json.dumps(value)) for value in pair)


def _follows() -> str:
    return "\n".join(f"* {code(name)} follows from {what}." for name, what in FOLLOWS.items())


SECTIONS: dict[str, str] = {
    "lint rules": _rules(LINT),
    "check rules": _rules(CHECK),
    "diff rules": _rules(DIFF),
    "fields of a metric": f"{_fields(METRIC_FIELDS)}\n\nNot compared:\n\n{_follows()}\n",
    "fields of a family": f"{_fields(FAMILY_FIELDS)}\n",
    "fields of a catalogue": f"{_fields(CATALOGUE_FIELDS)}\n",
}


def with_tables(page: str) -> str:
    """``page`` with every table between its two markers."""
    for name, shown in SECTIONS.items():
        begin, end = f"<!-- {name}: generated, do not edit -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{shown}\n{end}{rest.partition(end)[2]}"
    return page
