"""Metrics and pages from JSON data that has passed the rules; where it is mute, by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..deprecation import Deprecated, deprecated
from ..errors import DeclarationError
from ..kinds import Quantile, SharedQuantile
from ..metric import Metric
from ..removal import Page
from ..units import BIN, Condition, Unit
from .linking import Linker, wrong
from .rules import KINDS, OPTIONAL, default_bounds

__all__ = ["metrics_of", "page_from", "tuples"]

MODES = ("train", "eval")


def metrics_of(
    family: dict[str, Any], path: str, places: Mapping[str, tuple[str, int]], linker: Linker
) -> tuple[Metric, ...]:
    """The metrics of one family of a JSON catalogue, their formulas linked."""
    metrics = []
    for index, data in enumerate(family["metrics"]):
        at = f"{path}.metrics[{index}]"
        metric = _metric(data, family, at, places.get(data["key"], ("", 0)))
        linker.add(metric, data, at)
        metrics.append(metric)
    return tuple(metrics)


def _metric(
    data: dict[str, Any], family: dict[str, Any], path: str, place: tuple[str, int]
) -> Metric:
    """One metric, without what points at other metrics: that is linked when all are there."""
    kind = KINDS[data["kind"]]
    given = {name: value for name, value in tuples(data).items() if name in _PLAIN}
    population, when = data.get("population"), data.get("when")
    if "deprecated" in data:
        given["deprecated"] = _deprecated(data["deprecated"], path)
    _check_ranges(data, path)
    if "level" in data:
        kind = SharedQuantile if "of" in data else Quantile
        given |= {name: tuples(data)[name] for name in ("level", "limits") if name in data}
    if "of" in data or kind.kind in {"rate", "derived"}:
        given |= {"of": None} if "of" in data else {"formula": None}
    try:
        return kind(
            **{
                "modes": MODES,
                "bounds": default_bounds(kind.kind, data["unit"]),
                **given,
                "unit": Unit(data["unit"]),
                "population": None if population is None else Unit(population),
                "when": None if when is None else Condition(**when),
                "name": _name(data, family, path),
                "family": family["name"],
                "declared_at": place,
            }
        )
    except TypeError as error:
        wrong(path, f"does not fit: {error}")


def _deprecated(data: dict[str, Any], path: str) -> Deprecated:
    try:
        return deprecated(**data)
    except DeclarationError as error:
        wrong(f"{path}.deprecated", f"says that the key is {error}")


def _check_ranges(data: dict[str, Any], path: str) -> None:
    """Refuse ranges upside down, and a histogram that nothing bounds."""
    for name in ("bounds", "limits"):
        low, high = data.get(name) or (None, None)
        if low is not None and high is not None and low >= high:
            wrong(f"{path}.{name}", f"must rise, and {low} is not below {high}")
    if "level" in data and not ("of" in data or data.get("limits") or data["unit"] == BIN):
        wrong(path, f"has no 'limits': a histogram of {data['unit']}s needs its ends")


_PLAIN = {
    *("key", "description", "modes", "better", "bounds", "in_loss", "provenance"),
    *OPTIONAL,
}


def _name(data: dict[str, Any], family: dict[str, Any], path: str) -> str:
    """What stands at ``{name}`` of the family's pattern."""
    pattern = family.get("pattern", "{name}").replace("{provenance}", data.get("provenance") or "")
    before, after = pattern.split("{name}")
    key: str = data["key"]
    name = key[len(before) : len(key) - len(after)]
    if not name or before + name + after != key:
        wrong(f"{path}.key", f"is {key!r}, which is not of its family's pattern {pattern!r}")
    return name


def page_from(
    family: dict[str, Any], path: str, metrics: tuple[Metric, ...], linker: Linker
) -> Page:
    """One family of a JSON catalogue as a page."""
    said = {name: family[name] for name in ("text", "open_names", "module") if name in family}
    return Page(
        **{"text": "", **said},
        name=family["name"],
        pattern=family.get("pattern", "{name}"),
        metrics=metrics,
        laws=linker.laws(family.get("laws", ()), f"{path}.laws"),
    )


def tuples(data: dict[str, Any]) -> dict[str, Any]:
    """``data`` with tuples for lists, as declarations hold them."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in data.items()}
