"""Lines end at a newline byte and nowhere else; a line that is too long costs no memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Line", "split_lines"]

HEAD = 4096


class Line(NamedTuple):
    """A piece of a file that should hold one JSON value.

    Attributes:
        number: its line, from 1.
        offset: its first byte in the file.
        raw: its bytes; only its head where it is too long.
        size: how many bytes it has.
        ended: whether something follows that says it is complete.
        too_long: whether it is beyond the limit.
    """

    number: int
    offset: int
    raw: bytes
    size: int
    ended: bool = True
    too_long: bool = False


def split_lines(chunks: Iterable[bytes], limit: int) -> Iterator[Line]:
    r"""The lines of ``chunks``, without their newlines.

    >>> [line.raw for line in split_lines([b"a\xe2\x80", b"\xa8b\nc"], 100)]
    [b'a\xe2\x80\xa8b', b'c']
    """
    number, offset, kept, size = 1, 0, b"", 0
    for chunk in chunks:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            raw = kept + piece if size else piece
            size += len(piece)
            yield _line(number, offset, raw, size, limit)
            number, offset, kept, size = number + 1, offset + size + 1, b"", 0
        size += len(rest)
        # Beyond the limit bytes are counted and dropped, so a line of 10 GB needs no memory.
        kept = kept + rest if size <= limit else (kept + rest)[:HEAD]
    if size:
        yield _line(number, offset, kept, size, limit, ended=False)


def _line(
    number: int, offset: int, raw: bytes, size: int, limit: int, *, ended: bool = True
) -> Line:
    too_long = size > limit
    return Line(number, offset, raw[:HEAD] if too_long else raw, size, ended, too_long)
