"""A record counts once, however often it was written; of a step done twice the last one may win."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...contract.record import Record

__all__ = ["Attempts", "Ranges", "latest"]


class Ranges:
    """Whole numbers as ranges, so that a million in a row take no more room than one.

    >>> ranges = Ranges()
    >>> [ranges.add(number) for number in (0, 1, 5, 1, 3, 4)]
    [True, True, True, False, True, True]
    >>> list(ranges), list(ranges.gaps(8))
    ([(0, 2), (3, 6)], [(2, 3), (6, 8)])
    """

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, number: int) -> bool:
        """Whether ``number`` was not among them; it is now."""
        at = bisect_right(self._starts, number)
        if at and number < self._ends[at - 1]:
            return False
        before = bool(at) and number == self._ends[at - 1]
        after = at < len(self._starts) and number + 1 == self._starts[at]
        if before and after:
            self._ends[at - 1] = self._ends.pop(at)
            del self._starts[at]
        elif before:
            self._ends[at - 1] += 1
        elif after:
            self._starts[at] -= 1
        else:
            self._starts.insert(at, number)
            self._ends.insert(at, number + 1)
        return True

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Each range: its first number, and the one after its last."""
        return zip(self._starts, self._ends, strict=True)

    @property
    def end(self) -> int:
        """The number after the last one."""
        return self._ends[-1] if self._ends else 0

    def gaps(self, end: int) -> Iterator[tuple[int, int]]:
        """The ranges from 0 to ``end`` that are not among them."""
        at = 0
        for start, stop in self:
            if at < min(start, end):
                yield at, min(start, end)
            at = max(at, stop)
        if at < end:
            yield at, end


class Attempts:
    """Which run and which attempt the lines at hand belong to.

    Attributes:
        number: the attempt, from 0 in the order in which attempts were met.
        duplicates: how many records were met before, in this file or another one.
    """

    def __init__(self) -> None:
        self.number = -1
        self.duplicates = 0
        self._run: str | None = None
        self._rank: object = None
        self._met: dict[object, int] = {}
        self._seen: dict[tuple[str, object], Ranges] = {}

    def enter(self, file: str) -> None:
        """A file begins; until its header is met its run is unknown."""
        self._run = self._rank = None
        self.number = self._met.setdefault(("file", file), len(self._met))

    def take(self, header: Mapping[str, Any]) -> None:
        """A header was met."""
        run, rank = header.get("run_id"), header.get("rank")
        self._run = run if type(run) is str else None
        self._rank = rank if type(rank) is int else None
        if self._run is not None:
            self.number = self._met.setdefault(("run", self._run), len(self._met))

    def is_new(self, record: Record) -> bool:
        """Whether this run has not written this record before."""
        if self._run is None or record.seq is None:
            return True
        if self._seen.setdefault((self._run, self._rank), Ranges()).add(record.seq):
            return True
        self.duplicates += 1
        return False

    def place(self, record: Record) -> tuple[object, ...]:
        """What two attempts at one step have in common."""
        return self._rank, record.mode, record.dataset, record.global_step


def latest(
    read: Callable[[], Iterator[Record]], attempts: Callable[[], Attempts]
) -> Iterator[Record]:
    """The records of ``read()``, but of a step that several attempts logged only the last one's.

    It is read twice. A step that only an earlier attempt reached is kept.
    """
    last: dict[tuple[object, ...], int] = {}
    for record in read():
        last[attempts().place(record)] = attempts().number
    for record in read():
        if last[attempts().place(record)] == attempts().number:
            yield record
