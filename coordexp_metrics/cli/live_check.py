"""``live-check SOURCE``: a log against the catalogue, and what should have been in it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .common import CarryOption, CatalogueOption, FormatOption, catalogue_with
from .validate import (
    CompressedOption,
    FollowOption,
    OutputOption,
    SourcesArgument,
    deliver,
    opened,
    progress,
    refuse_source,
)

if TYPE_CHECKING:
    from ..audit.baseline import Baseline
    from ..audit.context import Context, Setting
    from ..audit.validate import Report

__all__ = ["live_check"]

VariantName = Literal["stage1", "stage2_two_channel", "stage2_rollout_aligned"]


def live_check(
    sources: SourcesArgument,
    variant: Annotated[
        VariantName | None, typer.Option(help="The trainer; else what the log tells of it.")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A setting of the run: n_softctx_iter=1."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB|FAMILY", help="Look at these keys only: 'rollout/*'."),
    ] = None,
    require: Annotated[
        list[str] | None, typer.Option(metavar="KEY|GLOB", help="A key that must be met.")
    ] = None,
    fail_on_coverage_below: Annotated[
        float | None,
        typer.Option(metavar="PCT", min=0, max=100, help="Of the keys that are due."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Findings that are known: muted, counted.")
    ] = None,
    update_baseline: Annotated[
        bool, typer.Option("--update-baseline", help="Write what is found to the baseline.")
    ] = False,
    form: FormatOption = "text",
    carry: CarryOption = None,
    catalogue: CatalogueOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings gate too.")] = False,
    output: OutputOption = None,
    follow_symlinks: FollowOption = False,
    compressed: CompressedOption = False,
) -> None:
    """Check a log, and what should have been in it: presence, absence, coverage.

    Exit code 0: clean. 1: errors. 2: something could not be checked, be it that there was nothing.
    """
    from ..audit.live_check import Wanted
    from ..audit.live_check import live_check as check

    if update_baseline and baseline is None:
        raise typer.BadParameter("it needs --baseline FILE", param_hint="--update-baseline")
    records = opened(sources, follow_symlinks=follow_symlinks, compressed=compressed)
    for place in (output, baseline if update_baseline else None):
        refuse_source(place, records)
    wanted = Wanted(
        scope or (), require or (), fail_on_coverage_below, _known(baseline, update_baseline)
    )
    context = _context(variant, config or ())
    with progress(records, "checking"):
        report = check(
            records, catalogue_with(catalogue), carry or (), context=context, wanted=wanted
        )
    if update_baseline and baseline is not None and not report.unchecked:
        report = _adopt(report, baseline)
    deliver(report, form, output, strict=strict)


def _context(variant: VariantName | None, config: list[str] | tuple[()]) -> Context:
    from ..audit.context import Context

    return Context(variant, dict(map(_setting, config))).with_header({})


def _setting(text: str) -> tuple[str, Setting]:
    from ..audit.conditions import SETTINGS

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!a} is no NAME=VALUE", param_hint="--config")
    known = [s for s in SETTINGS if s == name or s.endswith(f".{name}") or name.endswith(f".{s}")]
    if not known and not _parameter(name):
        raise typer.BadParameter(
            f"nothing depends on {name!a}; what can be told: {', '.join(SETTINGS)}, "
            "or a parameter of a formula",
            param_hint="--config",
        )
    return name, _value(value)


def _parameter(name: str) -> bool:
    """Whether a formula of the contract has a parameter of that name."""
    from ..catalogue import CATALOGUE

    return any(
        name.rpartition(".")[2] in side.parameters()
        for law in CATALOGUE.all_laws
        for side in (law.left, law.right)
    )


def _value(text: str) -> Setting:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _known(baseline: Path | None, update: bool) -> Baseline:
    from ..audit.baseline import Baseline
    from ..contract.errors import MetricsError

    if baseline is None or update:
        return Baseline()
    try:
        return Baseline.read(str(baseline))
    except MetricsError as error:
        raise typer.BadParameter(str(error), param_hint="--baseline") from error


def _adopt(report: Report, baseline: Path) -> Report:
    """Write what was found to the baseline, and mute it."""
    from ..audit.baseline import Baseline
    from ..audit.live_check import muted_by
    from .common import replaced

    known = Baseline.of(report.findings)
    replaced(baseline, json.dumps(known.to_data(), indent=1) + "\n")
    return muted_by(report, known)
