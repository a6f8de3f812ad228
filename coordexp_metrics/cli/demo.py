"""``demo``: a small detector trains on the CPU and logs itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Where the logs go.")] = Path("runs/demo"),
    steps: Annotated[int, typer.Option(min=1, help="Optimizer steps.")] = 300,
    seed: Annotated[int, typer.Option(help="What makes the run repeatable.")] = 0,
    wandb: Annotated[bool, typer.Option(help="Also log to W&B, offline.")] = True,
    stage2_steps: Annotated[
        int, typer.Option(min=0, help="Optimizer steps that learn from rollouts.")
    ] = 24,
    packed: Annotated[bool, typer.Option("--packed", help="Train with answers packed.")] = False,
) -> None:
    """Train a little vision-language detector in under two minutes, and log every metric of it."""
    from ..contract.errors import MissingExtraError

    try:
        from ..demo.run import main
    except ImportError as error:
        raise MissingExtraError("all", f"the demo ({error.name})") from error
    raise typer.Exit(main(out, steps, seed, wandb=wandb, packed=packed, stage2_steps=stage2_steps))
