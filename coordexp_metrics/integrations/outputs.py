"""Models return mappings, objects and tuples; somewhere in them are the logits, or they are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..contract.errors import ObservationError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["found_logits", "labels_of", "missing_logits", "share_of", "types_on"]

WAY_OUT = "a fused loss keeps none: let it call TrainerMetrics.update, or give a HiddenTap"


def labels_of(labels: Any) -> Tensor:
    """The labels of a batch.

    Raises:
        ObservationError: there are none.
    """
    import torch

    if not isinstance(labels, torch.Tensor):
        raise ObservationError("the logits", "labels", labels, "are missing from the batch")
    return labels


def missing_logits(outputs: Any) -> ObservationError:
    """The error of outputs without logits, and the ways out."""
    return ObservationError("the logits", "outputs", outputs, f"hold none; {WAY_OUT}")


def found_logits(outputs: Any) -> Tensor | None:
    """The ``[B, S, V]`` logits among what a model returned, or None."""
    import torch

    if isinstance(outputs, Mapping):
        found = outputs.get("logits")
    elif isinstance(outputs, (tuple, list)):
        found = next((part for part in outputs if getattr(part, "ndim", 0) == 3), None)
    else:
        found = getattr(outputs, "logits", outputs)
    return found if isinstance(found, torch.Tensor) else None


def share_of(rows: Any, samples: int | None) -> Any:
    """The first ``samples`` rows; all of them where None."""
    return rows if rows is None or samples is None else rows[:samples]


def types_on(device: Any, token_types: Any) -> Tensor | None:
    """Token types of any kind as a tensor where the logits are."""
    import torch

    return None if token_types is None else torch.as_tensor(token_types).to(device)
