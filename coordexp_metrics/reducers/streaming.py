"""A loss that never holds all logits shows what it holds, and the metrics are the same.

Three ways: the loss hands over its own chunks (``update``, then ``flush`` once a micro-batch), the
hidden states are multiplied by the head once more (``from_hidden``), or the loss keeps each row's
log-sum-exp (``from_log_sum_exp``). None of them keeps logits or touches gradients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from ..catalogue.coord_diag import Forward
from ..window import Window
from .chunks import Pending, Read, read_hidden
from .log_sum_exp import read_log_sum_exp
from .rowstats import Request

__all__ = ["Streaming"]

LOGITS_BYTES = 1 << 26


class Streaming(ABC):
    """What :class:`LogitsReducer` offers to a loss that keeps no logits.

    One micro-batch is pending at a time: models that train in turns need a reducer each.
    """

    def __init__(self) -> None:
        self._pending = Pending()

    @abstractmethod
    def _request(self, forward: Forward | None = None, *, entropy: bool) -> Request: ...

    @abstractmethod
    def _fold(
        self,
        window: Window,
        read: Read,
        num_samples: float | Tensor | None,
        forward: Forward | None,
    ) -> None: ...

    @property
    def pending_rows(self) -> int | None:
        """How many rows ``update`` took since the last ``flush``; None without any call of it."""
        return self._pending.rows if self._pending else None

    def update(
        self, logits_chunk: Tensor, labels_chunk: Tensor, token_types_chunk: Tensor | None = None
    ) -> None:
        """Read a chunk of a micro-batch; about 150 bytes a row are kept, and no logits.

        A fused loss calls it from inside its loop, on each chunk, in the order of the rows. The
        chunk may be overwritten as soon as the call returns.

        Args:
            logits_chunk: ``[n, V]``, any floating-point type and strides.
            labels_chunk: integers ``[n]``, aligned: ``labels_chunk[i]`` is what row i predicts, and
                -100 where nothing is supervised.
            token_types_chunk: integers ``[n]``, aligned likewise; all chunks have them, or none.

        Raises:
            ObservationError: a shape or a dtype cannot be read, or the vocabulary is not that of
                the chunks before. An unshifted ``[B, S, V]`` is for ``observe``.
            DeclarationError: a coordinate id lies outside the vocabulary of the logits.

        >>> import torch
        >>> from coordexp_metrics import CATALOGUE
        >>> from coordexp_metrics.reducers import LogitsReducer
        >>> reducer, window = LogitsReducer([0, 1]), Window(CATALOGUE, group="local")
        >>> for labels in torch.tensor([[1, 3], [2, -100]]):
        ...     reducer.update(torch.zeros(2, 4), labels)
        >>> reducer.pending_rows
        4
        >>> reducer.flush(window, num_samples=1)
        >>> window.close(mode="train", global_step=1).metrics["base_ce/loss"]
        1.3862943611198906
        """
        request = self._request(entropy=True)  # who knows whether types come with the flush
        self._pending.add(logits_chunk, labels_chunk, token_types_chunk, request)

    def flush(
        self,
        window: Window,
        token_types: Tensor | None = None,
        num_samples: float | Tensor | None = None,
        provenance: str | None = None,
        first_rows: int | None = None,
    ) -> None:
        """Fold what ``update`` read into a window, as one micro-batch, as ``observe`` would.

        Nothing is pending afterwards, also where this raises.

        Args:
            window: where the sufficient statistics go.
            token_types: of the micro-batch, ``[B, S]`` and unshifted, where the chunks had none.
                The rows came as B·S, or as B·(S − 1) without the last position of each sample.
            num_samples: original samples in the packs; without it ``pack/num_samples`` and what is
                per sample are absent, since rows do not say how many samples they are.
            provenance: A1, A2 or B; then only ``coord_diag/<provenance>/*`` is observed.
            first_rows: only so many rows count; the others pad the last batch of a set.

        Raises:
            ObservationError: no chunk came since the last flush.
        """
        read = self._pending.take(token_types, first_rows)
        self._fold(window, read, num_samples, None if provenance is None else Forward(provenance))

    def discard(self) -> int:
        """Forget what is pending of a micro-batch that was interrupted; how many rows that were."""
        return self._pending.discard()

    def from_hidden(
        self,
        window: Window,
        hidden: Tensor,
        lm_head_weight: Tensor,
        labels: Tensor,
        token_types: Tensor | None = None,
        bias: Tensor | None = None,
        num_samples: float | Tensor | None = None,
        provenance: str | None = None,
        logits_bytes: int = LOGITS_BYTES,
    ) -> None:
        """Fold one micro-batch in, whose logits would be ``hidden @ lm_head_weight.T + bias``.

        A second multiplication by the head, for evaluation or every n-th step. On a host the rows
        that are not supervised are not multiplied.

        Args:
            window: where the sufficient statistics go.
            hidden: the last hidden states ``[B, S, H]``, unshifted.
            lm_head_weight: ``[V, H]``, whole; the logits are computed in its dtype.
            labels: integers ``[B, S]``, unshifted, as for ``observe``; so are the token types.
            bias: ``[V]``.
            num_samples: original samples in the packs; None means B.
            provenance: A1, A2 or B; then only ``coord_diag/<provenance>/*`` is observed.
            logits_bytes: so many bytes of logits exist at a time, or one row.

        Raises:
            ObservationError: an argument has a shape or a dtype that cannot be read.
            DeclarationError: a coordinate id lies outside the vocabulary of the head.

        >>> import torch
        >>> from coordexp_metrics import CATALOGUE
        >>> from coordexp_metrics.reducers import LogitsReducer
        >>> window, head = Window(CATALOGUE, group="local"), torch.eye(4)
        >>> labels = torch.tensor([[-100, 3, 1]])
        >>> LogitsReducer([0, 1]).from_hidden(window, torch.zeros(1, 3, 4), head, labels)
        >>> window.close(mode="train", global_step=1).metrics["coord_diag/coord_vocab_mass"]
        0.5
        """
        forward = None if provenance is None else Forward(provenance)
        request = self._request(forward, entropy=True)
        head, alone = (lm_head_weight, bias), forward is not None
        read = read_hidden(
            hidden, head, labels, token_types, request, logits_bytes, coord_only=alone
        )
        self._fold(window, read, len(labels) if num_samples is None else num_samples, forward)

    def from_log_sum_exp(
        self,
        window: Window,
        lse: Tensor,
        coord_logits: Tensor,
        labels: Tensor,
        *,
        target_logits: Tensor | None = None,
        lse_at_temperature: Tensor | None = None,
        token_types: Tensor | None = None,
        num_samples: float | Tensor | None = None,
        provenance: str | None = None,
    ) -> None:
        """Fold in what a loss knows of n rows that it never wrote down: no logits, no vocabulary.

        Args:
            window: where the sufficient statistics go.
            lse: ``log Σ_i exp x_i`` of each row over the whole vocabulary, nats, ``[n]``.
            coord_logits: ``[n, K]``, by bin: ``hidden @ lm_head_weight[coord_token_ids].T``.
            labels: integers ``[n]``, aligned as for ``update``.
            target_logits: the logit of each label, ``[n]``; ``base_ce/loss`` is absent without.
            lse_at_temperature: ``log Σ_i exp(x_i / T)``, ``[n]``, where T is not 1. Without it mass
                and gate are absent, and ``coord_diag/loss`` too where the gate has a weight.
            token_types: integers ``[n]``, aligned.
            num_samples: original samples in the packs; ``pack/num_samples`` is absent without.
            provenance: A1, A2 or B; then only ``coord_diag/<provenance>/*`` is observed.

        Accuracies, entropies and flips are absent: they need the other logits. A float32 ``lse``
        is known to 6e-8 of itself, and so, absolutely, is the gate (``docs/reducers.md``).

        Raises:
            ObservationError: an argument has a shape or a dtype that cannot be read.

        >>> import torch
        >>> from coordexp_metrics import CATALOGUE
        >>> from coordexp_metrics.reducers import LogitsReducer
        >>> window, lse = Window(CATALOGUE, group="local"), torch.tensor([4.0]).log()
        >>> reducer, labels = LogitsReducer([0, 1]), torch.tensor([1])
        >>> reducer.from_log_sum_exp(window, lse, torch.zeros(1, 2), labels)
        >>> round(window.close(mode="train", global_step=1).metrics["coord_diag/gate"], 6)
        0.693147
        """
        forward = None if provenance is None else Forward(provenance)
        request = self._request(forward, entropy=False)
        read = read_log_sum_exp(
            lse, coord_logits, labels, target_logits, lse_at_temperature, token_types, request
        )
        self._fold(window, read, num_samples, forward)
