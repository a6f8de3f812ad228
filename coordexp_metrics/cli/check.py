"""``check CATALOGUE``: the rules for catalogues themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .common import FormatOption
from .lint import BaselineOption, StrictOption, UpdateOption, WarnOption, report

__all__ = ["check"]


def check(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CATALOGUE...]",
            help="A module, an entry point, a .json catalogue, git:REV. Default: installed.",
        ),
    ] = None,
    form: FormatOption = "text",
    strict: StrictOption = False,
    baseline: BaselineOption = None,
    update_baseline: UpdateOption = False,
    warn_only: WarnOption = False,
) -> None:
    """Check catalogues: suffixes, units, look-alikes, replacements, collisions, deprecations.

    Exit code 0: clean. 1: findings that gate. 2: there is no such catalogue.
    """
    from ..drift.check import check_source

    findings, keys = [], 0
    sys.path.append(str(Path.cwd()))
    try:
        for source in sources or ["installed"]:
            found, count = check_source(source)
            findings += found
            keys += count
    finally:
        sys.path.pop()
    known = baseline, update_baseline
    report(findings, {"keys": keys}, form, known, strict=strict, warn_only=warn_only)
