"""``diff BASE HEAD``: what changed between two catalogues, and the version that must follow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["diff"]

_HELP = "A .json catalogue, a module, an entry point, git:REV, git:REV:PATH, or installed."


def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help=_HELP)],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The same.")] = "installed",
    form: Annotated[
        Literal["text", "json", "github", "markdown"],
        typer.Option("--format", help="How to say it; markdown is a release note."),
    ] = "text",
    fail_on: Annotated[
        Literal["breaking", "semantic", "compatible", "never"],
        typer.Option("--fail-on", help="The least change that gates; breaking is the greatest."),
    ] = "semantic",
    if_kept: Annotated[
        bool, typer.Option("--if-kept", help="Exit 0 where the file BASE does not exist.")
    ] = False,
) -> None:
    """Compare two catalogues, field by field.

    Exit code 0: nothing at or above --fail-on. 1: something is. 2: could not compare.
    """
    from ..drift.compare import compare
    from ..drift.sources import catalogue_at
    from ..drift.text import DIFF_FORMATS

    if if_kept and base.endswith(".json") and not Path(base).exists():
        typer.echo(f"{base!a} is not kept: there is nothing to compare with", err=True)
        return
    sys.path.append(str(Path.cwd()))
    try:
        found = compare(catalogue_at(base), catalogue_at(head))
    finally:
        sys.path.pop()
    sys.stdout.write(DIFF_FORMATS[form](found))
    if fail_on != "never" and found.at_least(fail_on):
        raise typer.Exit(1)
