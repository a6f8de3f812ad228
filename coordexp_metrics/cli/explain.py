"""``explain KEY``: everything that is known of one key, whatever its spelling, or of one rule."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import CatalogueOption, catalogue_with, table
from .rules import card, every_rule, facts

if TYPE_CHECKING:
    from ..contract.catalogue import Catalogue
    from ..contract.metric import Metric

__all__ = ["explain"]


def explain(
    keys: Annotated[
        list[str],
        typer.Argument(metavar="KEY...", help="Any spelling of a key, or a rule such as CXM540."),
    ],
    catalogue: CatalogueOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a key.")] = False,
) -> None:
    """Show a key's card: meaning, kind, unit, formula, condition, names and declaration.

    Of a rule: what is wrong, what a finding rests on, a bad and a good example.
    """
    from ..contract.errors import RemovedKeyError, UnknownKeyError

    declared = catalogue_with(catalogue)
    unknown = False
    known_rules = every_rule() if any(key.upper().startswith("CXM") for key in keys) else {}
    for key in keys:
        if key.upper() in known_rules:
            rule = known_rules[key.upper()]
            typer.echo(json.dumps(facts(rule)) if as_json else card(rule))
            continue
        try:
            metric = declared[key]
        except RemovedKeyError as error:
            typer.echo(_removed(error, as_json))
        except UnknownKeyError as error:
            unknown = True
            typer.echo(f"coordexp-metrics: {error}", err=True)
        else:
            known = _facts(declared, key, metric)
            typer.echo(
                json.dumps({"key": metric.key, **known}) if as_json else _card(metric, known)
            )
    if unknown:
        raise typer.Exit(2)


def _removed(error: object, as_json: bool) -> str:
    key, replacements = error.key, error.replacements  # type: ignore[attr-defined]
    if as_json:
        return json.dumps({"key": key, "removed": True, "replacements": replacements})
    instead = "".join(f"\n  {replacement}" for replacement in replacements)
    return f"{key}\n  was removed from the contract" + (f"; use\n{instead}" if instead else "")


def _card(metric: Metric, facts: dict[str, str]) -> str:
    meaning = textwrap.fill(metric.description, 88, initial_indent="  ", subsequent_indent="  ")
    rows = [[f"  {name}", value] for name, value in facts.items() if name != "meaning"]
    return f"{metric.key}\n{meaning}\n\n{table(rows)}\n"


def _facts(catalogue: Catalogue, asked: str, metric: Metric) -> dict[str, str]:
    from ..contract.ecosystems import names_of

    found = catalogue.resolve(asked)
    facts = {
        "meaning": metric.description,
        "deprecated": "" if metric.deprecated is None else str(metric.deprecated),
        "asked as": ""
        if asked == metric.key
        else asked + (" (alias)" * bool(found and found.alias)),
        "kind": metric.kind + ", an internal helper that never leaves" * metric.internal,
        "unit": str(metric.unit),
        "population": str(metric.population or ""),
        "formula": "" if metric.formula is None else str(metric.formula),
        "present": metric.when.text if metric.when else "whenever it was observed",
        "bounds": _bounds(metric),
        "better": metric.better or "",
        "in the loss": _in_loss(metric),
        "modes": ", ".join(metric.modes),
        "provenance": metric.provenance or "",
        "logged by": ", ".join(metric.emitted_by),
        **names_of(metric),
        "aliases": ", ".join((*metric.aliases, *metric.logged_aliases)),
        "family": metric.family,
        "contract": metric.source,
        "declared": _declared(metric),
        "definition": metric.digest,
    }
    return {name: value for name, value in facts.items() if value}


def _bounds(metric: Metric) -> str:
    low, high = metric.bounds
    if low is None and high is None:
        return ""
    shown = f"{'-inf' if low is None else f'{low:g}'} .. {'inf' if high is None else f'{high:g}'}"
    return shown + ", whole numbers" * metric.whole


def _in_loss(metric: Metric) -> str:
    if not metric.in_loss:
        return "no"
    return f"yes, if {metric.in_loss_when}" if metric.in_loss_when else "yes"


def _declared(metric: Metric) -> str:
    path, line = metric.declared_at
    if not path:
        return ""
    root = Path(__file__).parents[2]
    file = Path(path)
    shown = file.relative_to(root) if file.is_relative_to(root) else file
    return f"{shown}:{line}"
