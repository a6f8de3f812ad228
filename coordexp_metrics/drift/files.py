"""Only regular files of a known kind are read, whole or not at all; links lead nowhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..contract.errors import DeclarationError, safe_text

__all__ = ["CONFIGS", "SOURCES", "Source", "sources"]

SOURCES = frozenset({".py", ".pyi"})
CONFIGS = frozenset({".yaml", ".yml", ".json", ".toml"})
SKIPPED = frozenset({"__pycache__", "node_modules", "build", "dist", "site-packages", "venv"})
MAX_SOURCE = 4 << 20
MAX_CONFIG = 1 << 20


class Source(NamedTuple):
    """A file.

    Attributes:
        path: as it is to be shown.
        data: what it holds; None where it is too large, binary, or cannot be read.
        named: whether it was named itself, not found in a directory.
    """

    path: str
    data: bytes | None
    named: bool


def sources(paths: Sequence[str]) -> Iterator[Source]:
    """The files that ``paths`` name, and those of a known kind in directories; each once.

    Raises:
        DeclarationError: there is nothing at a path.
    """
    met: set[str] = set()
    for path in paths:
        if not os.path.lexists(path):
            raise DeclarationError(f"{safe_text(path, 400)}: there is no such file or directory")
        for name, named in _below(path):
            # Not the real path: a link is skipped, and must not stand for what it leads to.
            place = str(Path(name).absolute())
            if place not in met:
                met.add(place)
                yield Source(name, _read(name), named)


def _below(path: str) -> Iterator[tuple[str, bool]]:
    if not Path(path).is_dir() or Path(path).is_symlink():
        yield path, True
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(n for n in folders if n not in SKIPPED and not n.startswith("."))
        for name in sorted(names):
            if Path(name).suffix in SOURCES | CONFIGS:
                yield os.path.normpath(Path(folder) / name), False


def _read(path: str) -> bytes | None:
    limit = MAX_SOURCE if Path(path).suffix in SOURCES else MAX_CONFIG
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, opened so that no link is followed
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit:
            return None
        try:
            data = file.read(limit + 1)
        except OSError:
            return None
    return None if len(data) > limit or b"\0" in data[:8192] else data
