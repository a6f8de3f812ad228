"""A1 is the first iteration, A2 the last of several, B the rollout pass.

The contract says so in metrics_and_losses.md:111-113.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...catalogue.coord_diag import Forward
from ...contract.errors import DeclarationError, ObservationError
from ...window import Window
from .atoms import Channel

if TYPE_CHECKING:
    from torch import Tensor

    from ..reducer import LogitsReducer

__all__ = ["CoordDiagnostics"]


class CoordDiagnostics:
    """Sends the logits of a forward pass to the ``coord_diag`` keys of its provenance, or nowhere.

    Args:
        reducer: what reads the logits.
        weight: of the ``coord_diag`` module; 0 observes nothing (metrics_and_losses.md:109).
        n_softctx_iter: how many forward passes Channel-A makes; A2 exists where there are several.

    Raises:
        DeclarationError: an argument cannot be right.

    >>> from coordexp_metrics.reducers import LogitsReducer
    >>> diagnostics = CoordDiagnostics(LogitsReducer([2, 3]), n_softctx_iter=3)
    >>> [diagnostics.provenance("A", iteration) for iteration in range(3)]
    [<Forward.GT_ANCHOR: 'A1'>, None, <Forward.SELF_CONTEXT: 'A2'>]
    """

    def __init__(
        self, reducer: LogitsReducer, weight: float = 1.0, n_softctx_iter: int = 1
    ) -> None:
        if not math.isfinite(weight):
            raise DeclarationError(f"the weight of coord_diag must be finite; got {weight!r}")
        if isinstance(n_softctx_iter, bool) or n_softctx_iter < 1:
            raise DeclarationError(f"n_softctx_iter must be 1 or more; got {n_softctx_iter!r}")
        self.reducer = reducer
        self.weight = weight
        self.n_softctx_iter = n_softctx_iter

    def provenance(self, channel: Channel, iteration: int = 0) -> Forward | None:
        """What a pass is called; None where it is not diagnosed.

        Raises:
            ObservationError: no such channel, or no such iteration of it.
        """
        passes = {"A": self.n_softctx_iter, "B": 1}.get(channel)
        if passes is None:
            raise ObservationError("coord_diag", "channel", channel, "must be 'A' or 'B'")
        if not 0 <= iteration < passes:
            why = f"must be from 0 to {passes - 1} in Channel-{channel}"
            raise ObservationError("coord_diag", "iteration", iteration, why)
        if not self.weight:
            return None
        if channel == "B":
            return Forward.ROLLOUT
        last = iteration == passes - 1
        return Forward.GT_ANCHOR if iteration == 0 else Forward.SELF_CONTEXT if last else None

    def observe(
        self,
        window: Window,
        logits: Tensor,
        labels: Tensor,
        *,
        channel: Channel,
        iteration: int = 0,
    ) -> Forward | None:
        """Fold one forward pass into a window, and say as what.

        Args:
            window: where the sums go.
            logits: ``[B, S, V]``, unshifted, as ``LogitsReducer.observe`` takes them.
            labels: integers ``[B, S]``.
            channel: what the step runs.
            iteration: which self-context pass of Channel-A, from 0.
        """
        forward = self.provenance(channel, iteration)
        if forward is not None:
            self.reducer.observe(window, logits, labels, provenance=forward)
        return forward
