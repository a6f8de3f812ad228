"""Models return mappings, objects and tuples; somewhere in them are the logits, or they are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..contract.errors import ObservationError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["logits_of", "share_of", "types_on"]

WAY_OUT = "a fused loss keeps none; see LogitsReducer.update"


def logits_of(outputs: Any, labels: Any) -> Tensor:
    """The ``[B, S, V]`` logits that a model returned for labels ``[B, S]``.

    Raises:
        ObservationError: there are none, or there are no labels.
    """
    import torch

    if not isinstance(labels, torch.Tensor):
        raise ObservationError("the logits", "labels", labels, "are missing from the batch")
    if isinstance(outputs, Mapping):
        found = outputs.get("logits")
    elif isinstance(outputs, (tuple, list)):
        found = next((part for part in outputs if getattr(part, "ndim", 0) == 3), None)
    else:
        found = getattr(outputs, "logits", outputs)
    if not isinstance(found, torch.Tensor):
        raise ObservationError("the logits", "outputs", outputs, f"hold none; {WAY_OUT}")
    return found


def share_of(rows: Any, samples: int | None) -> Any:
    """The first ``samples`` rows; all of them where None."""
    return rows if rows is None or samples is None else rows[:samples]


def types_on(device: Any, token_types: Any) -> Tensor | None:
    """Token types of any kind as a tensor where the logits are."""
    import torch

    return None if token_types is None else torch.as_tensor(token_types).to(device)
