"""A part of a file at a time: what was read over is let go, so no file needs much memory."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Window"]

LET_GO = 1 << 20


class Window:
    """Bytes from a position on, as many as are asked for.

    Attributes:
        offset: the position in the file.

    >>> window = Window(iter([b"abc", b"def"]))
    >>> window.peek(4), window.skip(2), window.offset, window.peek(9)
    (b'abcd', None, 2, b'cdef')
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.offset = 0
        self._chunks = chunks
        self._data = bytearray()
        self._at = 0

    def peek(self, size: int, start: int = 0) -> bytes:
        """``size`` bytes from ``start`` beyond the position on; fewer at the end of the file."""
        self._fill(start + size)
        first = self._at + start
        return bytes(self._data[first : first + size])

    def skip(self, size: int) -> None:
        """Go on by ``size`` bytes, or to the end of the file; what is skipped is not kept."""
        while size:
            self._fill(1)
            step = min(size, len(self._data) - self._at)
            if not step:
                return
            self._at += step
            self.offset += step
            size -= step

    def _fill(self, size: int) -> None:
        if self._at >= LET_GO:
            del self._data[: self._at]
            self._at = 0
        while len(self._data) - self._at < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                return
            self._data += chunk
