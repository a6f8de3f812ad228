"""A micro-batch's logits: the chunks that a loss handed over, the outputs, or the hidden states.

In this order: what the loss itself computed is what was trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..contract.errors import ObservationError
from ..token_types import BatchExtras
from ..window import Window
from .outputs import found_logits, labels_of, missing_logits, share_of, types_on

if TYPE_CHECKING:
    from ..reducers import LogitsReducer
    from .hidden import HiddenStates

__all__ = ["read_batch"]


def read_batch(
    reducer: LogitsReducer,
    window: Window,
    outputs: Any,
    labels: Any,
    extras: BatchExtras,
    samples: int | None,
    states: HiddenStates | None,
) -> None:
    """Fold one micro-batch into a window, wherever its logits are.

    Args:
        reducer: with what a fused loss handed over, where there is one.
        outputs: what the model returned.
        labels: ``[B, S]``, unshifted.
        extras: token types and the number of samples.
        samples: only the first so many rows count; the others pad the last batch of a set.
        states: the last hidden states, where there is a tap.

    Raises:
        ObservationError: there are no labels, or no logits in any of the three places.
    """
    labels = labels_of(labels)
    own, types = share_of(labels, samples), types_on(labels.device, extras.token_types)
    count = len(own) if samples is not None else extras.num_samples
    count = len(own) if count is None else count
    if count == 0:
        return
    if reducer.pending_rows is not None:
        first = None if samples is None else _first_rows(reducer.pending_rows, labels, samples)
        reducer.flush(window, types, count, first_rows=first)
        return
    logits, types = found_logits(outputs), share_of(types, samples)
    if logits is not None:
        types = types_on(logits.device, types)
        reducer.observe(window, share_of(logits, samples), own, types, count)
    elif states is not None:
        hidden, weight, bias = states
        hidden = share_of(hidden, samples)
        reducer.from_hidden(window, hidden, weight, own, types, bias, count)
    else:
        raise missing_logits(outputs)


def _first_rows(rows: int, labels: Any, samples: int) -> int:
    """How many of the rows of a loss belong to the first samples of a batch."""
    if rows % len(labels):
        why = f"are not those of {len(labels)} samples; which of them pad the batch is unknown"
        raise ObservationError("the logits", "rows of the loss", rows, why)
    return samples * rows // len(labels)
