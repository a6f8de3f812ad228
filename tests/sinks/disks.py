"""Disks that fail on purpose: the system calls of a journal, as a test wants them."""

from __future__ import annotations

import os

from coordexp_metrics.sinks.files import Disk


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FailingDisk(Disk):
    """Works, but for the calls that were told to fail.

    ``writes`` holds for each further write an errno, a number of bytes that are taken (after which
    the next entry counts), or None for a write that succeeds. Afterwards all of them succeed.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.writes: list[int | OSError | None] = []
        self.syncs: list[OSError | None] = []
        self.truncates: list[OSError | None] = []
        self.creates: list[OSError | None] = []
        self.synced: list[int] = []
        self.calls: list[str] = []

    def clock(self) -> float:
        return self.now

    def create(self, name: str, directory: int) -> int:
        _fail(self.creates)
        self.calls.append("create")
        return super().create(name, directory)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        self.calls.append("write")
        then = self.writes.pop(0) if self.writes else None
        if isinstance(then, OSError):
            raise then
        return super().write(descriptor, data if then is None else data[:then])

    def truncate(self, descriptor: int, size: int) -> None:
        _fail(self.truncates)
        super().truncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        self.calls.append("sync")
        _fail(self.syncs)
        super().sync(descriptor)
        self.synced.append(os.fstat(descriptor).st_size)


def _fail(plan: list[OSError | None]) -> None:
    then = plan.pop(0) if plan else None
    if then is not None:
        raise then
