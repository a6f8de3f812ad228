"""Where each record of a run stands, in whatever files: a million records take 30 MB, not 10 GB."""

from __future__ import annotations

import json
import os
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..contract.journal import unseal
from .readers.attempts import Ranges
from .readers.limits import Limits
from .readers.lines import Line, split_lines
from .readers.problems import ReadProblem, SourceError
from .readers.seals import Seals
from .readers.source import open_regular, shape_of, take

__all__ = ["Lines", "Run", "index_file"]

_SEQ = re.compile(rb'\{"seq":(\d{1,18})[,}]')
HELD = -1


@dataclass
class Run:
    """One attempt of one rank: a process that logged.

    Attributes:
        name: its run id; the path of its file where the header is missing.
        header: the first header of it.
        files: the files that its lines stand in.
        seqs: which sequence numbers were found.
        records: how many records were found, each once.
        unnumbered: how many of them have no sequence number.
        duplicates: how many lines repeated one.
        footer: the footer of a journal that was closed.
        damaged: lines that may have been records.
        torn: whether its last line breaks off.
    """

    name: str
    header: Mapping[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    seqs: Ranges = field(default_factory=Ranges)
    records: int = 0
    unnumbered: int = 0
    duplicates: int = 0
    footer: Mapping[str, Any] | None = None
    damaged: list[ReadProblem] = field(default_factory=list)
    torn: bool = False

    def __post_init__(self) -> None:
        self._orders, self._files = array("q"), array("l")
        self._offsets, self._sizes = array("q"), array("q")

    def add(self, seq: int | None, file: int, offset: int, size: int) -> bool:
        """Note where a record stands; False if it was found before."""
        if seq is not None and not self.seqs.add(seq):
            self.duplicates += 1
            return False
        self.records += 1
        self.unnumbered += seq is None
        # A record without a number stays behind the one that it was found behind.
        last = self._orders[-1] if self._orders else -1
        self._orders.append(last if seq is None else seq)
        self._files.append(file)
        self._offsets.append(offset)
        self._sizes.append(size)
        return True

    def places(self) -> Iterator[tuple[int, int, int]]:
        """File, offset and size of each record, in the order of emission."""
        for at in sorted(range(len(self._orders)), key=self._orders.__getitem__):
            yield self._files[at], self._offsets[at], self._sizes[at]


class Lines:
    """The texts of records: read again from their files, or held where no file has them whole."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self._held: list[bytes] = []
        self._open: tuple[int, BinaryIO] | None = None

    def enter(self, file: str) -> int:
        """The number of a file."""
        self.files.append(file)
        return len(self.files) - 1

    def hold(self, text: bytes) -> tuple[int, int, int]:
        """The place of a text that stands in no file as it is."""
        self._held.append(text)
        return HELD, len(self._held) - 1, 0

    def text(self, place: tuple[int, int, int]) -> bytes | None:
        """The JSON object at a place; None if its file has changed since."""
        file, offset, size = place
        if file == HELD:
            return self._held[offset]
        return unseal(os.pread(self._stream(file).fileno(), size, offset))

    def _stream(self, file: int) -> BinaryIO:
        if self._open is None or self._open[0] != file:
            self.close()
            self._open = file, open_regular(self.files[file])
        return self._open[1]

    def close(self) -> None:
        """Let go of the file that was read last."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


def index_file(path: str, runs: dict[str, Run], lines: Lines, limits: Limits) -> int:
    """Find the records of ``path``, and add them to ``runs``; how many lines were of a journal.

    Raises:
        SourceError: it cannot be read.
    """
    indexer = _Indexer(path, runs, lines)
    with open_regular(path) as stream:
        chunks = take(stream, os.fstat(stream.fileno()).st_size, limits.chunk, lambda _: None)
        head = next(chunks, b"")
        if shape_of(head, path) != "lines":
            return 0
        for line in split_lines(_chained(head, chunks), limits.line):
            indexer.take(line)
    return indexer.taken


def _chained(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


class _Indexer:
    """Goes through the lines of one file."""

    def __init__(self, path: str, runs: dict[str, Run], lines: Lines) -> None:
        self.taken = 0
        self._path = path
        self._runs = runs
        self._lines = lines
        self._file = lines.enter(path)
        self._seals = Seals()
        self._run: Run | None = None

    def take(self, line: Line) -> None:
        opened = self._seals.open(line)
        if opened is None:
            self._unsealed(line)
            return
        if opened.damage == "torn_tail":
            self._present().torn = True
        elif opened.damage:
            problem = ReadProblem(
                opened.damage, self._path, line.number, line.offset, opened.message
            )
            self._present().damaged.append(problem)
        whole = not opened.damage
        for text in opened.texts:
            found = _SEQ.match(text) if whole else None
            if found is not None:
                self.taken += 1
                self._present().add(int(found.group(1)), self._file, line.offset, len(line.raw))
            else:
                self._object(text, line.number)

    def _unsealed(self, line: Line) -> None:
        """A line of a log of an earlier version, or of no journal."""
        if line.too_long or not line.raw.strip():
            return
        if self.taken and not line.ended and not line.raw.endswith(b"}"):
            self._present().torn = True
            return
        self._object(line.raw, line.number)

    def _object(self, text: bytes, line: int) -> None:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            return
        if type(row) is not dict:
            return
        if type(row.get("header")) is dict:
            self._enter(row["header"], line)
        elif type(row.get("footer")) is dict:
            self._present().footer = row["footer"]
        elif "schema_version" in row and type(row.get("metrics")) is dict:
            seq = row.get("seq")
            numbered = seq if type(seq) is int and seq >= 0 else None
            self._present().add(numbered, *self._lines.hold(text.strip()))
        else:
            return
        self.taken += 1

    def _enter(self, header: Mapping[str, Any], line: int) -> None:
        written = header.get("format")
        if type(written) is int and written > 1:
            needed = f"needs coordexp-metrics >= {header.get('package')}"
            raise SourceError(
                "file.newer", self._path, f"is a log of format {written}: it {needed}"
            )
        run = header.get("run_id")
        unnamed = self._path if line == 1 else f"{self._path}:{line}"
        name = run if type(run) is str else unnamed
        self._run = self._known(name)
        self._run.header = self._run.header or header

    def _present(self) -> Run:
        if self._run is None:
            self._run = self._known(self._path)
        return self._run

    def _known(self, name: str) -> Run:
        run = self._runs.setdefault(name, Run(name))
        if self._path not in run.files:
            run.files.append(self._path)
        return run
