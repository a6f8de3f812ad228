"""A log is never written over, never through a link, and never below a torn line of another run."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from ..contract.errors import SinkError, safe_text

__all__ = ["Disk", "attempt_path", "cannot_write", "create_attempt", "create_file", "write_whole"]

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OWNER_ONLY = 0o600


class Disk:
    """The system calls that a journal makes, and its clock.

    A test that wants a failing disk derives from this class and hands an instance to the sink.
    """

    def create(self, name: str, directory: int) -> int:
        """A descriptor of the new file ``name`` in an open directory, for its owner only."""
        return os.open(name, _FLAGS, _OWNER_ONLY, dir_fd=directory)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        """Append ``data``; how many bytes of it were taken."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut a file back to ``size`` bytes."""
        os.ftruncate(descriptor, size)

    def sync(self, descriptor: int) -> None:
        """Bring what was written to the disk itself."""
        # macOS has no fdatasync.
        getattr(os, "fdatasync", os.fsync)(descriptor)

    def clock(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


def create_file(path: Path, disk: Disk | None = None) -> int:
    """A descriptor of a new file that only its owner may read.

    The directory is opened once, so that nobody can swap it between the steps, and synced, so that
    the name of the file survives a power cut.

    Raises:
        FileExistsError: something stands there already, be it a link to nowhere.
    """
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = (disk or Disk()).create(path.name, directory)
        with suppress(OSError):  # a file system that cannot sync a directory
            os.fsync(directory)
    finally:
        os.close(directory)
    return descriptor


def create_attempt(path: Path, sink: str, disk: Disk | None = None) -> tuple[int, Path]:
    """A new file at ``path``, or at ``name.1.ext``, ``name.2.ext``, ... after earlier attempts.

    Raises:
        SinkError: no file can be made there; the message names the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _first_free(path, disk)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, sink) from error


def attempt_path(path: Path, attempt: int) -> Path:
    """Where the so-manieth file of a log stands.

    >>> attempt_path(Path("runs/metrics.jsonl"), 2).name
    'metrics.2.jsonl'
    """
    return path.with_name(f"{path.stem}.{attempt}{path.suffix}") if attempt else path


def _first_free(path: Path, disk: Disk | None) -> tuple[int, Path]:
    attempt = 0
    while True:
        candidate = attempt_path(path, attempt)
        try:
            return create_file(candidate, disk), candidate
        except FileExistsError:
            if not stat.S_ISREG(candidate.lstat().st_mode):
                why = f"{safe_text(candidate.name)} exists and is no regular file"
                raise FileExistsError(errno.EEXIST, why) from None
        attempt += 1


def write_whole(descriptor: int, data: bytes, disk: Disk | None = None) -> None:
    """Write all of ``data``: a write that the system cut short is continued.

    Raises:
        OSError: the rest could not be written.
    """
    write = os.write if disk is None else disk.write
    rest = memoryview(data)
    while rest:
        try:
            taken = write(descriptor, rest)
        except InterruptedError:  # by a handler that raised nothing: again
            continue
        if not taken:
            raise OSError(errno.EIO, "the disk takes no bytes")
        rest = rest[taken:]


def cannot_write(path: Path, error: OSError | ValueError, sink: str) -> SinkError:
    """The error of a sink that has no file."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    where = safe_text(str(path), limit=1024)
    return SinkError(f"{sink} cannot write {where}: {why}; name another path", sink)
