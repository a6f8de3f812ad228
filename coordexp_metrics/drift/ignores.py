"""``# cxm: ignore[CXM201]`` excuses its own line, and says so when it excuses nothing."""

from __future__ import annotations

import io
import re
import tokenize
from dataclasses import dataclass, field

__all__ = ["Ignore", "ignores_in"]

_COMMENT = re.compile(r"#\s{0,4}cxm:\s{0,4}ignore(?:\[([A-Z0-9, ]{0,200})\])?")


@dataclass
class Ignore:
    """A comment that excuses a line.

    Attributes:
        line, column: where it stands.
        rules: what it excuses; empty for everything.
        used: the rules that it did excuse.
    """

    line: int
    column: int
    rules: tuple[str, ...]
    used: set[str] = field(default_factory=set)

    def covers(self, rule: str) -> bool:
        """Whether a finding of ``rule`` on this line is excused; remembered if it is."""
        if self.rules and rule not in self.rules:
            return False
        self.used.add(rule)
        return True

    @property
    def unused(self) -> tuple[str, ...]:
        """The rules that were not needed; ``everything`` for a comment that names none."""
        if not self.rules:
            return () if self.used else ("everything",)
        return tuple(rule for rule in self.rules if rule not in self.used)


def ignores_in(data: bytes, *, python: bool) -> dict[int, Ignore]:
    """The comments of a file, by line."""
    if b"cxm:" not in data:
        return {}
    if not python:
        return dict(map(_at, _matches(data.decode("utf-8", "replace"))))
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(data).readline))
    except (tokenize.TokenError, SyntaxError):
        return {}
    return {
        token.start[0]: _ignore(match, *token.start)
        for token in tokens
        if token.type == tokenize.COMMENT and (match := _COMMENT.search(token.string))
    }


def _matches(text: str) -> list[tuple[int, re.Match[str]]]:
    lines = enumerate(text.split("\n"), 1)
    return [(number, match) for number, line in lines if (match := _COMMENT.search(line))]


def _at(found: tuple[int, re.Match[str]]) -> tuple[int, Ignore]:
    return found[0], _ignore(found[1], found[0], 0)


def _ignore(match: re.Match[str], line: int, column: int) -> Ignore:
    rules = tuple(re.findall(r"CXM[0-9]{3}", match.group(1) or ""))
    return Ignore(line, column + match.start() + 1, rules)
