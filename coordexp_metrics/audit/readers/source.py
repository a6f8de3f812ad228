"""Only regular files are opened, and only JSON is read: nothing blocks, nothing is unpickled."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

from .problems import SourceError

__all__ = ["Shape", "files_of", "open_regular", "shape_of", "take"]

Shape: TypeAlias = Literal["lines", "document"]

BOM = b"\xef\xbb\xbf"
DECOMPRESS = "decompress it first"
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", f"gzip data; {DECOMPRESS}"),
    (b"\x28\xb5\x2f\xfd", f"zstd data; {DECOMPRESS}"),
    (b"BZh", f"bzip2 data; {DECOMPRESS}"),
    (b"\xfd7zXZ\x00", f"xz data; {DECOMPRESS}"),
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
    (b":W&B", "an offline W&B file"),
    (b"\xff\xfe", "UTF-16 text; convert it to UTF-8"),
    (b"\xfe\xff", "UTF-16 text; convert it to UTF-8"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_UTF16 = re.compile(rb"[{\[]\x00.\x00|\x00[{\[]\x00", re.DOTALL)
_OBJECT_LINE = re.compile(rb"^[ \t]*[{\[]", re.MULTILINE)
_OPENING_LINE = re.compile(rb"[{\[][ \t\[{]*\r?\n")
_ATTEMPT = re.compile(r"(.*?)(?:[._-](?:attempt[._-]?)?(\d+))?\.jsonl")


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
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a directory" if stat.S_ISDIR(mode) else "a pipe, device or socket"
        raise SourceError("file.not_regular", path, f"is {what}; only regular files are read")
    return os.fdopen(descriptor, "rb", buffering=0)


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


def shape_of(head: bytes, path: str) -> Shape:
    """Whether a file that starts with ``head`` holds JSON lines or one JSON document.

    Raises:
        SourceError: it is something else; one finding, whatever its length.
    """
    foreign = _foreign(head, path)
    if foreign:
        raise SourceError("file.foreign", path, f"is {foreign}")
    text = head.removeprefix(BOM).lstrip(b" \t\r\n\x00")
    if not text:
        return "lines"
    if _OPENING_LINE.match(text) or (path.endswith(".json") and text[:1] in b"{["):
        return "document"
    if text[:1] in b"{[" or _OBJECT_LINE.search(text):
        return "lines"
    kind = "HTML or XML" if text[:1] == b"<" else "no JSON lines (CSV, or another tool's text?)"
    raise SourceError("file.foreign", path, f"is {kind}")


def _foreign(head: bytes, path: str) -> str | None:
    for magic, what in MAGIC:
        if head.startswith(magic):
            return what
    if _PICKLE.match(head):
        return "a pickle; it is never loaded"
    if _UTF16.match(head):
        return "UTF-16 text; convert it to UTF-8"
    if head[257:262] == b"ustar":
        return "a tar archive; archives are not opened"
    return "a TensorBoard event file" if "tfevents" in os.path.basename(path) else None  # noqa: PTH119


def files_of(path: str, cap: int) -> tuple[str, ...]:
    """The file itself, or the logs in a directory, attempts of one log in order.

    Raises:
        SourceError: a directory without a log, or with too many.
    """
    if not os.path.isdir(path) or os.path.islink(path):  # noqa: PTH112, PTH114
        return (path,)
    try:
        found = [str(file) for file in Path(path).glob("*.jsonl")]
    except OSError as error:
        raise SourceError("file.unreadable", path, _why(error)) from error
    state = Path(path) / "trainer_state.json"
    if not found and state.exists():
        return (str(state),)
    if not found:
        raise SourceError("file.unreadable", path, "is a directory without a *.jsonl")
    if len(found) > cap:
        raise SourceError("file.unreadable", path, f"holds {len(found)} logs; the cap is {cap}")
    return tuple(sorted(found, key=_in_order))


def _in_order(path: str) -> tuple[str, int, str]:
    name = os.path.basename(path)  # noqa: PTH119
    match = _ATTEMPT.fullmatch(name)
    stem, attempt = match.groups() if match else (name, None)
    return stem, int((attempt or "0")[:18]), name
