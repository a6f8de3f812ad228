"""A JSON document is cut into rows: the objects of its array, or of its ``log_history``.

The cutter knows strings and brackets and nothing else, so rows before a fault are still read, and
each row goes through the same decoder as a line of a log. It holds one row at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .lines import HEAD, Line

__all__ = ["HISTORY", "split_rows"]

# A whole string, or a bracket, or a quote that opens a string whose end is not here.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]|"', re.DOTALL)
_STRING_END = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
HISTORY = b'"log_history"'
NEVER = -1


def split_rows(chunks: Iterable[bytes], limit: int) -> Iterator[Line]:
    r"""The rows of a document, each with the line and the byte at which it starts.

    >>> [row.raw for row in split_rows([b'{"a": 1, "log_history": [\n{"step": 1}, {"st'], 100)]
    [b'{"step": 1}', b'{"st']
    """
    cutter = _Cutter(limit)
    for chunk in chunks:
        yield from cutter.feed(chunk)
    yield from cutter.end()


class _Cutter:
    """Where the rows are: objects at depth 0, or directly inside the array of rows."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._depth = 0
        self._rows_at = 0
        self._name = b""
        # What is at hand, where it begins in the file, and how far of it was looked at.
        self._data = b""
        self._offset, self._line = 0, 1
        self._at = 0
        # Where in it the row at hand begins; or, where that is too long, what is kept of it.
        self._start: int | None = None
        self._long: Line | None = None
        self._in_string = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The rows that are complete with ``chunk``."""
        self._data += chunk
        while (token := self._token()) is not None:
            self._at = token.end()
            text = token.group()
            if text in b"{[":
                self._open(text, token.start())
            elif text in b"}]":
                yield from self._close(token.end())
            elif self._depth == 1:
                self._name = text
        self._let_go()

    def end(self) -> Iterator[Line]:
        """The row that reaches the end of the document, and may lack its own."""
        if self._depth:
            if self._start is None:
                self._start = len(self._data)
            yield self._row(len(self._data), ended=False)

    def _token(self) -> re.Match[bytes] | None:
        """The next token, None where it is not whole yet."""
        if self._in_string:
            found = _STRING_END.match(self._data, self._at)
            if found is None:
                self._skip_string()
                return None
            self._in_string, self._at = False, found.end()
        token = _TOKEN.search(self._data, self._at)
        if token is not None and token.group() != b'"':
            return token
        self._at = len(self._data) if token is None else token.start()
        if len(self._data) - self._at > self._limit:
            self._at += 1
            self._skip_string()
        return None

    def _skip_string(self) -> None:
        """Go on inside a string that is too long to wait for, up to a backslash that ends it."""
        self._in_string = True
        inside = self._data[self._at :]
        backslashes = len(inside) - len(inside.rstrip(b"\\"))
        self._at = len(self._data) - backslashes % 2

    def _open(self, token: bytes, at: int) -> None:
        if token == b"[" and self._holds_rows():
            self._rows_at, self._start, self._long = self._depth + 1, None, None
        elif self._depth == self._rows_at:
            self._start = at
        self._depth += 1

    def _holds_rows(self) -> bool:
        if self._rows_at != 0:
            return False
        return self._depth == 0 or (self._depth == 1 and self._name == HISTORY)

    def _close(self, end: int) -> Iterator[Line]:
        self._depth = max(0, self._depth - 1)
        at_hand = self._start is not None or self._long is not None
        if at_hand and self._depth == self._rows_at:
            yield self._row(end, ended=True)
            self._start = self._long = None
        elif self._depth < self._rows_at:
            self._rows_at = NEVER

    def _row(self, end: int, *, ended: bool) -> Line:
        """The row at hand, which ends before ``end``."""
        if self._long is not None:
            size = self._offset + end - self._long.offset
            return self._long._replace(size=size, ended=ended)
        start = self._start or 0
        raw = self._data[start:end]
        line = self._line + self._data.count(b"\n", 0, start)
        too_long = len(raw) > self._limit
        kept = raw[:HEAD] if too_long else raw
        return Line(line, self._offset + start, kept, len(raw), ended, too_long)

    def _let_go(self) -> None:
        """Keep the row at hand, and of one that is too long only its head."""
        if self._start is not None and len(self._data) - self._start > self._limit:
            self._long, self._start = self._row(len(self._data), ended=False), None
        start = self._at if self._start is None else self._start
        self._line += self._data.count(b"\n", 0, start)
        self._offset += start
        self._data, self._at = self._data[start:], self._at - start
        self._start = None if self._start is None else 0
