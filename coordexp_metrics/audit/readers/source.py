"""Only regular files are opened, and only data is read: nothing blocks, nothing is unpickled."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from .documents import HISTORY
from .inflate import GZIP
from .problems import SourceError
from .tfrecord import finds_frame, starts_frame
from .wandb_log import MAGIC as WANDB
from .wandb_log import refuse_newer

__all__ = [
    "HEAD",
    "Shape",
    "capped",
    "files_of",
    "head_of",
    "open_regular",
    "replaced",
    "shape_of",
    "take",
]

HEAD = 1 << 16

Shape: TypeAlias = Literal["lines", "document", "events", "wandb"]

BOM = b"\xef\xbb\xbf"
DECOMPRESS = "decompress it first, or ask for it to be read (--compressed)"
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", f"gzip data; {DECOMPRESS}"),
    (b"\x28\xb5\x2f\xfd", f"zstd data; {DECOMPRESS}"),
    (b"BZh", "bzip2 data; decompress it first"),
    (b"\xfd7zXZ\x00", "xz data; decompress it first"),
    (b"PK\x03\x04", "a zip archive (a torch checkpoint or .npz is one); archives are not opened"),
    (b"PK\x05\x06", "a zip archive; archives are not opened"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; archives are not opened"),
    (b"\x7fELF", "an ELF binary"),
    (b"MZ", "a Windows binary"),
    (b"\x93NUMPY", "a numpy array; it is not loaded"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"\xff\xfe", "UTF-16 text; convert it to UTF-8"),
    (b"\xfe\xff", "UTF-16 text; convert it to UTF-8"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_UTF16 = re.compile(rb"[{\[]\x00.\x00|\x00[{\[]\x00", re.DOTALL)
_OBJECT_LINE = re.compile(rb"^[ \t]*[{\[]", re.MULTILINE)
_OPENING_LINE = re.compile(rb"[{\[][ \t\[{]*\r?\n")
_ROWS = re.compile(rb"\[\s*\{")
_ATTEMPT = re.compile(r"(.*?)(?:[._-](?:attempt[._-]?)?(\d+))?\.jsonl")


LOGS = ("*.jsonl", "trainer_state.json", "*tfevents*", "*.wandb")


def open_regular(path: str, *, follow_symlinks: bool = False) -> BinaryIO:
    """``path`` opened for reading, if it is a regular file.

    Raises:
        SourceError: it does not exist, may not be read, or is a link, a pipe, a device, ...
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    flags |= 0 if follow_symlinks else getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise SourceError("file.unreadable", path, _why(error)) from error
    what = _irregular(os.fstat(descriptor))
    if what is not None:
        os.close(descriptor)
        raise SourceError("file.not_regular", path, f"is {what}; only regular files are read")
    return os.fdopen(descriptor, "rb", buffering=0)


def _irregular(found: os.stat_result) -> str | None:
    """What is no file on a disk. The kernel's own files call themselves regular."""
    if stat.S_ISDIR(found.st_mode):
        return "a directory"
    if not stat.S_ISREG(found.st_mode):
        return "a pipe, device or socket"
    return "a file of the kernel" if found.st_dev in _kernel_devices() else None


@cache
def _kernel_devices() -> frozenset[int]:
    """The file systems through which the kernel shows itself; each is told by its root."""
    root = os.stat("/").st_dev  # noqa: PTH116
    found = set()
    for place in ("/proc", "/sys", "/proc/self"):
        with suppress(OSError):
            found.add(os.stat(place).st_dev)  # noqa: PTH116
    return frozenset(found - {root})


