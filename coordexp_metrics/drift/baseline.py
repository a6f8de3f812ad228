"""A baseline excuses what was there when it was written, and nothing that came later.

A finding is known by rule, file and key, and by how many there are: lines may move.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..audit.findings import Finding
from ..contract.errors import DeclarationError, safe_text

__all__ = ["Baseline"]

FORMAT_VERSION = 1
MAX_BYTES = 16 << 20


class Baseline:
    """Known findings, counted."""

    def __init__(self, known: Counter[tuple[str, str, str]] | None = None) -> None:
        self._known = Counter(known or ())

    @classmethod
    def of(cls, findings: Iterable[Finding]) -> Baseline:
        """The baseline that excuses ``findings``."""
        return cls(Counter(map(_name, findings)))

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """The baseline in a file.

        Raises:
            DeclarationError: there is none, or it is no baseline.
        """
        shown = safe_text(str(path), 400)
        try:
            with path.open("rb") as file:
                data = json.loads(file.read(MAX_BYTES))
            if data["format_version"] != FORMAT_VERSION:
                raise ValueError("another version wrote it")
            entries = data["findings"]
            known = {(str(e["rule"]), str(e["path"]), str(e["key"])): e["count"] for e in entries}
            if not all(type(count) is int for count in known.values()):
                raise ValueError("a count is no integer")
        except FileNotFoundError:
            why = "write it with --update-baseline"
            raise DeclarationError(f"{shown}: there is no such baseline; {why}") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            why = safe_text(f"{type(error).__name__}: {error}", 200)[1:-1]
            raise DeclarationError(f"{shown} is no baseline: {why}") from error
        return cls(Counter(known))

    def write(self, path: Path) -> None:
        """Replace the file at ``path``."""
        entries = [
            {"rule": rule, "path": file, "key": key, "count": count}
            for (rule, file, key), count in sorted(self._known.items())
        ]
        text = json.dumps({"format_version": FORMAT_VERSION, "findings": entries}, indent=1) + "\n"
        new = path.with_name(f".{path.name}.new")
        new.write_text(text, encoding="ascii", newline="\n")
        new.replace(path)

    def new(self, findings: Iterable[Finding]) -> tuple[list[Finding], int, int]:
        """The findings that it does not excuse, how many it does, how many of it are gone."""
        left = Counter(self._known)
        new, excused = [], 0
        for finding in findings:
            if left[_name(finding)] > 0:
                left[_name(finding)] -= 1
                excused += 1
            else:
                new.append(finding)
        return new, excused, sum(left.values())


def _name(finding: Finding) -> tuple[str, str, str]:
    # Without a key, as where a source cannot be parsed, the place is all that there is.
    return finding.rule, Path(finding.path).as_posix(), finding.key
