"""The journal: the source of truth. One record is one line and one write, and none is lost twice.

A line is appended whole or not at all. What the disk has not confirmed yet is kept, and goes into
another file when the first one turns out to be deleted, full or broken.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..contract.errors import SinkError, safe_text
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink
from .encode import footer_line, header_line, record_line
from .files import Disk, cannot_write
from .logfile import LogFile
from .resume import resumption
from .spool import boot_id

__all__ = ["JsonlSink"]

SYNC_SECONDS = 1.0
SYNC_RECORDS = 256
SYNC_BYTES = 4 << 20
ROTATE_BYTES = 1 << 30
# After these a descriptor is of no use any more; after the others the same file is tried again.
_BROKEN = frozenset(
    {errno.EIO, errno.ESTALE, errno.EBADF, errno.ENODEV, errno.ENXIO, errno.EROFS, errno.ENOTCONN}
)
_LOG = logging.getLogger("coordexp_metrics")


class JsonlSink(Sink):
    """Writes a header and then one record a line into a new file.

    An existing file is kept as it is: the next attempt writes ``metrics.1.jsonl``, and so on, and
    its header says where the one before ended. The file can be read by its owner only. A line ends
    in the CRC32 of what stands before it, and a file that was closed ends in a footer.

    A record is with the operating system when ``write`` returns, so a killed process does not lose
    it. It is synced to the disk after every evaluation, at ``flush`` and ``close``, and else after
    256 records or one second, whichever comes first: that is what a power cut can cost. All of
    that happens on the thread that calls the sink.

    A write that fails (a full disk, a quota) leaves no part of a line behind, and may be repeated
    with the same record. A file that was deleted or moved, that its disk fails to sync, or that has
    reached 1 GiB is followed by a further one of the same attempt, which takes every record that
    was not confirmed; a deleted one is written anew as far as it can still be read.

    Args:
        path: where to write; missing parent directories are made.
        rotate_bytes: the size after which a further file is begun.
        disk: the system calls, for tests that make them fail.

    Attributes:
        path: the file that is really written, once the sink is open.
        reopened: how often a further file was begun because the one before failed.

    Raises:
        SinkError: ``open`` cannot make the file; the message names it.

    >>> import tempfile
    >>> from coordexp_metrics import MetricsRegistry, read
    >>> sink = JsonlSink(tempfile.mkdtemp() + "/metrics.jsonl")
    >>> with MetricsRegistry(sinks=[sink]) as registry:
    ...     report = registry.emit(
    ...         {"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.25}})
    >>> [record.metrics for record in read(sink.path)]
    [{'loss': 1.25}]
    """

    durable = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        rotate_bytes: int = ROTATE_BYTES,
        disk: Disk | None = None,
    ) -> None:
        self.path = Path(path)
        self.reopened = 0
        # A trainer may change the directory later; the log stays where it was wanted.
        self._asked = self.path.absolute()
        self._disk = disk or Disk()
        self._rotate_bytes = rotate_bytes
        self._file: LogFile | None = None
        self._header: Header | None = None
        self._place: dict[str, Any] = {}
        self._fault = ""
        self._full = False
        self._taken: Record | None = None
        self._written = 0
        self._forget()

    @property
    def synced(self) -> int:
        """How many of the records that it wrote since ``open`` are on the disk."""
        return self._synced

    def for_rank(self, rank: int) -> JsonlSink:
        """A journal beside this one: ``metrics.rank3.jsonl``.

        >>> JsonlSink("runs/a/metrics.jsonl").for_rank(3).path.name
        'metrics.rank3.jsonl'
        """
        place = self._asked.with_name(f"{self._asked.stem}.rank{rank}{self._asked.suffix}")
        return JsonlSink(place, rotate_bytes=self._rotate_bytes, disk=self._disk)

    def _forget(self) -> None:
        """Everything that was written is safe."""
        self._synced = self._written
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._synced_at = self._disk.clock()

    def open(self, header: Header) -> None:
        """Make the file and write its header.

        Raises:
            SinkError: the path is a directory or a link, or its parent cannot be written.
        """
        self.close()
        self._header, self._fault, self._full = header, "", False
        self._place = {"boot": boot_id(), "pid": os.getpid(), **resumption(self._asked)}
        self._taken = None
        self._written = 0
        self._file = self._begun(self._place)
        self.path = self._file.path
        self._forget()

    def _begun(self, place: Mapping[str, Any]) -> LogFile:
        """A new file with its header."""
        if self._header is None:
            raise SinkError(f"{self.name} is not open", self.name)
        file = LogFile(self._asked, self.name, self._disk)
        try:
            file.begin(header_line(self._header, place))
        except BaseException as error:
            file.discard()
            if isinstance(error, OSError):
                raise cannot_write(file.path, error, self.name) from error
            raise
        return file

    def write(self, record: Record) -> None:
        """Append one record; after an error the same record may be given again.

        Raises:
            ValueError: it holds a number that is not finite.
            OSError: the disk took no part of it, or no further file can be made.
            SinkError: the sink is not open.
        """
        file = self._settled()
        if record is not self._taken:
            line = record_line(record)
            if file.lines and (self._full or file.size + len(line) > self._rotate_bytes):
                self.flush()
                file = self._follow(self._settled(), "it is full", restore=False)
            self._append(file, line)
            self._taken = record
        if self._is_due(record):
            self.flush()

    def _append(self, file: LogFile, line: bytes) -> None:
        try:
            file.append(line)
        except OSError as error:
            # A limit on the size of files is one on this file: a further one has room again.
            self._full = error.errno == errno.EFBIG
            if error.errno in _BROKEN:
                self._fault = f"write: {error.strerror}"
            raise
        self._kept.append(line)
        self._kept_bytes += len(line)
        self._written += 1

    def _is_due(self, record: Record) -> bool:
        return bool(self._kept) and (
            record.mode == "eval"
            or len(self._kept) >= SYNC_RECORDS
            or self._kept_bytes >= SYNC_BYTES
            or self._disk.clock() - self._synced_at >= SYNC_SECONDS
        )

    def flush(self) -> None:
        """Bring every line to the disk, if need be in a further file.

        Raises:
            OSError: that cannot be done now; what is not safe is kept for the next time.
        """
        if self._file is None:
            return
        file = self._settled()
        try:
            if file.is_gone():
                self._fault = "it was deleted or moved"
            elif self._kept:
                file.sync()
        except OSError as error:
            # The pages may be dropped: a second sync would succeed and prove nothing.
            self._fault = f"sync: {error.strerror}"
        self._settled()
        self._forget()

    def _settled(self) -> LogFile:
        """The file to write to: a further one, if the present one has failed."""
        if self._file is None:
            raise SinkError(f"{self.name} is not open: {self.path} takes no records", self.name)
        if self._fault:
            why, old = self._fault, self._file
            self._follow(old, why, restore=True)
            self._fault = ""
            self.reopened += 1
            names = safe_text(old.path.name), safe_text(str(self.path), 400)
            _LOG.warning("%s: %s failed (%s); it goes on in %s", self.name, names[0], why, names[1])
        return self._file

    def _follow(self, old: LogFile, why: str, *, restore: bool) -> LogFile:
        """Begin a further file of this attempt; what is not safe in the old one goes there too."""
        place = {**self._place, "continues": {"file": old.path.name, "why": why}}
        try:
            fresh = self._begun(place)
        except SinkError as error:
            # In the middle of a run that is a fault that may pass, as any of the disk's.
            number = getattr(error.__cause__, "errno", None) or errno.EIO
            raise OSError(number, str(error)) from error
        try:
            for data in (old.rescued() or self._kept) if restore else ():
                fresh.put(data)
            fresh.sync()
        except BaseException:
            fresh.discard()
            raise
        self._file, self.path = fresh, fresh.path
        self._full = False
        self._forget()
        try:
            old.close()
        except OSError:
            _LOG.debug("%s: closing a file that was left failed", self.name)
        return fresh

    def close(self) -> None:
        """Sync every line, write the footer and let go. Further calls do nothing.

        Raises:
            OSError: a sync or the footer failed; the file is let go of all the same.
        """
        if self._file is None:
            return
        try:
            self.flush()
            self._settled().put(self._footer())
            self._file.sync()
        finally:
            file, self._file, self._taken = self._file, None, None
            file.close()

    def _footer(self) -> bytes:
        last = self._taken.seq if self._taken is not None else None
        return footer_line({"records": self._written, "last_seq": last, "closed": time.time()})
