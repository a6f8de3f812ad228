"""A rule is a row: what is wrong, how bad it is, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Rule", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is checked.

    Attributes:
        id: ``CXM`` and a number that never changes its meaning.
        name: a short name.
        severity: errors gate; warnings gate under ``--strict``; notes never do.
        text: what a finding says, in one sentence.
        bad: an example with the fault.
        good: the same without.
        codes: what readers and the contract call it.
        evidence: what a finding of the doctor rests on; its examples are series, a key each:
            ``loss: 1.0 0.5; rate: 1 -``, where ``-`` is absent.
    """

    id: str
    name: str
    severity: Severity
    text: str
    bad: str
    good: str
    codes: tuple[str, ...] = ()
    evidence: str = ""
