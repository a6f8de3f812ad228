"""``search WORDS``: keys whose name or meaning speaks of all the words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import CatalogueOption, catalogue_with
from .listing import lines

if TYPE_CHECKING:
    from ..contract.metric import Metric

__all__ = ["search"]


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="Words to look for.")],
    catalogue: CatalogueOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Find keys by words in their name, meaning, unit, population or condition."""
    wanted = [word.casefold() for word in words]
    metrics = [metric for metric in catalogue_with(catalogue).values() if not metric.internal]
    found = [metric for metric in metrics if all(word in _text(metric) for word in wanted)]
    found.sort(key=lambda metric: not all(word in metric.key.casefold() for word in wanted))
    typer.echo(lines(found, as_json))
    if not found:
        typer.echo("coordexp-metrics: no key speaks of that", err=True)
        raise typer.Exit(2)


def _text(metric: Metric) -> str:
    when = metric.when.text if metric.when else ""
    parts = (metric.key, metric.description, metric.unit, metric.population or "", when)
    return " ".join((*parts, *metric.aliases, *metric.logged_aliases)).casefold()
