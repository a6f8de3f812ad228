"""Compressed input is read only where it is asked for, and only as far as it stays believable.

A bomb is told by its ratio: text does not shrink to a two-hundredth.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from .limits import Limits
from .problems import SourceError

__all__ = ["inflated", "is_compressed"]

GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"
# Small files may shrink by more than the ratio.
FREE = 1 << 20
ANY_WRAPPER = 31
PIECE = 1 << 10
WINDOW = 1 << 27


class _Inflater(Protocol):
    def pieces(self, data: bytes, size: int) -> Iterator[bytes]: ...

    def complete(self) -> bool: ...


def is_compressed(head: bytes) -> bool:
    """Whether ``head`` begins gzip or zstd data."""
    return head.startswith((GZIP, ZSTD))


def inflated(chunks: Iterator[bytes], head: bytes, limits: Limits, path: str) -> Iterator[bytes]:
    """What ``chunks``, which begin with ``head``, hold.

    Raises:
        SourceError: it is damaged, a bomb, or zstd data without the library for it.
    """
    inflater = _zstd(path) if head.startswith(ZSTD) else _Gzip()
    taken = given = 0
    try:
        for chunk in chunks:
            taken += len(chunk)
            for piece in inflater.pieces(chunk, limits.chunk):
                given += len(piece)
                _refuse_bomb(taken, given, limits, path)
                yield piece
    except _damage() as error:
        raise SourceError("file.damaged", path, f"is damaged compressed data: {error}") from error
    if not inflater.complete():
        raise SourceError("file.damaged", path, "breaks off inside its compressed data")


def _refuse_bomb(taken: int, given: int, limits: Limits, path: str) -> None:
    if given > limits.inflated:
        why = f"inflates beyond {limits.inflated >> 20} MiB"
    elif given > FREE and given > limits.ratio * taken:
        why = f"inflates to more than {limits.ratio} times its size, as a bomb does"
    else:
        return
    raise SourceError("file.too_large", path, why)


class _Gzip:
    """Gzip data of one member or more."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(ANY_WRAPPER)
        self._begun = False

    def pieces(self, data: bytes, size: int) -> Iterator[bytes]:
        while True:
            if self._member.eof:
                data = data.lstrip(b"\x00")  # padding
                if not data:
                    return
                self._member = zlib.decompressobj(ANY_WRAPPER)
            piece = self._member.decompress(data, size)
            self._begun = self._begun or bool(data)
            yield piece
            data = self._member.unconsumed_tail or self._member.unused_data
            if not data and len(piece) < size:
                return

    def complete(self) -> bool:
        return self._member.eof or not self._begun


class _Zstd:
    """Zstd data of one frame or more."""

    def __init__(self, library: Any) -> None:
        self._reader = library.ZstdDecompressor(max_window_size=WINDOW)
        self._frame = self._reader.decompressobj()

    def pieces(self, data: bytes, size: int) -> Iterator[bytes]:
        # The library gives all that a piece of input holds; a small piece bounds it.
        for at in range(0, len(data), PIECE):
            piece = data[at : at + PIECE]
            while piece:
                if self._frame.eof:
                    self._frame = self._reader.decompressobj()
                yield self._frame.decompress(piece)
                piece = self._frame.unused_data if self._frame.eof else b""

    def complete(self) -> bool:
        return bool(self._frame.eof)


def _zstd(path: str) -> _Inflater:
    library = _library()
    if library is None:
        why = "is zstd data, which needs a library: pip install zstandard"
        raise SourceError("file.foreign", path, why)
    return _Zstd(library)


def _library() -> Any:
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return None
    return zstandard


def _damage() -> tuple[type[Exception], ...]:
    library = _library()
    return (zlib.error,) if library is None else (zlib.error, library.ZstdError)
