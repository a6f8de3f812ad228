"""The rules as a table: files and lines 1xx, names 2xx, values 3xx, laws 4xx, losses 501.

From 502 on they are the doctor's: what no single value gives away.
"""

from __future__ import annotations

from .doctor import DOCTOR
from .files import FILES, LINES
from .names import ENVELOPE, NAMES
from .presence import PRESENCE
from .rule import Rule, Severity
from .values import LAWS, VALUES

__all__ = ["DOCTOR", "RULES", "RULE_OF_CODE", "VALIDATOR", "Rule", "Severity"]

VALIDATOR: tuple[Rule, ...] = (
    *FILES,
    *LINES,
    *ENVELOPE,
    *NAMES,
    *VALUES,
    *PRESENCE,
    *LAWS,
)
RULES: dict[str, Rule] = {rule.id: rule for rule in (*VALIDATOR, *DOCTOR)}
RULE_OF_CODE: dict[str, str] = {code: rule.id for rule in RULES.values() for code in rule.codes}
