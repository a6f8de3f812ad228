"""``doctor SOURCE``: faults of a finished log that no range check finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from .validate import opened, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..audit.config import Settings
    from ..audit.doctor import Context

__all__ = ["doctor"]


def doctor(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Logs, directories of logs, or -.")
    ],
    world_size: Annotated[int | None, typer.Option(min=1, help="Ranks of the run.")] = None,
    grad_accum: Annotated[
        int | None, typer.Option(min=1, help="Micro-steps of one optimizer step.")
    ] = None,
    ranks_rollout: Annotated[
        int | None, typer.Option(min=1, help="Ranks that generate rollouts.")
    ] = None,
    form: FormatOption = "text",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also a page with the series plotted.")
    ] = None,
    select: Annotated[
        list[str] | None, typer.Option(metavar="RULE", help="Only these: CXM540, or CXM54.")
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option(metavar="RULE", help="Not these.")] = None,
    fail_on: Annotated[
        Literal["error", "warning", "note", "never"] | None,
        typer.Option(help="The least severity that makes the exit code 1.  [default: error]"),
    ] = None,
    carry: CarryOption = None,
    catalogue: CatalogueOption = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Read [tool.coordexp_metrics] there.  [default: ./]"),
    ] = None,
    follow_symlinks: Annotated[
        bool, typer.Option("--follow-symlinks", help="Read through symbolic links.")
    ] = False,
) -> None:
    """Find numbers that no definition can give: multiplied counts, diluted gauges, stale values.

    Exit code 0: nothing at or above the gate. 1: findings. 2: something could not be read.
    """
    from ..audit.config import settings_of
    from ..audit.doctor import examine
    from ..audit.doctor.page import page_of
    from ..audit.doctor.report import FORMATS

    settings = settings_of(config)
    wanted, unwanted = _rules(select, settings.select), _rules(ignore, settings.ignore)
    records = opened(sources, follow_symlinks=follow_symlinks)
    if html is not None and any(same_file(html, file) for file in records.files):
        raise typer.BadParameter("the page is one of the sources", param_hint="--html")
    try:
        with progress(records, "examining"):
            diagnosis = examine(
                records,
                catalogue_with(catalogue),
                _context(settings, world_size, grad_accum, ranks_rollout),
                select=wanted,
                ignore=unwanted,
                carry=carry or settings.carry,
                plots=html is not None,
            )
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if html is not None:
        replaced(html, page_of(diagnosis))
    print_parts(FORMATS[form](diagnosis))
    raise typer.Exit(diagnosis.gated(fail_on or settings.fail_on))


def _context(
    settings: Settings, world_size: int | None, grad_accum: int | None, ranks_rollout: int | None
) -> Context:
    """What the command line says of the run, and else what the configuration says."""
    from ..audit.doctor import Context

    return Context(
        world_size or settings.world_size,
        grad_accum or settings.grad_accum,
        ranks_rollout or settings.ranks_rollout,
    )


def _rules(given: Sequence[str] | None, configured: Sequence[str]) -> tuple[str, ...]:
    """Ids, or beginnings of ids; one that no rule has would silently check nothing."""
    from ..audit.rules import RULES

    wanted = tuple(part.strip() for text in given or configured for part in text.split(","))
    for part in wanted:
        if not part or not any(rule.startswith(part) for rule in RULES):
            raise typer.BadParameter(f"{part!a} is no rule; `coordexp-metrics rules` lists them")
    return wanted
