"""A setting that cannot be right is refused when it is given, by its name."""

from __future__ import annotations

import math

from ..contract.errors import DeclarationError

__all__ = ["refuse", "refuse_term"]


def refuse(name: str, value: float, holds: bool, must_be: str) -> None:
    """Raise a DeclarationError unless ``holds`` and the value is finite.

    >>> try:
    ...     refuse("temperature", -1.0, False, "above 0")
    ... except DeclarationError as error:
    ...     print(error)
    temperature must be above 0 and finite; got -1.0
    """
    if not (holds and math.isfinite(value)):
        raise DeclarationError(f"{name} must be {must_be} and finite; got {value!r}")


def refuse_term(
    temperature: float,
    target_sigma: float,
    target_truncate: float | None,
    weights: tuple[float, float, float, float],
) -> None:
    """Refuse settings of the coordinate term; ``weights`` of soft_ce, w1, ce and gate."""
    refuse("temperature", temperature, temperature > 0, "above 0")
    refuse("target_sigma", target_sigma, target_sigma > 0, "above 0")
    if target_truncate is not None:
        refuse("target_truncate", target_truncate, target_truncate >= 0, "None, 0 or more")
    for name, weight in zip(("soft_ce", "w1", "ce", "gate"), weights, strict=True):
        refuse(f"{name}_weight", weight, weight >= 0, "0 or more")
