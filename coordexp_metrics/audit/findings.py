"""A million equal faults are one finding: its first places, and its exact total."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .rules import RULES, Severity

__all__ = ["FURTHER", "Finding", "Findings"]

FURTHER = "(further keys)"
MAX_PLACES = 5
MAX_GROUPS = 10_000
_RANK = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    Attributes:
        rule: its id, ``CXM203``.
        severity: ``error``, ``warning`` or ``note``.
        key: the key as the source spells it; empty where the fault is of a file or line.
        metric: its canonical key, None where nothing declares it.
        path: the file where it was first found.
        line: the line there, 0 where it is about the whole file.
        message: one sentence; text from the file is escaped in it.
        evidence: ``count``, the first ``places``, and what else supports it.
    """

    rule: str
    severity: Severity
    key: str
    metric: str | None
    path: str
    line: int
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How often it was found."""
        return int(self.evidence.get("count", 1))

    def again(self, places: Iterable[tuple[str, int]], count: int = 1) -> None:
        """It was found once more."""
        evidence = self.evidence
        evidence["count"] += count
        kept = evidence["places"]
        if len(kept) < MAX_PLACES:
            kept += [[*place] for place in places][: MAX_PLACES - len(kept)]

    def to_data(self) -> dict[str, Any]:
        """The finding as JSON data."""
        return {name: getattr(self, name) for name in self.__slots__}


class Findings:
    """Collects faults, one group for each rule, key and detail."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], Finding] = {}
        self._per_rule: Counter[str] = Counter()

    def add(
        self,
        rule: str,
        message: str,
        *,
        key: str = "",
        metric: str | None = None,
        places: Iterable[tuple[str, int]] = (),
        count: int = 1,
        of: int = 0,
        detail: str = "",
        evidence: Mapping[str, Any] | None = None,
    ) -> Finding:
        """Count a fault.

        Args:
            rule: the id.
            message: what is wrong.
            key: the key as spelled.
            metric: the canonical key.
            places: files and lines, first to last; a few are kept.
            count: how many records have it.
            of: how many could have had it; 0 where that is no question.
            detail: what sets it apart from others of this rule and key.
            evidence: what supports it; that of the first is kept.

        Returns:
            the group, to which the same fault can be added ``again``.
        """
        name = rule, key, detail
        if name not in self._groups and self._per_rule[rule] >= MAX_GROUPS:
            name, key, metric = (rule, FURTHER, ""), FURTHER, None
            message = f"and further keys, beyond {MAX_GROUPS}"
        found = self._groups.get(name)
        if found is None:
            self._per_rule[rule] += 1
            path, line = next(iter(places), ("", 0))
            more = {"count": 0, "places": [], **(evidence or {})}
            severity = RULES[rule].severity
            found = Finding(rule, severity, key, metric, path, line, message, more)
            self._groups[name] = found
        if of:
            found.evidence["of"] = found.evidence.get("of", 0) + of
        found.again(places, count)
        return found

    def __iter__(self) -> Iterator[Finding]:
        """Worst first, then by rule, place and key: the same order for the same faults."""
        return iter(sorted(self._groups.values(), key=_order))


def _order(finding: Finding) -> tuple[int, str, str, int, str, str]:
    return (
        _RANK[finding.severity],
        finding.rule,
        finding.path,
        finding.line,
        finding.key,
        finding.message,
    )
