"""An open log holds whole lines only, whatever the disk does; what is not safe yet is kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .files import Disk, create_attempt, write_whole

__all__ = ["LogFile"]

CHUNK = 1 << 20
# What a stat says when a path no longer leads to a file that is still open.
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


class LogFile:
    """A file of lines that this process made and nobody else writes.

    Args:
        path: where it is wanted; after earlier attempts it is ``name.1.ext``, and so on.
        sink: who says so if it cannot be made.
        disk: the system calls.

    Attributes:
        path: where it is.
        size: how many bytes of it are known to stand there.
        lines: how many lines of them are records.

    Raises:
        SinkError: no file can be made there.
    """

    def __init__(self, path: Path, sink: str, disk: Disk) -> None:
        self._disk = disk
        self._descriptor, self.path = create_attempt(path, sink, disk)
        self.size = 0
        self.lines = 0
        self._start = 0
        self._torn = False
        self._unreadable = False

    def begin(self, header: bytes) -> None:
        """Write the first line."""
        self.put(header)
        self._start = self.size

    def append(self, line: bytes) -> None:
        """Write one record; if that fails nothing of it stays, so it may be tried again.

        Raises:
            OSError: it was not written.
        """
        self.put(line)
        self.lines += 1

    def put(self, data: bytes) -> None:
        """Write whole lines that are no record of this file's own: all of them, or nothing."""
        # What could not be cut off is ended first, so it costs one record and not two.
        data = b"\n" + data if self._torn else data
        try:
            write_whole(self._descriptor, data, self._disk)
        except BaseException:
            self._cut_back(len(data))
            raise
        self.size += len(data)
        self._torn = False

    def _cut_back(self, at_most: int) -> None:
        try:
            self._disk.truncate(self._descriptor, self.size)
        except OSError:
            self._torn = True
            with suppress(OSError):
                self.size = os.fstat(self._descriptor).st_size

    def sync(self) -> None:
        """Bring every line to the disk.

        Raises:
            OSError: nobody knows which of the lines since the last sync are on it.
        """
        self._disk.sync(self._descriptor)

    def is_gone(self) -> bool:
        """Whether its path leads elsewhere now: it was deleted, moved, or its disk is away."""
        try:
            there = self.path.lstat()
            here = os.fstat(self._descriptor)
        except OSError as error:
            return error.errno in _GONE
        return not os.path.samestat(there, here)

    def rescued(self) -> Iterator[bytes] | None:
        """What stands after the header of a deleted file; None if it has a name, or is lost."""
        try:
            lost = self._unreadable or os.fstat(self._descriptor).st_nlink > 0
        except OSError:
            lost = True
        return None if lost else self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        at = self._start
        while at < self.size:
            try:
                chunk = os.pread(self._descriptor, min(CHUNK, self.size - at), at)
            except OSError:
                self._unreadable = True
                raise
            if not chunk:
                return
            at += len(chunk)
            yield chunk

    def close(self) -> None:
        """Let go."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def discard(self) -> None:
        """Let go of a file that holds nothing of worth, and remove it."""
        if not self.is_gone():
            with suppress(OSError):
                self.path.unlink()
        with suppress(OSError):
            self.close()
