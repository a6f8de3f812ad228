"""``generate``: schemas and pages from the catalogue; ``--check`` compares the committed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import CatalogueOption, catalogue_with

__all__ = ["generate"]


def generate(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where a file is stale.")
    ] = False,
    root: Annotated[Path, typer.Option(help="A source checkout of this project.")] = Path(),
    catalogue: CatalogueOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the files of your own catalogue go.")
    ] = None,
) -> None:
    """Generate JSON Schemas, the JSON catalogue and the key reference."""
    from ..contract.errors import DeclarationError
    from ..generate import outputs, stale, write

    if out is None and (catalogue or not _is_checkout(root)):
        what = "a catalogue of your own goes" if catalogue else f"{root} is no checkout: files go"
        raise DeclarationError(f"{what} into a folder of your own; name it with --out DIR")
    target = root if out is None else out
    declared = catalogue_with(catalogue)
    found = stale(target, declared) if check else write(target, declared)
    for name in found:
        typer.echo(f"{name} is stale" if check else target / name)
    if not check:
        typer.echo(f"{len(found)} files changed, of {len(outputs(declared))}", err=True)
    elif found:
        typer.echo(f"run `{_way_out(catalogue, out)}`, and commit what changes", err=True)
        raise typer.Exit(1)


def _is_checkout(root: Path) -> bool:
    try:
        return 'name = "coordexp-metrics"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _way_out(catalogue: list[str] | None, out: Path | None) -> str:
    sources = [f"--catalogue {source}" for source in catalogue or ()]
    target = [] if out is None else [f"--out {out}"]
    return " ".join(["coordexp-metrics generate", *sources, *target])
