"""The rules as a table: files and lines 1xx, names 2xx, values 3xx, laws and presence 4xx, ..."""

from __future__ import annotations

from .files import FILES, LINES
from .names import ENVELOPE, NAMES
from .presence import PRESENCE
from .rule import Rule, Severity
from .values import LAWS, VALUES

__all__ = ["RULES", "RULE_OF_CODE", "Rule", "Severity"]

RULES: dict[str, Rule] = {
    rule.id: rule for rule in (*FILES, *LINES, *ENVELOPE, *NAMES, *VALUES, *PRESENCE, *LAWS)
}
RULE_OF_CODE: dict[str, str] = {code: rule.id for rule in RULES.values() for code in rule.codes}
