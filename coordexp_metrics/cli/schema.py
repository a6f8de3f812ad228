"""``schema``: the JSON Schema of a payload or of a catalogue, made from the declarations."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .common import CatalogueOption, catalogue_with

__all__ = ["Name", "schema"]


class Name(StrEnum):
    """What a schema is of."""

    PAYLOAD = "payload"
    CATALOGUE = "catalogue"


def schema(
    name: Annotated[Name, typer.Argument(help="What it is the schema of.")] = Name.PAYLOAD,
    catalogue: CatalogueOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file instead of stdout.")
    ] = None,
) -> None:
    """Print a JSON Schema (2020-12)."""
    from ..generate.jsontext import json_text
    from ..generate.schemas import catalogue_schema, payload_schema

    if name is Name.CATALOGUE:
        text = json_text(catalogue_schema())
    else:
        text = json_text(payload_schema(catalogue_with(catalogue)))
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8", newline="\n")
        typer.echo(f"wrote {output}", err=True)
