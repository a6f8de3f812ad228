"""A log is never written over, never through a link, and never below a torn line of another run."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ..contract.errors import SinkError, safe_text

__all__ = ["cannot_write", "create_attempt", "create_file", "write_whole"]

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OWNER_ONLY = 0o600


def create_file(path: Path) -> int:
    """A descriptor of a new file that only its owner may read.

    Raises:
        FileExistsError: something stands there already, be it a link to nowhere.
    """
    return os.open(path, _FLAGS, _OWNER_ONLY)


def create_attempt(path: Path, sink: str) -> tuple[int, Path]:
    """A new file at ``path``, or at ``name.1.ext``, ``name.2.ext``, ... after earlier attempts.

    Raises:
        SinkError: no file can be made there; the message names the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _first_free(path)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error, sink) from error


def _first_free(path: Path) -> tuple[int, Path]:
    attempt = 0
    candidate = path
    while True:
        try:
            return create_file(candidate), candidate
        except FileExistsError:
            if not stat.S_ISREG(candidate.lstat().st_mode):
                why = f"{safe_text(candidate.name)} exists and is no regular file"
                raise FileExistsError(errno.EEXIST, why) from None
        attempt += 1
        candidate = path.with_name(f"{path.stem}.{attempt}{path.suffix}")


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of ``data``: a write that the system cut short is continued.

    A call that a signal interrupts is repeated by ``os.write`` itself.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def cannot_write(path: Path, error: OSError | ValueError, sink: str) -> SinkError:
    """The error of a sink that has no file."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    where = safe_text(str(path), limit=1024)
    return SinkError(f"{sink} cannot write {where}: {why}; name another path", sink)
