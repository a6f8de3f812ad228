"""The verbs, in the order in which a new user meets them."""

from __future__ import annotations

from typing import Annotated

import typer

from .check import check
from .demo import demo
from .diff import diff
from .doctor import doctor
from .eval_rollouts import eval_rollouts
from .explain import explain
from .generate import generate
from .lint import lint
from .listing import listing
from .live_check import live_check
from .recover import recover
from .replay import replay
from .rules import rules
from .schema import schema
from .search import search
from .tail import tail
from .types import types
from .validate import validate
from .verify import verify

__all__ = ["app"]

app = typer.Typer(
    help="The training-metrics contract: look keys up, validate logs, generate schemas and pages.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from ..contract.header import package_version

        typer.echo(package_version())
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


app.command()(demo)
app.command()(validate)
app.command("live-check")(live_check)
app.command()(doctor)
app.command()(replay)
app.command()(recover)
app.command()(tail)
app.command()(explain)
app.command()(rules)
app.command()(search)
app.command("list")(listing)
app.command()(lint)
app.command()(check)
app.command()(diff)
app.command()(verify)
app.command()(generate)
app.command()(schema)
app.command()(types)
app.command()(eval_rollouts)
