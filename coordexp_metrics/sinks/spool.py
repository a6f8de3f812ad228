"""What ``emit`` accepted is in memory that outlives the process before ``emit`` returns.

A spool is a small file on tmpfs, mapped and written slot by slot: no lock, no system call. A slot
is taken from and given back to a deque, so that threads, signal handlers and finalisers may write
at the same time. A record leaves it when the journal has it; what is left is for ``recover``.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import mmap
import os
import secrets
import stat
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .files import write_whole
from .spool_frames import FREE, HEAD, MAX_PARTS, ROOM, SLOT, Kind, Opened, opened, slots_of

__all__ = ["Spool", "boot_id", "read_spool", "reclaim", "spool_directories"]

CAPACITY = 8 * 1024 * 1024
MAX_SPOOL = 64 * 1024 * 1024
MAX_PLANS = 64
STALE = 60.0
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def spool_directories() -> list[Path]:
    """Where a spool may lie, best first: memory, then a local disk."""
    return list(dict.fromkeys([Path("/dev/shm"), Path(tempfile.gettempdir())]))  # noqa: S108


def boot_id() -> str:
    """What tells one boot of this machine from the next; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


class Spool:
    """The spool of one process, open for writing; made by :meth:`create`.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, descriptor: int, capacity: int) -> None:
        self.path = path
        # A hole in the file would be a SIGBUS at the first write to a full file system.
        write_whole(descriptor, bytes(capacity))
        # Pages are mapped now, and the slot that was freed last is taken first, so that a journal
        # that keeps up costs no page fault and no cold memory.
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        self._map = mmap.mmap(descriptor, capacity, flags)
        self._descriptor = descriptor
        self._free = deque(reversed(range(0, capacity, SLOT)))
        self._plans = itertools.count(1)
        self._room_for_plans = capacity // 4

    @classmethod
    def create(
        cls, directories: Iterable[Path] | None = None, capacity: int = CAPACITY
    ) -> tuple[Spool | None, list[str]]:
        """A new spool in the first directory that takes one, or None; and why others did not."""
        problems: list[str] = []
        for directory in spool_directories() if directories is None else directories:
            name = f"coordexp-metrics-{os.getuid()}-{secrets.token_hex(8)}.spool"
            path = directory / name
            try:
                return cls._made(path, capacity), problems
            except (OSError, ValueError) as error:
                problems.append(f"{directory}: {getattr(error, 'strerror', None) or error}")
        return None, problems

    @classmethod
    def _made(cls, path: Path, capacity: int) -> Spool:
        descriptor = os.open(path, _FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return cls(path, descriptor, capacity)
        except BaseException:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def free(self) -> int:
        """How many slots are free."""
        return len(self._free)

    def begin(self, header: Mapping[str, Any]) -> None:
        """Write whose spool this is: run, rank and journal."""
        known = {"pid": os.getpid(), "boot": boot_id(), "created": time.time()}
        data = json.dumps({"spool": 1, **known, **header}).encode()
        self.put(Kind.HEADER, 0, data)

    def plan(self, plan: Mapping[str, Any]) -> int | None:
        """The number of a new plan, or None where no more fit: such records take rows."""
        number = next(self._plans)
        data = json.dumps({"plan": number, **plan}).encode()
        if number > MAX_PLANS or len(data) > self._room_for_plans:
            return None
        self._room_for_plans -= max(len(data), SLOT)
        return None if self.put(Kind.PLAN, number, data) is None else number

    def put(self, kind: int, ident: int, data: bytes) -> Sequence[int] | None:
        """Write a frame; the slots that it took, or None where they do not suffice."""
        parts = -(-len(data) // ROOM)
        if parts > min(len(self._free), MAX_PARTS):
            return None
        taken: list[int] = []
        try:
            for slot in slots_of(kind, ident, data):
                taken.append(at := self._free.pop())
                self._map[at : at + len(slot)] = slot
        except BaseException as error:
            self.release(taken)
            if isinstance(error, IndexError):  # another thread took the last slot
                return None
            raise
        return taken

    def put_packed(self, body: bytes) -> Sequence[int] | None:
        """Write a packed record that came without its CRC; for the path that every step takes."""
        if len(body) > HEAD + ROOM - 4:
            return self.put(Kind.PACKED, int.from_bytes(body[12:20], "little"), body[20:])
        try:
            at = self._free.pop()
        except IndexError:
            return None
        try:
            self._map[at : at + len(body) + 4] = zlib.crc32(body).to_bytes(4, "little") + body
        except BaseException:
            self.release((at,))
            raise
        return (at,)

    def release(self, slots: Iterable[int]) -> None:
        """Give back the slots of a record that the journal has; nothing once it is closed."""
        for at in slots if self._descriptor >= 0 else ():
            self._map[at : at + len(FREE)] = FREE
            self._free.append(at)

    def close(self, *, remove: bool) -> None:
        """Let go of the file; ``remove`` it where nothing in it is needed any more."""
        self.detach()
        if remove:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def detach(self) -> None:
        """Let go of the file in this process alone: what a fork inherited stays the parent's."""
        self._free.clear()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(BufferError, ValueError):
                self._map.close()
            with suppress(OSError):
                os.close(descriptor)


def read_spool(path: str | os.PathLike[str]) -> Opened:
    """What a spool holds, whatever has become of its bytes.

    Returns:
        the header (run, rank, journal, pid, boot; empty where it is damaged), the records that no
        journal had confirmed as a log spells them, in the order of ``seq``, and what could not be
        read.

    >>> read_spool("/nowhere").problems
    ['/nowhere cannot be read: No such file or directory']
    """
    try:
        descriptor = os.open(path, _READ)
        try:
            return opened(_image(descriptor))
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        return Opened({}, [], [f"{os.fspath(path)} cannot be read: {why}"])


def _image(descriptor: int) -> bytes:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no regular file")
    if found.st_size > MAX_SPOOL:
        raise ValueError(f"it is larger than {MAX_SPOOL} bytes")
    pieces = []
    while piece := os.read(descriptor, 1024 * 1024):
        pieces.append(piece)
    return b"".join(pieces)[:MAX_SPOOL]


def reclaim(directories: Iterable[Path] | None = None, stale: float = STALE) -> list[Path]:
    """Remove what dead runs left behind and their journals have; the paths of the others.

    A lock that dies with its process tells the dead, so that a number used again misleads nobody.
    """
    kept: list[Path] = []
    for directory in spool_directories() if directories is None else directories:
        with suppress(OSError):
            found = sorted(directory.glob(f"coordexp-metrics-{os.getuid()}-*.spool"))
            left = [path for path in found if _is_left_behind(path, stale)]
            kept += [path for path in left if not _removed(path)]
    return kept


def _is_left_behind(path: Path, stale: float) -> bool:
    with suppress(OSError):
        found = path.lstat()
        own = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
        return own and time.time() - found.st_mtime >= stale
    return False


def _removed(path: Path) -> bool:
    """Remove the spool of a dead process where all of it was confirmed; False if it is needed."""
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = opened(_image(descriptor))
        if found.records or found.problems:
            return False
        path.unlink(missing_ok=True)
    except OSError:
        pass  # it lives, or is somebody else's to remove
    finally:
        os.close(descriptor)
    return True
