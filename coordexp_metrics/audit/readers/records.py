"""The records of a log, one at a time, as often as they are wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from ...contract.catalogue import Catalogue
from ...contract.errors import MetricsError
from ...contract.record import Record
from .attempts import Attempts
from .attempts import latest as latest_of
from .canonical import canonical_records
from .dashboards import samples_in
from .decode import Decoder
from .documents import split_rows
from .inflate import inflated, is_compressed
from .limits import Limits
from .lines import Line, split_lines
from .problems import Problems, ReadProblem, SourceError
from .rows import SUMMARY, NewerFormat, Rows
from .sampled import records_of
from .seals import Seals
from .source import (
    HEAD,
    Shape,
    capped,
    files_of,
    head_of,
    open_regular,
    replaced,
    shape_of,
    take,
)
from .window import Window

__all__ = ["Records"]

SUMMARY_HEAD = re.compile("|".join(f'"{key}"' for key in SUMMARY).encode())


class PandasMissingError(MetricsError, ImportError):
    """``to_pandas`` without pandas."""


class Records:
    """The records of a log, read anew by each loop over them.

    Attributes:
        files: the files, in the order in which they are read.
        problems: what the last loop could not read.
        headers: the headers that it met, as they were written.
        header_files: the file of each header.
        summaries: objects about whole runs that are no records, such as ms-swift's last line and
            the footer of a journal.
        size: bytes to read, None for a stream.
        on_read: called with the number of bytes of each chunk.
    """

    def __init__(
        self,
        sources: Sequence[str],
        *,
        limits: Limits | None = None,
        follow_symlinks: bool = False,
        stream: BinaryIO | None = None,
        lenient: bool = False,
        latest: bool = False,
        compressed: bool = False,
    ) -> None:
        self._latest, self._compressed = latest, compressed
        self._attempts = Attempts()
        self._limits = limits or Limits()
        self._follow = follow_symlinks
        self._stream = stream
        self._lenient = lenient
        self._refused: list[ReadProblem] = []
        self.problems = Problems()
        self.headers: list[Mapping[str, Any]] = []
        self.header_files: list[str] = []
        self.summaries: list[Mapping[str, Any]] = []
        self.on_read: Callable[[int], None] = _ignore
        self.size: int | None = None
        self.files = tuple(sources) if stream else tuple(self._files(sources))
        if stream is None:
            self.size = sum(map(self._look, self.files))

    def __iter__(self) -> Iterator[Record]:
        if self._latest:
            return latest_of(self._all, lambda: self._attempts)
        return self._all()

    @property
    def duplicates(self) -> int:
        """How many records the last loop met a second time, and left out."""
        return self._attempts.duplicates

    def _all(self) -> Iterator[Record]:
        self._attempts = Attempts()
        self.problems = Problems(self._limits.shown)
        self.headers, self.header_files, self.summaries = [], [], []
        for problem in self._refused:
            self.problems.add(problem)
        for file in self.files:
            try:
                yield from self._read(file)
            except SourceError as error:
                if not self._bears():
                    raise
                self.problems.add(error.problem)

    def canonical(self, catalogue: Catalogue | None = None) -> Iterator[Record]:
        """The records under canonical names, whatever the sink that wrote them calls them.

        ``eval/rollout/f1``, as callbacks of transformers write it, becomes ``eval_rollout/f1``, and
        ``train/loss`` becomes ``loss``. A key that nothing declares keeps its name.

        Args:
            catalogue: the declarations; None for the package's own.
        """
        return canonical_records(self, catalogue)

    def to_pandas(self) -> Any:
        """One row a record: its place, and a column for each metric.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise PandasMissingError("to_pandas needs pandas: pip install pandas") from error
        return pandas.DataFrame.from_records([_row(record) for record in self])

    def _bears(self) -> bool:
        """Whether a file that cannot be read is a problem beside others, and no error."""
        return self._lenient or len(self.files) > 1

    def _files(self, sources: Sequence[str]) -> Iterator[str]:
        for source in sources:
            try:
                yield from files_of(source, self._limits.files)
            except SourceError as error:
                if not self._lenient:
                    raise
                self._refused.append(error.problem)

    def _look(self, file: str) -> int:
        """The size of ``file``. What is no log is refused now, not in the middle of a loop."""
        try:
            with open_regular(file, follow_symlinks=self._follow) as stream:
                first = _first(stream, file)
                if not (self._compressed and is_compressed(first)):
                    shape_of(first, file)
                return os.fstat(stream.fileno()).st_size
        except SourceError:
            if not self._bears():
                raise
            return 0

    def _read(self, file: str) -> Iterator[Record]:
        if self._stream is not None:
            yield from self._parse(file, self._stream, None)
            return
        with open_regular(file, follow_symlinks=self._follow) as stream:
            before = os.fstat(stream.fileno())
            try:
                yield from self._parse(file, stream, before.st_size)
            except OSError as error:
                raise _unreadable(file, error) from error
            self._compare(file, before, os.fstat(stream.fileno()))
            if replaced(file, before):
                message = "was removed or replaced while it was read; what it was is checked"
                self.problems.add(ReadProblem("file.changed", file, 0, 0, message))

    def _parse(self, file: str, stream: BinaryIO, size: int | None) -> Iterator[Record]:
        limits = self._limits
        head, chunks = head_of(take(stream, size, limits.chunk, self.on_read))
        if self._compressed and is_compressed(head):
            head, chunks = head_of(inflated(chunks, head, limits, file))
            size = None
        shape = shape_of(head, file)
        if shape in {"events", "wandb"}:
            yield from self._samples(file, shape, Window(chunks), size)
        elif shape == "lines":
            yield from self._rows(file, split_lines(chunks, limits.line))
        else:
            yield from self._rows(
                file, split_rows(capped(chunks, limits.document, file), limits.line)
            )

    def _samples(
        self, file: str, shape: Shape, window: Window, size: int | None
    ) -> Iterator[Record]:
        """The records of a dashboard's file."""
        found, problems = 0, len(self.problems)

        def say(code: str, message: str, offset: int, number: int) -> None:
            self.problems.add(ReadProblem(code, file, number, offset, message))

        for sample in samples_in(file, shape, window, size, self._limits, say):
            for record in records_of(sample, file):
                found += 1
                yield record
        if not found and len(self.problems) == problems:
            self.problems.add(ReadProblem("file.empty", file, 0, 0, "holds no record"))

    def _rows(self, file: str, lines: Iterator[Line]) -> Iterator[Record]:
        decoder, seals = Decoder(self._limits), Seals()
        where = Line(0, 0, b"", 0)

        def say(code: str, message: str, at: int = 0) -> None:
            problem = ReadProblem(code, file, where.number, where.offset + at, message)
            self.problems.add(problem)

        rows, attempts = Rows(file, self._limits, say), self._attempts
        rows.headers, rows.summaries = self.headers, self.summaries
        attempts.enter(file)
        found, problems = 0, len(self.problems)
        for where in lines:
            try:
                for value in _values(where, decoder, seals, say):
                    met = len(rows.headers)
                    for record in rows.records(value, where.number):
                        self._file_headers(file)
                        found += 1
                        if attempts.is_new(record):
                            yield record
                    for header in rows.headers[met:]:
                        attempts.take(header)
            except NewerFormat:
                return
        self._file_headers(file)
        if not found and len(self.problems) == problems:
            self.problems.add(ReadProblem("file.empty", file, 0, 0, "holds no record"))

    def _file_headers(self, file: str) -> None:
        """Note that the headers met since are those of ``file``."""
        while len(self.header_files) < len(self.headers):
            self.header_files.append(file)

    def _compare(self, file: str, before: os.stat_result, after: os.stat_result) -> None:
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            message = f"changed while it was read: {before.st_size} bytes, then {after.st_size}"
            self.problems.add(ReadProblem("file.changed", file, 0, 0, message))


