"""A baseline lets a project adopt the check with faults that it knows: muted, and still counted.

A finding is known by its rule, its key and what sets it apart, never by its line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..contract.errors import MetricsError
from .findings import Finding
from .readers.source import open_regular

__all__ = ["Baseline", "BaselineError", "identity_of"]

FORMAT = 1
MAX_BYTES = 16 << 20
Identity = tuple[str, str, str]


class BaselineError(MetricsError, ValueError):
    """A file that is no baseline."""


@dataclass(frozen=True)
class Baseline:
    """Findings that are known."""

    known: frozenset[Identity] = frozenset()

    @classmethod
    def read(cls, path: str) -> Baseline:
        """The baseline in a file.

        Raises:
            BaselineError: it holds something else.
            SourceError: it cannot be read.
        """
        with open_regular(path, follow_symlinks=True) as stream:
            data = stream.read(MAX_BYTES + 1)
        try:
            found: Any = json.loads(data) if len(data) <= MAX_BYTES else None
            if found["format"] != FORMAT:
                raise ValueError("another format")
            rows = found["findings"]
            known = [(row["rule"], row["key"], row["detail"]) for row in rows]
            if not all(type(part) is str for identity in known for part in identity):
                raise TypeError("a part is no string")
            return cls(frozenset(known))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise BaselineError(
                f"{path!a} is no baseline; write one with --update-baseline"
            ) from error

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Baseline:
        """The baseline that knows ``findings``."""
        return cls(frozenset(map(identity_of, findings)))

    def to_data(self) -> dict[str, Any]:
        """The baseline as JSON data, in one order."""
        names = ("rule", "key", "detail")
        rows = [dict(zip(names, identity, strict=True)) for identity in sorted(self.known)]
        return {"format": FORMAT, "findings": rows}

    def split(self, findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
        """The findings that are new, and those that are known."""
        new: list[Finding] = []
        known: list[Finding] = []
        for finding in findings:
            (known if identity_of(finding) in self.known else new).append(finding)
        return new, known


def identity_of(finding: Finding) -> Identity:
    """What a finding is known by."""
    evidence = finding.evidence
    return finding.rule, finding.key, str(evidence.get("law") or evidence.get("code") or "")
