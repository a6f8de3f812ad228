"""``validate SOURCE``: a finished log against the catalogue."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    CarryOption,
    CatalogueOption,
    FormatOption,
    catalogue_with,
    print_parts,
    replaced,
    same_file,
)

if TYPE_CHECKING:
    from ..audit.readers import Records
    from ..audit.validate import Report

__all__ = [
    "CompressedOption",
    "FollowOption",
    "OutputOption",
    "SourcesArgument",
    "deliver",
    "opened",
    "progress",
    "refuse_source",
    "validate",
]

LONG = 16 << 20


SourcesArgument = Annotated[
    list[str], typer.Argument(metavar="SOURCE...", help="Logs, directories of logs, or -.")
]
OutputOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write there, not to standard output.")
]
FollowOption = Annotated[
    bool, typer.Option("--follow-symlinks", help="Read through symbolic links.")
]
CompressedOption = Annotated[bool, typer.Option("--compressed", help="Read gzip and zstd data.")]


def validate(
    sources: SourcesArgument,
    form: FormatOption = "text",
    carry: CarryOption = None,
    catalogue: CatalogueOption = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A number that formulas need: w1_weight=1.0."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings gate too.")] = False,
    output: OutputOption = None,
    follow_symlinks: FollowOption = False,
    compressed: CompressedOption = False,
) -> None:
    """Check a finished log: names, values, bounds and laws of every record.

    Exit code 0: clean. 1: errors. 2: something could not be checked, be it that there was nothing.
    """
    from ..audit.validate import validate as check

    parameters = dict(map(_parameter, param or ()))
    declared = catalogue_with(catalogue)
    records = opened(sources, follow_symlinks=follow_symlinks, compressed=compressed)
    refuse_source(output, records)
    with progress(records, "checking"):
        report = check(records, declared, carry or (), parameters or None)
    deliver(report, form, output, strict=strict)


def deliver(report: Report, form: str, output: Path | None, *, strict: bool) -> None:
    """Say what was found, and leave with the exit code that it has."""
    from ..audit.text import FORMATS

    text = FORMATS[form](report)
    if output is None:
        print_parts([text])
    else:
        replaced(output, text)
    raise typer.Exit(report.exit_code(strict=strict))


def refuse_source(output: Path | None, records: Records) -> None:
    """Refuse to write where something is read."""
    if output is not None and any(same_file(output, file) for file in records.files):
        raise typer.BadParameter("the output is one of the sources", param_hint="--output")


def opened(
    sources: Sequence[str], *, follow_symlinks: bool = False, compressed: bool = False
) -> Records:
    """The records of the sources that a command names; ``-`` is standard input."""
    from ..audit.readers import read_all, read_stream

    if "-" not in sources:
        return read_all(sources, follow_symlinks=follow_symlinks, compressed=compressed)
    if len(sources) > 1:
        raise typer.BadParameter("- cannot stand beside other sources", param_hint="SOURCE")
    return read_stream(sys.stdin.buffer, compressed=compressed)


@contextmanager
def progress(records: Records, what: str) -> Iterator[None]:
    """A bar on stderr while a long input is read on a terminal; an interrupt is exit code 130."""
    try:
        with _bar(records, what):
            yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextmanager
def _bar(records: Records, what: str) -> Iterator[None]:
    size = records.size
    if not sys.stderr.isatty() or (size is not None and size < LONG):
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn(what, markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=size)
        records.on_read = lambda read: bar.advance(task, read)
        yield


def _parameter(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    with suppress(ValueError):
        number = float(value)
        if name and equals and math.isfinite(number):
            return name, number
    raise typer.BadParameter(f"{text!a} is no NAME=VALUE", param_hint="--param")
