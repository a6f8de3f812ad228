"""A JSON document is cut into rows: the objects of its array, or of its ``log_history``.

The cutter knows strings and brackets and nothing else, so rows before a fault are still read, and
each row goes through the same decoder as a line of a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .lines import HEAD, Line

__all__ = ["split_rows"]

# A string, a bracket, or a quote that opens a string without an end.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|"', re.DOTALL)
HISTORY = b'"log_history"'
NEVER = -1


def split_rows(data: bytes, limit: int) -> Iterator[Line]:
    r"""The rows of a document, each with the line and the byte at which it starts.

    >>> [row.raw for row in split_rows(b'{"a": 1, "log_history": [\n{"step": 1}, {"st', 100)]
    [b'{"step": 1}', b'{"st']
    """
    cutter = _Cutter()
    line, counted = 1, 0
    for start, end in cutter.rows(data):
        line, counted = line + data.count(b"\n", counted, start), start
        size = end - start
        ended = end < len(data) or cutter.depth == 0
        too_long = size > limit
        raw = data[start : start + HEAD] if too_long else data[start:end]
        yield Line(line, start, raw, size, ended, too_long)


class _Cutter:
    """Where the rows are: objects at depth 0, or directly inside the array of rows."""

    def __init__(self) -> None:
        self.depth = 0
        self.rows_at = 0
        self.start: int | None = None
        self.name = b""

    def rows(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Start and end of each row; one that reaches the end of ``data`` may lack its end."""
        for found in _TOKEN.finditer(data):
            token = found.group()
            if token in b"{[":
                self._open(token, found.start())
            elif token in b"}]":
                self.depth = max(0, self.depth - 1)
                if self.start is not None and self.depth == self.rows_at:
                    yield self.start, found.end()
                    self.start = None
                elif self.depth < self.rows_at:
                    self.rows_at = NEVER
            elif token == b'"':
                break
            elif self.depth == 1:
                self.name = token
        if self.depth:
            yield len(data) if self.start is None else self.start, len(data)

    def _open(self, token: bytes, at: int) -> None:
        if token == b"[" and self._holds_rows():
            self.rows_at, self.start = self.depth + 1, None
        elif self.depth == self.rows_at:
            self.start = at
        self.depth += 1

    def _holds_rows(self) -> bool:
        if self.rows_at != 0:
            return False
        return self.depth == 0 or (self.depth == 1 and self.name == HISTORY)
