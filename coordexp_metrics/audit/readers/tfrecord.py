"""Records framed as TensorFlow does: length, its checksum, bytes, their checksum.

Behind damage the reader goes on at the next length whose checksum holds, so damage costs the
records that it hit and no other.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ...contract.crc32c import crc32c, masked
from .limits import Limits
from .problems import Say, SourceError
from .window import Window

__all__ = ["Frame", "Frames", "finds_frame", "starts_frame"]

HEADER = struct.Struct("<QI")
FOOTER = 4
# A length below 64 GiB, which also bounds how many places look like one.
_LENGTH = re.compile(rb"[\x00-\xff]{4}[\x00-\x0f]\x00\x00\x00", re.DOTALL)
_NOT_ZERO = re.compile(rb"[^\x00]")


class Frame(NamedTuple):
    """One whole record.

    Attributes:
        number: which record of the file it is, from 1; damaged ones count as far as they are known.
        offset: its first byte in the file.
        body: its bytes.
    """

    number: int
    offset: int
    body: bytes


def starts_frame(data: bytes, at: int = 0) -> bool:
    """Whether a frame's length stands at ``at``, with the checksum that it should have."""
    header = data[at : at + HEADER.size]
    if len(header) < HEADER.size:
        return False
    _, checksum = HEADER.unpack(header)
    return bool(masked(crc32c(header[:8])) == checksum)


def finds_frame(data: bytes) -> bool:
    """Whether a frame begins anywhere in ``data``: then its own beginning is damaged."""
    at = 0
    while found := _LENGTH.search(data, at):
        if any(found.group()) and starts_frame(data, found.start()):
            return True
        at = found.start() + 1
    return False


class Frames:
    """The frames of a file, in order.

    Args:
        path: the file.
        window: its bytes.
        size: how many there are, None where that is unknown.
        limits: caps.
        say: takes code, message, offset and number of what is damaged.
    """

    def __init__(
        self, path: str, window: Window, size: int | None, limits: Limits, say: Say
    ) -> None:
        self._path = path
        self._window = window
        self._size = size
        self._limits = limits
        self._say = say
        self._number = 0
        self._bytes = 0
        self._candidates = limits.candidates

    def __iter__(self) -> Iterator[Frame]:
        window = self._window
        while header := window.peek(HEADER.size):
            if starts_frame(header):
                frame = self._frame(HEADER.unpack(header)[0])
                if frame is not None:
                    yield frame
            elif len(header) < HEADER.size:
                self._torn(len(header))
            else:
                self._resynchronise()

    def _frame(self, length: int) -> Frame | None:
        window, start = self._window, self._window.offset
        whole = HEADER.size + length + FOOTER
        if length > self._limits.record:
            self._too_large(length, whole)
            return None
        data = window.peek(whole)
        if len(data) < whole:
            self._torn(len(data))
            return None
        self._number += 1
        window.skip(whole)
        body = data[HEADER.size : -FOOTER]
        if struct.pack("<I", masked(crc32c(body))) != data[-FOOTER:]:
            self._damaged(start, start + whole, 1)
            return None
        self._bytes += whole
        return Frame(self._number, start, body)

    def _torn(self, size: int) -> None:
        self._say(
            "torn_tail",
            "breaks off: the writer was cut short",
            self._window.offset,
            self._number + 1,
        )
        self._window.skip(size)

    def _too_large(self, length: int, whole: int) -> None:
        """A record beyond the cap is read over if it can be true, else only its length is."""
        start = self._window.offset
        cap = self._limits.record >> 20
        self._number += 1
        why = f"has a record of {length} bytes; the cap is {cap} MiB"
        self._say("record.too_large", why, start, self._number)
        believable = self._size is None or start + whole <= self._size
        self._window.skip(whole if believable else HEADER.size)

    def _resynchronise(self) -> None:
        """Go on to the next length whose checksum holds, or to the end."""
        window, start = self._window, self._window.offset
        window.skip(1)
        while data := window.peek(self._limits.chunk):
            at = self._next_in(data)
            if at is not None:
                window.skip(at)
                break
            window.skip(max(1, len(data) - HEADER.size + 1))
        self._damaged(start, window.offset)

    def _next_in(self, data: bytes) -> int | None:
        at = 0
        while found := _LENGTH.search(data, at):
            at = found.start()
            if not any(data[at : at + HEADER.size]):
                rest = _NOT_ZERO.search(data, at)
                at = max(at + 1, (rest.start() if rest else len(data)) - HEADER.size + 1)
                continue
            self._spend()
            if starts_frame(data, at):
                return at
            at += 1
        return None

    def _spend(self) -> None:
        self._candidates -= 1
        if self._candidates < 0:
            why = "is damaged, and looks like records in too many places to look at them all"
            raise SourceError("file.too_large", self._path, why)

    def _damaged(self, start: int, end: int, lost: int | None = None) -> None:
        mean = self._bytes / self._number if self._bytes else 0
        records = lost or max(1, round((end - start) / mean) if mean else 1)
        number = self._number + (lost is None)
        self._number += 0 if lost else records
        about = "1 record is" if records == 1 else f"about {records} records are"
        message = f"is damaged from byte {start} to {end} ({end - start} bytes): {about} lost"
        self._say("record.damaged", message, start, number)
