"""``list``: the keys of the catalogue, filtered."""

from __future__ import annotations

import fnmatch
import json
from typing import TYPE_CHECKING, Annotated

import typer

from .common import CatalogueOption, catalogue_with, table

if TYPE_CHECKING:
    from ..contract.metric import Metric

__all__ = ["lines", "listing"]


def listing(
    pattern: Annotated[str, typer.Argument(help="Only keys like this, such as 'rollout/*'.")] = "*",
    kind: Annotated[str | None, typer.Option(help="Only this kind, such as mean.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    mode: Annotated[str | None, typer.Option(help="Only keys of train or of eval.")] = None,
    internal: Annotated[bool, typer.Option(help="Also internal helpers.")] = False,
    catalogue: CatalogueOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List keys with their kind, unit and meaning."""
    found = [
        metric
        for metric in catalogue_with(catalogue).values()
        if fnmatch.fnmatchcase(metric.key, pattern)
        and kind in {None, metric.kind}
        and family in {None, metric.family}
        and (mode is None or mode in metric.modes)
        and (internal or not metric.internal)
    ]
    typer.echo(lines(found, as_json))
    if not found:
        typer.echo("coordexp-metrics: no key is like that", err=True)
        raise typer.Exit(2)


def lines(metrics: list[Metric], as_json: bool) -> str:
    """``metrics`` as a table, or as a JSON array."""
    if as_json:
        rows = [
            {"key": m.key, "kind": m.kind, "unit": m.unit, "meaning": m.description}
            for m in metrics
        ]
        return json.dumps(rows, indent=2)
    return table([[m.key, m.kind, m.unit, m.description] for m in metrics])
