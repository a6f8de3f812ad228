"""The newest records of a log that still grows, and of attempts that begin while one looks on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from ..contract.record import Record
from .readers.decode import Decoder
from .readers.limits import Limits
from .readers.lines import Line, split_lines
from .readers.problems import SourceError
from .readers.rows import NewerFormat, Rows
from .readers.seals import Seals
from .readers.source import files_of, open_regular

__all__ = ["Follower"]

# How much of the end of a file is looked at first, and how much at a time.
REACH = 8 << 20
PIECE = 4 << 20
HEAD = 4096


class Follower:
    """Gives the records of a file, or of the logs in a directory, as they arrive.

    Args:
        source: a log, or a directory of logs.
        patient: whether a source that is not there yet is waited for.

    Attributes:
        problems: how many lines could not be read, by code.

    Raises:
        SourceError: the source cannot be read.
    """

    def __init__(self, source: str, *, patient: bool = False) -> None:
        self.problems: Counter[str] = Counter()
        self._source = source
        self._patient = patient
        self._limits = Limits()
        self._files: dict[str, _File] = {}

    def poll(self) -> Iterator[Record]:
        """The records that have arrived since the last call."""
        try:
            files = files_of(self._source, self._limits.files)
        except SourceError:
            if self._patient:
                return
            raise
        for path in files:
            file = self._files.setdefault(path, _File(path, self._limits, self.problems))
            try:
                yield from file.records()
            except SourceError as error:
                if len(files) == 1 and not self._patient:
                    raise
                self.problems[error.problem.code] += 1


class _File:
    """One file, and how far it was read."""

    def __init__(self, path: str, limits: Limits, problems: Counter[str]) -> None:
        self._path = path
        self._limits = limits
        self._problems = problems
        self._state: tuple[int, ...] = ()
        self._head = b""
        self._start(0)

    def _start(self, at: int) -> None:
        self._at = at
        self._number = 0
        self._closed = False
        self._seals = Seals()
        self._decoder = Decoder(self._limits)
        self._rows = Rows(self._path, self._limits, self._say)

    def _say(self, code: str, message: str) -> None:
        self._problems[code] += 1

    def records(self) -> Iterator[Record]:
        """What stands between the place reached and the last newline."""
        with suppress(FileNotFoundError):
            if _state_of(os.stat(self._path)) == self._state:  # noqa: PTH116
                return
        with open_regular(self._path) as stream:
            found = os.fstat(stream.fileno())
            self._look(stream.fileno(), found)
            while data := os.pread(stream.fileno(), PIECE, self._at):
                whole = data.rfind(b"\n") + 1
                if not whole and len(data) < PIECE:
                    return  # a line that is being written
                self._at += whole or len(data)
                yield from self._parsed(data[:whole])

    def _look(self, descriptor: int, found: os.stat_result) -> None:
        """Begin near the end of a file that is new here, or is no longer what it was."""
        # The number of a deleted file may be used again; its header, with its run, is not.
        head = os.pread(descriptor, HEAD, 0)
        same = head.startswith(self._head) and found.st_size >= self._at
        known, self._head, self._state = bool(self._state), head, _state_of(found)
        if known and same:
            return
        start = max(0, found.st_size - REACH)
        if start:
            start += os.pread(descriptor, PIECE, start).find(b"\n") + 1
        self._start(start)

    def _parsed(self, data: bytes) -> Iterator[Record]:
        for line in split_lines([data], self._limits.line):
            self._number += 1
            if line.too_long or self._closed or not line.raw.strip():
                continue
            try:
                for value in self._values(line):
                    yield from self._rows.records(value, self._number)
            except NewerFormat:
                self._closed = True

    def _values(self, line: Line) -> Iterator[object]:
        opened = self._seals.open(line)
        if opened is not None and opened.damage:
            self._say(opened.damage, opened.message)
        for text in (line.raw,) if opened is None else opened.texts:
            yield from self._decoder.decode(text)
            for fault in self._decoder.faults:
                self._say(fault.code, fault.message)


def _state_of(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
