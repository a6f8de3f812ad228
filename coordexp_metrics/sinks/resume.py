"""A new attempt says where the one before it ended; nothing of that one is changed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..contract.journal import is_sealed, unseal

__all__ = ["attempts_of", "resumption"]

HEAD = 1 << 20
TAIL = 1 << 20
# A crash at start-up may leave files without a record; so many of them are looked through.
LOOKED_THROUGH = 16
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def attempts_of(path: Path) -> list[Path]:
    """The files of one log, first to last: ``metrics.jsonl``, ``metrics.1.jsonl``, ..."""
    name = re.compile(rf"{re.escape(path.stem)}(?:\.(\d{{1,18}}))?{re.escape(path.suffix)}")
    found = []
    with suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            match = name.fullmatch(entry.name)
            if match is not None and entry.is_file(follow_symlinks=False):
                found.append((int(match.group(1) or 0), path.with_name(entry.name)))
    return [file for _, file in sorted(found)]


def resumption(path: Path) -> dict[str, Any]:
    """What the header of the next attempt at ``path`` says of those before it.

    ``attempt`` counts from 0; ``resumed_from`` is None, or the file, run, attempt, step and seq of
    the last record before. Only the ends of files are read.
    """
    files = attempts_of(path)
    if not files:
        return {"attempt": 0, "resumed_from": None}
    newest = _header(files[-1])
    before = newest.get("attempt")
    attempt = before + 1 if type(before) is int and before >= 0 else len(files)
    return {"attempt": attempt, "resumed_from": _last_record(files)}


def _last_record(files: list[Path]) -> dict[str, Any] | None:
    for file in files[: -LOOKED_THROUGH - 1 : -1]:
        for row in _rows_from_the_end(file):
            if type(row.get("global_step")) is int:
                header = _header(file)
                return {
                    "file": file.name,
                    "run_id": header.get("run_id"),
                    "attempt": header.get("attempt"),
                    "global_step": row["global_step"],
                    "seq": row.get("seq"),
                }
    return None


def _header(file: Path) -> Mapping[str, Any]:
    line = _read(file, 0, HEAD).partition(b"\n")[0]
    header = _object(line).get("header")
    return header if type(header) is dict else {}


def _rows_from_the_end(file: Path) -> Iterator[Mapping[str, Any]]:
    tail = _read(file, -TAIL, TAIL)
    for line in reversed(tail.split(b"\n")):
        row = _object(line)
        if row:
            yield row


def _object(line: bytes) -> dict[str, Any]:
    text = unseal(line) if is_sealed(line) else line
    with suppress(ValueError, RecursionError):
        row = json.loads(text or b"{}")
        if type(row) is dict:
            return row
    return {}


def _read(file: Path, at: int, size: int) -> bytes:
    """``size`` bytes from ``at``, from the end where that is negative; none if it is unreadable."""
    with suppress(OSError):
        descriptor = os.open(file, _FLAGS)
        try:
            start = max(0, os.fstat(descriptor).st_size + at) if at < 0 else at
            return os.pread(descriptor, size, start)
        finally:
            os.close(descriptor)
    return b""
