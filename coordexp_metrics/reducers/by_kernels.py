"""A batch that a kernel can read is observed in one call; what cannot be built is left to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor

from ..catalogue.coord_diag import Forward
from ..catalogue.health import Health
from ..window import Window
from .backends import Choice, failures
from .kernels.program import Settings
from .positions import types_fit
from .trial import differing

__all__ = ["observe_by_kernels"]

Batch: TypeAlias = "tuple[Tensor, Tensor, Any]"
Read: TypeAlias = "Callable[[Window, Batch, Forward | None], None]"


def observe_by_kernels(
    choice: Choice,
    settings: Settings,
    window: Window,
    batch: Batch,
    forward: Forward | None,
    read: Read,
) -> bool:
    """Whether kernels read the batch; else nothing was observed yet, and torch is to read it.

    Args:
        choice: the backend of the reducer.
        settings: of the reducer.
        window: where the sums go.
        batch: logits ``[B, S, V]``, labels ``[B, S]`` and token types or None.
        forward: the pass of Stage 2, or None.
        read: folds a batch into a window as plain torch does.

    Raises:
        ObservationError: triton was asked for, and the logits are on no CUDA device.
    """
    logits, labels, token_types = batch
    kernels = choice.kernels(logits, settings)
    if kernels is None:
        return False
    fit = types_fit(token_types, labels.shape)
    types = _beside(logits, token_types) if fit else None
    labels = _beside(logits, labels)
    try:
        if choice.is_on_trial(logits.device):
            one = (logits[:1], labels[:1], None if types is None else types[:1])
            layout, states = kernels.states(one[0].detach(), *one[1:], forward)
            found = differing(layout, states, lambda aside: read(aside, one, forward))
            if found:
                choice.give_up(f"the kernels and plain torch differ at {', '.join(found[:3])}")
                return False
        layout, states = kernels.states(logits.detach(), labels, types, forward)
    except failures() as error:
        if not choice.gave_up(error):
            raise
        return False
    window.observe_sums(layout.metrics, states)
    if token_types is not None and not fit and forward is None:
        window.observe(Health.token_types_dropped_total, 1)
    return True


def _beside(logits: Tensor, values: Tensor) -> Tensor:
    return values.detach().to(logits.device, non_blocking=True)
