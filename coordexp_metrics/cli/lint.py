"""``lint PATHS``: the keys that sources and configurations name, against the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import CarryOption, CatalogueOption, FormatOption, catalogue_with

if TYPE_CHECKING:
    from ..audit.findings import Finding

__all__ = [
    "BaselineOption",
    "StrictOption",
    "UpdateOption",
    "WarnOption",
    "lint",
    "report",
]

BaselineOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Say only what is not in this file.")
]
UpdateOption = Annotated[
    bool, typer.Option("--update-baseline", help="Write what is found into the baseline.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Say more; warnings gate too.")]
WarnOption = Annotated[bool, typer.Option("--warn-only", help="Say it, and exit 0.")]


def lint(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files and directories.")],
    form: FormatOption = "text",
    catalogue: CatalogueOption = None,
    carry: CarryOption = None,
    strict: StrictOption = False,
    baseline: BaselineOption = None,
    update_baseline: UpdateOption = False,
    warn_only: WarnOption = False,
) -> None:
    """Check the keys in Python sources and YAML, JSON and TOML files; nothing is imported.

    Exit code 0: clean. 1: findings that gate. 2: nothing could be checked.
    """
    from ..drift.lint import lint as check

    done = check(paths, catalogue_with(catalogue), strict=strict, carry=carry or ())
    if not done.statistics["files"]:
        typer.echo("coordexp-metrics: nothing was checked: no file could be read", err=True)
        raise typer.Exit(2)
    known = baseline, update_baseline
    report(done.findings, done.statistics, form, known, strict=strict, warn_only=warn_only)


def report(
    findings: Sequence[Finding],
    statistics: dict[str, Any],
    form: str,
    known: tuple[Path | None, bool],
    *,
    strict: bool,
    warn_only: bool,
) -> None:
    """Print what a baseline does not excuse, and exit by what gates."""
    from ..drift.baseline import Baseline
    from ..drift.text import FORMATS

    path, update = known
    if update:
        if path is None:
            raise typer.BadParameter(
                "name the file with --baseline", param_hint="--update-baseline"
            )
        Baseline.of(findings).write(path)
        typer.echo(f"{len(findings)} findings are now excused", err=True)
        return
    if path is not None:
        findings, excused, gone = Baseline.read(path).new(findings)
        statistics = {**statistics, "excused": excused, "gone from the baseline": gone}
    sys.stdout.write(FORMATS[form](findings, statistics))
    gates = {"error", "warning"} if strict else {"error"}
    if not warn_only and any(finding.severity in gates for finding in findings):
        raise typer.Exit(1)
