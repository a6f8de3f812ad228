"""What a reader takes at most, so that no file can fill the memory or stall the reader."""

from __future__ import annotations

from dataclasses import dataclass

from ...contract.payload import MAX_KEYS

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on one file.

    Attributes:
        line: bytes of a line, or of one row of a JSON document; a longer one is skipped unread.
        document: bytes of a JSON document such as ``trainer_state.json``.
        depth: nesting of arrays and objects.
        keys: keys of one row.
        digits: digits of one integer.
        chunk: bytes read at a time.
        shown: problems of one code that are kept; all are counted.
        files: files of a directory.
        record: bytes of one record of an event file or of an offline W&B file.
        candidates: places in one damaged event file that look like a record and are none.
        inflated: bytes that a compressed file may become.
        ratio: how many times its size a compressed file may become.
    """

    line: int = 1 << 20
    document: int = 256 << 20
    depth: int = 32
    keys: int = MAX_KEYS
    digits: int = 400
    chunk: int = 1 << 18
    shown: int = 20
    files: int = 10_000
    record: int = 64 << 20
    candidates: int = 1 << 20
    inflated: int = 64 << 30
    ratio: int = 200
