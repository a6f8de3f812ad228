"""``recover DIR``: what is left of a run, from its journals and spools, and what may be missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from .common import quiet_pipe, same_file

__all__ = ["recover"]


def recover(
    sources: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Directories of journals, or journals.")
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the merged log there.")
    ] = None,
    spool: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="A spool beside those that the journals name."),
    ] = None,
    latest: Annotated[
        bool,
        typer.Option(
            "--latest", help="Of a step done again after a resume, the last attempt only."
        ),
    ] = False,
) -> None:
    """Merge the attempts and spools of a run: each record once, in order, one a line.

    The merged log goes to standard output, or to FILE as a whole or not at all. What may be missing
    is said, with its sequence numbers. Exit code 0: complete. 1: something is, or may be, missing.
    2: nothing could be read.
    """
    from ..audit.recovery import recover as recovered

    found = recovered(sources, spool or ())
    if output is not None and any(same_file(output, file) for file in found.files):
        raise typer.BadParameter("the output is one of the inputs", param_hint="--output")
    try:
        if found.records and output is not None:
            _replace(output, found.lines(latest))
        elif found.records:
            quiet_pipe(lambda: sys.stdout.buffer.writelines(found.lines(latest)))
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    for line in found.report():
        typer.echo(f"coordexp-metrics: {line}", err=True)
    if not found.records:
        typer.echo("coordexp-metrics: nothing to recover: no record could be read", err=True)
    raise typer.Exit(found.exit_code)


def _replace(output: Path, lines: Iterable[bytes]) -> None:
    """A whole new file, or the old one: never half of one."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        part.replace(output)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise
