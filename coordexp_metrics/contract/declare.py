"""The declaring words: one line of a family is one metric.

    class Matching(Family, pattern="rollout/{name}"):
        matched_for_supervision = total("predictions matched and supervised", unit=OBJECT)
        valid_pred_objects_total = total("predicted objects that parsed", unit=OBJECT)
        precision = rate("matched / predicted", matched_for_supervision, valid_pred_objects_total)

What a line leaves out comes from its family: modes, source, condition, who emits it.
"""

from __future__ import annotations

import sys
from typing import TypedDict, Unpack

from .deprecation import Deprecated, deprecated
from .errors import DeclarationError
from .formula import Expression
from .kinds import (
    Agreed,
    Cumulative,
    Derived,
    Flag,
    Maximum,
    Mean,
    Minimum,
    Quantile,
    Rate,
    SharedQuantile,
    SlowestRank,
    Total,
)
from .metric import Better, Bounds, Metric, Mode
from .units import BIN, FLAG, FRACTION, KNOB, PROBABILITY, SECOND, Condition, Unit

__all__ = [
    "agreed",
    "cumulative",
    "deprecated",
    "derived",
    "flag",
    "maximum",
    "mean",
    "minimum",
    "quantile",
    "rate",
    "shared_quantile",
    "slowest_rank",
    "total",
]


class About(TypedDict, total=False):
    """What any declaration may add."""

    name: str
    better: Better
    bounds: Bounds
    in_loss: bool
    in_loss_when: str
    modes: tuple[Mode, ...]
    when: Condition
    emitted_by: tuple[str, ...]
    source: str
    aliases: tuple[str, ...]
    logged_aliases: tuple[str, ...]
    alias_switch: str
    deprecated: Deprecated
    eval_twin: Metric


BOUNDS_OF_UNIT: dict[Unit, Bounds] = {
    FRACTION: (0.0, 1.0),
    PROBABILITY: (0.0, 1.0),
    FLAG: (0.0, 1.0),
    BIN: (0.0, 999.0),
    SECOND: (0.0, None),
}


def _declared_at() -> tuple[str, int]:
    frame = sys._getframe(2)  # noqa: SLF001
    return frame.f_code.co_filename, frame.f_lineno


def _bounded(about: About, unit: Unit) -> About:
    return {"bounds": BOUNDS_OF_UNIT.get(unit, (None, None)), **about}


def total(
    description: str, *, unit: Unit, absent_at_zero: bool = False, **about: Unpack[About]
) -> Total:
    """A sum over everything in the window; with ``absent_at_zero``, a zero is not logged."""
    more: About = {"bounds": (0, None), **about}
    return Total(
        description=description,
        unit=unit,
        absent_at_zero=absent_at_zero,
        declared_at=_declared_at(),
        **more,
    )


def mean(
    description: str,
    *,
    per: Unit,
    unit: Unit = FRACTION,
    formula: Expression | None = None,
    **about: Unpack[About],
) -> Mean:
    """A mean over the population ``per``; a ``formula`` is checked, never computed."""
    return Mean(
        description=description,
        unit=unit,
        population=per,
        formula=formula,
        declared_at=_declared_at(),
        **_bounded(about, unit),
    )


def rate(description: str, numerator: Total, denominator: Total, **about: Unpack[About]) -> Rate:
    """A ratio of two totals."""
    return Rate(
        description=description,
        unit=FRACTION,
        population=denominator.unit,
        formula=numerator / denominator,
        declared_at=_declared_at(),
        **_bounded(about, FRACTION),
    )


def derived(
    description: str, formula: Expression, *, unit: Unit, **about: Unpack[About]
) -> Derived:
    """A formula over declared metrics."""
    return Derived(
        description=description,
        unit=unit,
        formula=formula,
        declared_at=_declared_at(),
        **_bounded(about, unit),
    )


def maximum(description: str, *, unit: Unit, **about: Unpack[About]) -> Maximum:
    """The greatest value in the window."""
    return Maximum(
        description=description, unit=unit, declared_at=_declared_at(), **_bounded(about, unit)
    )


def minimum(description: str, *, unit: Unit, **about: Unpack[About]) -> Minimum:
    """The least value in the window."""
    return Minimum(
        description=description, unit=unit, declared_at=_declared_at(), **_bounded(about, unit)
    )


def flag(description: str, *, everywhere: bool = False, **about: Unpack[About]) -> Flag:
    """0 or 1: whether something was on anywhere, or ``everywhere``."""
    return Flag(
        description=description,
        unit=FLAG,
        everywhere=everywhere,
        declared_at=_declared_at(),
        **_bounded(about, FLAG),
    )


def agreed(description: str, *, unit: Unit = KNOB, **about: Unpack[About]) -> Agreed:
    """A setting that is equal on all ranks."""
    return Agreed(
        description=description, unit=unit, declared_at=_declared_at(), **_bounded(about, unit)
    )


def slowest_rank(description: str, *, unit: Unit, **about: Unpack[About]) -> SlowestRank:
    """Wall clock: summed within a rank, the greatest over ranks, summed over steps."""
    more: About = {"bounds": (0, None), **about}
    return SlowestRank(description=description, unit=unit, declared_at=_declared_at(), **more)


def quantile(
    level: float,
    description: str,
    *,
    unit: Unit,
    per: Unit | None = None,
    limits: tuple[float, float] | None = None,
    **about: Unpack[About],
) -> Quantile:
    """A quantile; values that are no coordinate bins need the ``limits`` of their histogram."""
    if not 0 < level < 1:
        raise DeclarationError(f"a quantile's level lies between 0 and 1, not {level!r}")
    if limits is None and unit != BIN:
        raise DeclarationError(f"{description!r}: a quantile in {unit}s needs limits=(low, high)")
    return Quantile(
        description=description,
        unit=unit,
        population=per,
        level=level,
        limits=limits,
        declared_at=_declared_at(),
        **_bounded(about, unit),
    )


def shared_quantile(
    level: float, description: str, *, of: Quantile, **about: Unpack[About]
) -> SharedQuantile:
    """Another quantile of the population of ``of``, read from the same histogram."""
    return SharedQuantile(
        description=description,
        unit=of.unit,
        population=of.population,
        level=level,
        of=of,
        declared_at=_declared_at(),
        **_bounded(about, of.unit),
    )


def cumulative(description: str, *, of: Total, **about: Unpack[About]) -> Cumulative:
    """The running sum of a total over the run, kept in its checkpoints."""
    more: About = {"bounds": (0, None), **about}
    return Cumulative(
        description=description, unit=of.unit, of=of, declared_at=_declared_at(), **more
    )
