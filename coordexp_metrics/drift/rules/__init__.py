"""The rules as a table: sources and configurations 2xx, catalogues 6xx, two catalogues 7xx.

An id of 2xx means what it means for a log; here it is said of a key that a source would log.
"""

from __future__ import annotations

from ...audit.rules.rule import Rule, Severity
from .check import CHECK
from .diff import DIFF
from .lint import LINT

__all__ = ["CHECK", "DIFF", "LINT", "RULES", "Rule", "Severity"]

RULES: dict[str, Rule] = {rule.id: rule for rule in (*LINT, *CHECK, *DIFF)}
