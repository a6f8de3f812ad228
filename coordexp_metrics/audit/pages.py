"""The rules as Markdown, from the table that the validator uses."""

from __future__ import annotations

from .rules import RULES, Rule

__all__ = ["BEGIN", "END", "rules_page", "with_rules"]

BEGIN = "<!-- rules: generated, do not edit -->"
END = "<!-- end of rules -->"


def rules_page() -> str:
    """Every rule: its sentence, a bad example and a good one."""
    return "\n".join(_entry(rule) for rule in RULES.values())


def with_rules(page: str) -> str:
    """``page`` with the rules between its two markers."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n\n{rules_page()}\n{END}{after}"


def _entry(rule: Rule) -> str:
    return (
        f"### {rule.id} {rule.name}\n\n"
        f"*{rule.severity}* — {rule.text}\n\n"
        f"| bad | good |\n|---|---|\n| {_cell(rule.bad)} | {_cell(rule.good)} |\n"
    )


def _cell(example: str) -> str:
    return "`" + example.replace("|", "\\|").replace("`", "'") + "`"
