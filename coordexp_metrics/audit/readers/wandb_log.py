"""Offline ``.wandb`` files: LevelDB's log blocks of 32 KiB, each piece with its own checksum.

What is damaged costs its piece, or at most its block; every other record is read.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from .limits import Limits
from .problems import Say, SourceError
from .window import Window

__all__ = ["MAGIC", "Messages", "refuse_newer"]

MAGIC = b":W&B"
HEADER = struct.Struct("<4sHB")
VERSION = 0
BLOCK = 32 << 10
PIECE = struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = range(1, 5)


def refuse_newer(head: bytes, path: str) -> None:
    """Refuse a file whose head says that it is laid out in another way.

    Raises:
        SourceError: it says so.
    """
    if head.startswith(MAGIC) and len(head) >= HEADER.size and head[6] != VERSION:
        why = f"is a W&B log of version {head[6]}; this package reads version {VERSION}"
        raise SourceError("file.newer", path, why)


class Messages:
    """The messages of a file, joined from their pieces.

    Args:
        window: its bytes.
        limits: caps.
        say: takes code, message, offset and number of what is damaged.
    """

    def __init__(self, window: Window, limits: Limits, say: Say) -> None:
        self._window = window
        self._limits = limits
        self._say = say
        self._parts: list[bytes] = []
        self._size = 0
        self._number = 0
        self._begun: int | None = None

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        """Number, offset and bytes of each."""
        self._open()
        while (left := self._left()) > 0:
            if left < PIECE.size:
                at = self._window.offset
                self._window.skip(left)
                if (at + left) % BLOCK:  # no padding of a block, but the end of the file
                    self._torn(at)
                continue
            piece = self._piece(left)
            if piece is not None:
                yield from self._join(*piece)
        if self._begun is not None:
            self._torn(self._begun)

    def _open(self) -> None:
        head = self._window.peek(HEADER.size)
        if not head:
            return
        if len(head) < HEADER.size:
            self._torn(0)
        elif HEADER.unpack(head)[:2] != (MAGIC, 0xBEE1):
            self._say("record.damaged", "has a damaged header (bytes 0 to 7)", 0, 0)
        self._window.skip(HEADER.size)

    def _left(self) -> int:
        """Bytes up to the end of the block, or of the file."""
        in_block = BLOCK - self._window.offset % BLOCK
        return len(self._window.peek(in_block))

    def _piece(self, left: int) -> tuple[int, int, bytes] | None:
        """Kind, offset and bytes of the piece at hand, None where it is damaged."""
        at, block = self._window.offset, self._window.peek(left)
        checksum, length, kind = PIECE.unpack_from(block)
        end = PIECE.size + length
        if end > left and (at + left) % BLOCK:  # no whole block follows: the end of the file
            self._window.skip(left)
            self._torn(at)
            return None
        body = block[PIECE.size : end]
        if zlib.crc32(block[6:end]) == checksum and FULL <= kind <= LAST and end <= left:
            self._window.skip(end)
            return kind, at, body
        self._lost(at, block, end)
        return None

    def _lost(self, at: int, block: bytes, end: int) -> None:
        """Go on behind the damaged piece if one follows there, else at the next block."""
        step = end if _holds(block, end) else len(block)
        message = f"is damaged from byte {at} to {at + step} ({step} bytes)"
        self._drop()
        self._say("record.damaged", message, at, self._number + 1)
        self._window.skip(step)

    def _join(self, kind: int, at: int, body: bytes) -> Iterator[tuple[int, int, bytes]]:
        if kind in {FULL, FIRST}:
            if self._begun is not None:
                message = f"has a record without its end (byte {self._begun})"
                self._say("record.damaged", message, self._begun, self._number + 1)
            self._drop()
            self._begun = at
        elif self._begun is None:
            return  # the rest of a record whose beginning was lost, which has been said
        self._size += len(body)
        if self._size > self._limits.record:
            self._too_large(self._begun)
            return
        self._parts.append(body)
        if kind in {FULL, LAST}:
            self._number += 1
            begun, whole = self._begun, b"".join(self._parts)
            self._drop()
            yield self._number, begun, whole

    def _too_large(self, begun: int) -> None:
        cap = self._limits.record >> 20
        message = f"has a record beyond {cap} MiB, of many pieces"
        self._say("record.too_large", message, begun, self._number + 1)
        self._drop()

    def _drop(self) -> None:
        self._parts, self._size, self._begun = [], 0, None

    def _torn(self, at: int) -> None:
        self._drop()
        self._say("torn_tail", "breaks off: the writer was cut short", at, self._number + 1)


def _holds(block: bytes, at: int) -> bool:
    """Whether a whole piece stands at ``at``."""
    if at + PIECE.size > len(block):
        return False
    checksum, length, kind = PIECE.unpack_from(block, at)
    end = at + PIECE.size + length
    whole: bool = end <= len(block) and FULL <= kind <= LAST
    return whole and bool(zlib.crc32(block[at + 6 : end]) == checksum)