def _why(error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ELOOP:
        return "is a symbolic link; links are followed only on request"
    if number == errno.ENXIO:
        return "is a socket or a device; only regular files are read"
    reason = os.strerror(number) if number else "the path holds a NUL byte"
    return f"cannot be opened: {reason}"


def take(
    stream: BinaryIO, size: int | None, chunk: int, on_read: Callable[[int], None]
) -> Iterator[bytes]:
    """The bytes of ``stream`` in chunks, ``size`` of them at most."""
    left = size
    while left is None or left > 0:
        data = stream.read(chunk if left is None else min(chunk, left))
        if not data:
            return
        left = None if left is None else left - len(data)
        on_read(len(data))
        yield data


def capped(chunks: Iterator[bytes], cap: int, path: str) -> Iterator[bytes]:
    """``chunks``, of which there may be ``cap`` bytes.

    Raises:
        SourceError: there are more.
    """
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > cap:
            raise SourceError("file.too_large", path, f"is a JSON document beyond {cap >> 20} MiB")
        yield chunk


def head_of(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Enough to tell what a stream holds, and the whole stream."""
    kept = b""
    for chunk in chunks:
        kept += chunk
        if len(kept) >= HEAD:
            break
    return kept, chain((kept,), chunks)


def replaced(path: str, before: os.stat_result) -> bool:
    """Whether another file, or none, stands where the one that was opened stood."""
    try:
        now = os.stat(path)  # noqa: PTH116
    except OSError:
        return True
    return (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino)


def shape_of(head: bytes, path: str) -> Shape:
    """What a file that starts with ``head`` holds; a name only helps where the head is damaged.

    Raises:
        SourceError: it is something else; one finding, whatever its length.
    """
    if starts_frame(head):
        return "events"
    refuse_newer(head, path)
    if head.startswith(WANDB) or (path.endswith(".wandb") and not head.startswith(GZIP)):
        return "wandb"
    foreign = _foreign(head)
    if foreign:
        raise SourceError("file.foreign", path, f"is {foreign}")
    if "tfevents" in os.path.basename(path) or finds_frame(head):  # noqa: PTH119
        return "events"
    text = head.removeprefix(BOM).lstrip(b" \t\r\n\x00")
    if not text:
        return "lines"
    if _OPENING_LINE.match(text) or (path.endswith(".json") and text[:1] in b"{["):
        return "document"
    if _ROWS.match(text) or (b"\n" not in text and HISTORY in text):
        return "document"
    if text[:1] in b"{[" or _OBJECT_LINE.search(text):
        return "lines"
    kind = "HTML or XML" if text[:1] == b"<" else "no JSON lines (CSV, or another tool's text?)"
    raise SourceError("file.foreign", path, f"is {kind}")


def _foreign(head: bytes) -> str | None:
    for magic, what in MAGIC:
        if head.startswith(magic):
            return what
    if _PICKLE.match(head):
        return "a pickle; it is never loaded"
    if _UTF16.match(head):
        return "UTF-16 text; convert it to UTF-8"
    if head[257:262] == b"ustar":
        return "a tar archive; archives are not opened"
    return None


def files_of(path: str, cap: int) -> tuple[str, ...]:
    """The file itself, or the logs in a directory, attempts of one log in order.

    A directory may hold one run several times, as each of its sinks wrote it; the first kind that
    it holds is read: JSON lines, ``trainer_state.json``, event files, offline W&B files.

    Raises:
        SourceError: a directory without a log, or with too many.
    """
    if not os.path.isdir(path) or os.path.islink(path):  # noqa: PTH112, PTH114
        return (path,)
    found: list[str] = []
    for pattern in LOGS:
        try:
            found = found or [str(file) for file in Path(path).glob(pattern)]
        except OSError as error:
            raise SourceError("file.unreadable", path, _why(error)) from error
    if not found:
        raise SourceError("file.unreadable", path, f"is a directory without a {_listed(LOGS)}")
    if len(found) > cap:
        raise SourceError("file.unreadable", path, f"holds {len(found)} logs; the cap is {cap}")
    return tuple(sorted(found, key=_in_order))


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _in_order(path: str) -> tuple[str, int, str]:
    name = os.path.basename(path)  # noqa: PTH119
    match = _ATTEMPT.fullmatch(name)
    stem, attempt = match.groups() if match else (name, None)
    return stem, int((attempt or "0")[:18]), name
