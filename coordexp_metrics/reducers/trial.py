"""Kernels are believed once they and plain torch have said the same of one sample.

A compiler or a driver that nobody tried may make another program of them, and a wrong metric looks
like any other. So ``auto`` compares both on the first sample that it sees on a device; it waits for
that device once, and never again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from ..catalogue import CATALOGUE
from ..contract.kinds import Quantile
from ..window import Window

if TYPE_CHECKING:
    from .kernels.layout import Layout

__all__ = ["Reference", "differing"]

Reference: TypeAlias = "Callable[[Window], None]"

NEAR = 1e-3


def differing(layout: Layout, states: Tensor, reference: Reference) -> list[str]:
    """The keys whose values differ by more than a thousandth.

    Args:
        layout: of the states.
        states: what the kernels found.
        reference: observes in a window what plain torch finds in the same rows.
    """
    ours, theirs = Window(CATALOGUE, group="local"), Window(CATALOGUE, group="local")
    with _waiting():
        ours.observe_sums(layout.metrics, states)
        reference(theirs)
        found, expected = _values(ours), _values(theirs)
    # A quantile may fall on the other side of an edge of its histogram.
    keys = [metric.key for metric in layout.metrics if not isinstance(metric, Quantile)]
    return [key for key in keys if not _near(found.get(key), expected.get(key))]


def _values(window: Window) -> dict[str, float | str]:
    payload = window.close(mode="train", global_step=0)
    found = {**payload.metrics, **payload.nonfinite}
    return {key.removeprefix("local/"): value for key, value in found.items()}


def _near(a: float | str | None, b: float | str | None) -> bool:
    if a is None or b is None or isinstance(a, str) or isinstance(b, str):
        return a == b
    return math.isclose(a, b, rel_tol=NEAR, abs_tol=1e-6)


@contextmanager
def _waiting() -> Iterator[None]:
    """Waiting for the device is meant here, whatever the debug mode says of syncs elsewhere."""
    mode = torch.cuda.get_sync_debug_mode() if torch.cuda.is_available() else 0
    if mode:
        torch.cuda.set_sync_debug_mode(0)
    try:
        yield
    finally:
        if mode:
            torch.cuda.set_sync_debug_mode(mode)
