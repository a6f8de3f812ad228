"""``verify``: whatever the cut over ranks and micro-batches, do these keys give the same number?"""

from __future__ import annotations

import fnmatch
from typing import Annotated

import typer

from .common import CatalogueOption, catalogue_with

__all__ = ["verify"]


def verify(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY...]", help="Keys, or patterns such as 'rollout/*'."),
    ] = None,
    catalogue: CatalogueOption = None,
    trials: Annotated[int, typer.Option(min=1, help="Random grids a key.")] = 5,
    seed: Annotated[int, typer.Option(help="What makes the grids repeatable.")] = 0,
) -> None:
    """Try the laws of reduction on random grids of ranks, and print a counterexample."""
    from ..window.verify import verify as counterexamples

    declared = catalogue_with(catalogue)
    patterns = keys or ["*"]
    chosen = [
        metric
        for metric in declared.values()
        if any(fnmatch.fnmatchcase(metric.key, pattern) for pattern in patterns)
    ]
    if not chosen:
        typer.echo("coordexp-metrics: no key is like that, so nothing was verified", err=True)
        raise typer.Exit(2)
    broken = 0
    for counterexample in counterexamples(declared, chosen, trials, seed):
        broken += 1
        typer.echo(f"{counterexample}\n")
    typer.echo(f"{len(chosen) - broken} of {len(chosen)} keys hold every law", err=True)
    raise typer.Exit(1 if broken else 0)
