"""A fused loss returns no logits, but the last hidden states and the head say what they were.

The tap is a forward hook on the model below the head. It keeps the last hidden states of a
micro-batch until they are read; the loss, the graph and the weights know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..contract.errors import DeclarationError, ObservationError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HiddenStates", "HiddenTap"]

AFTER_THE_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
)
"""Settings of configurations that do something to ``hidden @ weight.T``."""


class HiddenStates(NamedTuple):
    """What the logits of a micro-batch would be made of.

    Attributes:
        hidden: ``[B, S, H]``, detached.
        weight: of the head, ``[V, H]``; bias: ``[V]`` or None.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None


class HiddenTap:
    """The last hidden states of a model whose loss returns ``logits=None``.

    Args:
        model: a Hugging Face model for causal language modelling, before any wrapper of a trainer;
            or, with ``base`` and ``head``, any model.
        every: read every n-th optimizer step of training, the first one too; the head is
            multiplied once more in those. An evaluation is always read.
        base: the module that returns the last hidden states, as a tensor ``[B, S, H]``, first in a
            tuple, or as ``last_hidden_state``; by default ``model.base_model``.
        head: the linear layer behind it; by default ``model.get_output_embeddings()``.

    Raises:
        DeclarationError: ``every`` is below 1, a part cannot be found, or the logits are more than
            ``hidden @ weight.T + bias``.

    >>> import torch
    >>> base, head = torch.nn.Embedding(8, 4), torch.nn.Linear(4, 8)
    >>> tap = HiddenTap(torch.nn.Sequential(base, head), base=base, head=head)
    >>> _ = base(torch.zeros(2, 3, dtype=torch.long))
    >>> tap.take().hidden.shape, tap.take()
    (torch.Size([2, 3, 4]), None)
    """

    def __init__(self, model: Any, every: int = 1, *, base: Any = None, head: Any = None) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise DeclarationError(f"every must be a whole number above 0; got {every!r}")
        bare = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.every = every
        self._head = _head_of(bare) if head is None else head
        _refuse_head(self._head, getattr(bare, "config", None))
        self._hidden: Tensor | None = None
        self._hook = (_base_of(bare) if base is None else base).register_forward_hook(self._keep)

    def _keep(self, module: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, Mapping):
            output = output.get("last_hidden_state")
        elif isinstance(output, (tuple, list)):
            output = output[0]
        hidden = getattr(output, "last_hidden_state", output)
        self._hidden = hidden.detach() if hasattr(hidden, "detach") else None

    def discard(self) -> None:
        """Forget what the last forward pass left."""
        self._hidden = None

    def take(self) -> HiddenStates | None:
        """What the last forward pass left, once; None where there was none.

        Raises:
            ObservationError: the base returned something else.
        """
        hidden, self._hidden = self._hidden, None
        if hidden is None:
            return None
        if hidden.dim() != 3:
            why = "are not [B, S, H]; name the module that returns them as base="
            raise ObservationError("the logits", "hidden states", tuple(hidden.shape), why)
        return HiddenStates(hidden, self._head.weight, self._head.bias)

    def remove(self) -> None:
        """Take the hook off the model."""
        self._hook.remove()
        self.discard()


def _head_of(model: Any) -> Any:
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is None:
        raise DeclarationError(f"{type(model).__name__} has no output embeddings; give head=")
    return head


def _base_of(model: Any) -> Any:
    base = getattr(model, "base_model", model)
    if base is model:
        raise DeclarationError(f"{type(model).__name__} has no base_model of its own; give base=")
    return base


def _refuse_head(head: Any, config: Any) -> None:
    import torch

    if not isinstance(head, torch.nn.Linear):
        kind = type(head).__name__
        way_out = "let the loss call TrainerMetrics.update on its chunks"
        raise DeclarationError(f"the head is a {kind}, not a torch.nn.Linear; {way_out}")
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    for name in AFTER_THE_HEAD:
        value = getattr(text, name, None)
        if value not in (None, 1, 1.0):
            way_out = "let the loss call TrainerMetrics.update on its chunks"
            raise DeclarationError(f"{name}={value!r} comes after the head; {way_out}")
