"""Sources and configurations against the catalogue, file by file; nothing is imported.

By default a finding is one that no reader would call false, in foreign code too; ``strict`` says
everything that the catalogue does not know.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..audit.findings import Finding
from ..contract.catalogue import Catalogue
from ..contract.errors import safe_text
from .config_source import config_uses
from .files import CONFIGS, Source, sources
from .ignores import Ignore, ignores_in
from .python_source import Use, python_uses
from .rules import RULES
from .vocabulary import HOLE, Judgement, Vocabulary

__all__ = ["LintReport", "lint"]

_SEGMENT = re.compile(rb"([A-Za-z0-9_.]{1,200})/")
_RANK = {"error": 0, "warning": 1, "note": 2}
OURS = b"coordexp_metrics"
FOREIGN_KEYS = 3


@dataclass
class LintReport:
    """What was found, and what was looked at.

    Attributes:
        findings: by file and line.
        statistics: ``files`` that were looked at, ``parsed``, ``skipped``, ``keys`` that they use.
    """

    findings: list[Finding] = field(default_factory=list)
    statistics: dict[str, int] = field(default_factory=dict)


class _Said(NamedTuple):
    """A judgement of a key where it stands."""

    path: str
    use: Use
    judgement: Judgement


@dataclass
class _Linter:
    vocabulary: Vocabulary
    strict: bool
    said: list[_Said] = field(default_factory=list)
    broken: list[Finding] = field(default_factory=list)
    ignores: dict[str, dict[int, Ignore]] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    ours: bool = False
    _concerns: dict[bytes, bool] = field(default_factory=dict)

    def take(self, source: Source) -> None:
        """Read one file."""
        if source.data is None:
            self.counts["skipped"] += 1
            return
        self.counts["files"] += 1
        self.ours = self.ours or OURS in source.data
        python = Path(source.path).suffix not in CONFIGS
        if not (source.named or self._may_hold_keys(source.data)):
            return
        self.counts["parsed"] += 1
        uses = self._uses(source, source.data, python)
        self.ignores[source.path] = ignores_in(source.data, python=python)
        for use in uses:
            self.counts["keys"] += 1
            self._judge(source.path, use)

    def _may_hold_keys(self, data: bytes) -> bool:
        """Whether a key of the catalogue, or near one, may stand in ``data``: most text has none.

        Parsing takes a hundred times as long as this look.
        """
        if self.strict or b"cxm:" in data:
            return True
        return any(self._concerned(segment) for segment in set(_SEGMENT.findall(data)))

    def _concerned(self, segment: bytes) -> bool:
        if segment not in self._concerns:
            self._concerns[segment] = self.vocabulary.concerns(segment.decode())
        return self._concerns[segment]

    def _uses(self, source: Source, data: bytes, python: bool) -> list[Use]:
        if not python:
            return config_uses(data.decode("utf-8-sig", "replace"))
        try:
            return python_uses(data)
        except SyntaxError as error:
            why = safe_text(error.msg or "no Python", 200)[1:-1]
            line = error.lineno or 0
            message = f"is no Python that this interpreter reads: {why}"
            self.broken.append(_finding("CXM222", source.path, line, 0, message))
            return []

    def _judge(self, path: str, use: Use) -> None:
        judgement = self.vocabulary.judge(use.key, logs=use.logs)
        if judgement is not None:
            self.said.append(_Said(path, use, judgement))
        elif "/" in use.key:
            self.declared.add(use.key.partition("/")[0].removeprefix("eval_"))

    def findings(self) -> Iterator[Finding]:
        """All of them; comments excuse theirs, also where a finding is too uncertain to be said."""
        foreign = self._foreign()
        for path, use, judgement in self.said:
            certain = judgement.certain and judgement.prefix not in foreign
            ignore = self.ignores.get(path, {}).get(use.line)
            if ignore is not None and ignore.covers(judgement.rule):
                self.counts["ignored"] += 1
            elif certain or self.strict:
                yield _of_key(path, use, judgement, certain)
        yield from self.broken
        for path, comments in self.ignores.items():
            for ignore in comments.values():
                for rule in ignore.unused:
                    message = f"the comment excuses nothing: {rule}"
                    yield _finding("CXM221", path, ignore.line, ignore.column, message)

    def _foreign(self) -> set[str]:
        """Prefixes that the tree uses throughout for keys of somebody else."""
        unknown: dict[str, set[str]] = defaultdict(set)
        for _, use, judgement in self.said:
            if judgement.prefix and judgement.certain:
                unknown[judgement.prefix].add(use.key)
        return {
            prefix
            for prefix, keys in unknown.items()
            if len(keys) >= FOREIGN_KEYS and prefix not in self.declared and not self.ours
        }


def lint(
    paths: Sequence[str], catalogue: Catalogue, *, strict: bool = False, carry: Sequence[str] = ()
) -> LintReport:
    """Check the keys that files use.

    Args:
        paths: files, and directories of ``.py``, ``.yaml``, ``.json`` and ``.toml`` files.
        catalogue: the declarations.
        strict: also say what may be somebody else's key.
        carry: patterns of keys that need no declaration, ``my/*``.

    Raises:
        DeclarationError: there is nothing at a path.
    """
    linter = _Linter(Vocabulary(catalogue, carry), strict)
    for source in sources(paths):
        linter.take(source)
    found = sorted(linter.findings(), key=lambda f: (f.path, f.line, _column(f), f.rule, f.key))
    names = ("files", "parsed", "skipped", "keys", "ignored")
    return LintReport(found, {name: linter.counts[name] for name in names})


def _column(finding: Finding) -> int:
    return int(finding.evidence.get("column", 0))


def _of_key(path: str, use: Use, judgement: Judgement, certain: bool) -> Finding:
    severity = RULES[judgement.rule].severity if certain else "warning"
    key = use.key.replace(HOLE, "{...}")
    evidence = {"column": use.column, "count": 1}
    rule, message, metric = judgement.rule, judgement.message, judgement.metric
    return Finding(rule, severity, key, metric, path, use.line, message, evidence)


def _finding(rule: str, path: str, line: int, column: int, message: str) -> Finding:
    evidence = {"column": column, "count": 1}
    return Finding(rule, RULES[rule].severity, "", None, path, line, message, evidence)
