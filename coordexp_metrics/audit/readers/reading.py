"""``read(path)`` gives the records of any log back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import BinaryIO

from .limits import Limits
from .records import Records

__all__ = ["read", "read_all", "read_stream"]


def read(
    path: str | os.PathLike[str],
    *,
    limits: Limits | None = None,
    follow_symlinks: bool = False,
    latest: bool = False,
    compressed: bool = False,
) -> Records:
    """The records of a log: our journals, payloads, trainers' JSON logs, dashboards' files.

    What a file holds is told by its content: JSON lines, ``trainer_state.json``, a TensorBoard
    event file, or an offline W&B file.

    Args:
        path: a regular file, or a directory of them, whose attempts are read in order.
        limits: caps on what is read.
        follow_symlinks: whether a link is followed.
        latest: whether of a step that was done again after a resume only the last attempt counts;
            else every record comes, attempt by attempt.
        compressed: whether gzip and zstd data are read.

    Raises:
        SourceError: there is nothing that could be read.
    """
    return Records(
        [os.fspath(path)],
        limits=limits,
        follow_symlinks=follow_symlinks,
        latest=latest,
        compressed=compressed,
    )


def read_all(
    sources: Sequence[str], *, follow_symlinks: bool = False, compressed: bool = False
) -> Records:
    """The records of several sources; one that cannot be read is a problem, not an error."""
    return Records(sources, follow_symlinks=follow_symlinks, compressed=compressed, lenient=True)


def read_stream(
    stream: BinaryIO,
    name: str = "<stdin>",
    limits: Limits | None = None,
    *,
    compressed: bool = False,
) -> Records:
    """The records of an open binary stream; they can be looped over once."""
    return Records([name], limits=limits, stream=stream, lenient=True, compressed=compressed)
