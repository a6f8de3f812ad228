"""What stands in a sink's queue: records, each with its place in the spool, and marks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..contract.record import Record

__all__ = ["Backoff", "Entry", "Mark", "SinkReport", "on_schedule"]


def on_schedule(count: int) -> bool:
    """Whether the ``count``-th of equal events is announced: 1, 10, 100, ..."""
    return count > 0 and str(count).strip("0") == "1"


class SinkReport(NamedTuple):
    """The account of one sink: ``accepted = delivered + pending + dropped``, by reason."""

    sink: str
    accepted: int
    delivered: int
    pending: int
    dropped: dict[str, int]
    last_error: str


@dataclass(frozen=True)
class Backoff:
    """How long to wait after so many failures in a row, and when to give up on a live sink."""

    delays: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
    disable_after: int = 16
    clock: Callable[[], float] = time.monotonic

    def until(self, failures: int) -> float:
        """When to try again."""
        return self.clock() + self.delays[min(failures, len(self.delays)) - 1]


class Entry:
    """A record on its way, with its size and its place in the spool."""

    __slots__ = ("_others", "failures", "record", "release", "size")

    def __init__(
        self, record: Record, size: int, release: Callable[[], None], journals: int
    ) -> None:
        self.record = record
        self.size = size
        self.release = release
        self.failures = 0
        self._others = deque(range(journals - 1))

    def safe(self) -> None:
        """A journal has it; the last of them lets go of its place in the spool."""
        try:
            self._others.pop()
        except IndexError:
            self.release()


class Mark:
    """A place in the queues: reached when everything before it is done with."""

    def __init__(self, *, flush: bool = False, close: bool = False) -> None:
        self.flush = flush
        self.close = close
        self.checked = False
        self.expected = 0
        self.reached: deque[str] = deque()
        self.failed: deque[str] = deque()

    @property
    def done(self) -> bool:
        """Whether every sink reached it."""
        return self.checked and len(self.reached) >= self.expected
