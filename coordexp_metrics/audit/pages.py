"""The rules as Markdown, from the table that the validator and the doctor use."""

from __future__ import annotations

from .rules import DOCTOR, VALIDATOR, Rule

__all__ = ["BEGIN", "END", "doctor_page", "rules_page", "with_rules"]

BEGIN = "<!-- rules: generated, do not edit -->"
END = "<!-- end of rules -->"


def rules_page() -> str:
    """Every rule of the validator: its sentence, a bad example and a good one."""
    return "\n".join(_entry(rule) for rule in VALIDATOR)


def doctor_page() -> str:
    """Every rule of the doctor: its sentence, its evidence, and series that show it."""
    return "\n".join(_series_entry(rule) for rule in DOCTOR)


def with_rules(page: str, rules: str | None = None) -> str:
    """``page`` with the rules between its two markers; the validator's where none are given."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{rules or rules_page()}\n{END}{after}"


def _entry(rule: Rule) -> str:
    return (
        f"### {rule.id} {rule.name}\n\n"
        f"*{rule.severity}* — {rule.text}\n\n"
        f"| bad | good |\n|---|---|\n| {_cell(rule.bad)} | {_cell(rule.good)} |\n"
    )


def _cell(example: str) -> str:
    return "`" + example.replace("|", "\\|").replace("`", "'") + "`"


def _series_entry(rule: Rule) -> str:
    return (
        f"### {rule.id} {rule.name}\n\n"
        f"*{rule.severity}* — {rule.text}\n\n"
        f"Evidence: {rule.evidence}\n\n"
        f"Bad:\n\n{_series(rule.bad)}\nGood:\n\n{_series(rule.good)}"
    )


def _series(example: str) -> str:
    """A line for each key, its values in columns."""
    parts = [part.strip().rpartition(": ") for part in example.split(";")]
    wide = max(len(key) for key, _, _ in parts)
    cell = max(len(value) for _, _, values in parts for value in values.split())
    rows = (
        f"{key.ljust(wide)}  {' '.join(value.rjust(cell) for value in values.split())}"
        for key, _, values in parts
    )
    return "```text\n" + "\n".join(rows) + "\n```\n"