def _values(line: Line, decoder: Decoder, seals: Seals, say: Any) -> list[Any]:
    """What a line holds; its faults are said."""
    opened = seals.open(line)
    if opened is not None:
        if opened.damage:
            say(opened.damage, opened.message)
        return [value for text in opened.texts for value in decoder.decode(text)]
    if line.too_long and SUMMARY_HEAD.search(line.raw):
        return []  # the end of a long ms-swift run, which repeats its whole history
    if line.too_long:
        say("line.too_long", f"has {line.size} bytes; it was skipped")
        return []
    if not line.raw.strip():
        torn = not line.ended and not line.raw
        say("torn_tail" if torn else "json.blank", "breaks off" if torn else "is blank")
        return []
    values = decoder.decode(line.raw)
    for fault in decoder.faults:
        torn = fault.code in {"json.syntax", "json.utf8"} and not line.ended
        if torn:
            say("torn_tail", "breaks off: the writer was cut short", fault.at)
        else:
            say(fault.code, fault.message, fault.at)
    return values


def _first(stream: BinaryIO, file: str) -> bytes:
    try:
        return stream.read(HEAD) or b""
    except OSError as error:
        raise _unreadable(file, error) from error


def _ignore(size: int) -> None:
    """Nobody wants to know."""


def _unreadable(file: str, error: OSError) -> SourceError:
    return SourceError("file.unreadable", file, f"cannot be read: {error.strerror}")


def _row(record: Record) -> dict[str, Any]:
    path, line = record.origin or (None, None)
    place = {"mode": record.mode, "global_step": record.global_step, "seq": record.seq}
    more = {"time": record.time, "dataset": record.dataset, "path": path, "line": line}
    return place | more | record.values()
