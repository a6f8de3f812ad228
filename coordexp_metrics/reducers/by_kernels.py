"""A batch that a kernel can read is observed in one call; what cannot be built is left to torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..catalogue.coord_diag import Forward
from ..catalogue.health import Health
from ..catalogue.stage1 import Stage1CoordDiag
from ..window import Window
from .backends import Choice, failures
from .kernels.program import Settings
from .positions import types_fit

__all__ = ["observe_by_kernels"]


def observe_by_kernels(
    choice: Choice,
    settings: Settings,
    window: Window,
    batch: tuple[Tensor, Tensor, Any],
    forward: Forward | None,
) -> bool:
    """Whether kernels read the batch; else nothing was observed yet, and torch is to read it.

    Args:
        choice: the backend of the reducer.
        settings: of the reducer.
        window: where the sums go.
        batch: logits ``[B, S, V]``, labels ``[B, S]`` and token types or None.
        forward: the pass of Stage 2, or None.

    Raises:
        ObservationError: triton was asked for, and the logits are on no CUDA device.
    """
    logits, labels, token_types = batch
    kernels = choice.kernels(logits, settings)
    if kernels is None:
        return False
    fit = types_fit(token_types, labels.shape)
    try:
        layout, states = kernels.states(
            logits.detach(),
            _beside(logits, labels),
            _beside(logits, token_types) if fit else None,
            forward,
        )
    except failures() as error:
        if not choice.gave_up(error):
            raise
        return False
    window.observe_sums(layout.metrics, states)
    if forward is None:
        window.observe(Stage1CoordDiag.enabled, float(settings.weights.enabled))
        if token_types is not None and not fit:
            window.observe(Health.token_types_dropped_total, 1)
    return True


def _beside(logits: Tensor, values: Tensor) -> Tensor:
    return values.detach().to(logits.device, non_blocking=True)
