"""A row says the same in whatever chunk it comes; what concerns the whole batch waits for it all.

So chunks leave their row statistics, and which types can be used, which rows a monitor samples and
how many there are is asked when the last of them has come.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .positions import (
    Misfits,
    Positions,
    aligned,
    integers_on,
    positions_in,
    refuse_labels,
    shifted,
    unusable,
    with_types,
)
from .rowstats import Request, RowStatistics, joined, row_statistics

__all__ = ["Pending", "Read", "read_hidden", "typed_once"]


class Read(NamedTuple):
    """One micro-batch after its logits were read: what each row should predict, and what it said.

    Attributes:
        positions: N rows, of which those that are supervised count.
        statistics: of the same rows.
        misfits: what could not be used.
    """

    positions: Positions
    statistics: RowStatistics
    misfits: Misfits


class _Chunk(NamedTuple):
    """Rows that were read; their types are as they were given, known or not."""

    positions: Positions
    statistics: RowStatistics
    out_of_range: Tensor
    typed: bool


class Pending:
    """The chunks of one micro-batch that nobody observed yet.

    Attributes:
        rows: how many rows came, supervised or not.
    """

    def __init__(self) -> None:
        self.discard()

    def discard(self) -> int:
        """Forget them; how many rows that were."""
        forgotten = getattr(self, "rows", 0)
        self.rows = 0
        self._chunks: list[_Chunk] = []
        self._kind: tuple[int, torch.device] | None = None
        return forgotten

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def add(self, logits: Tensor, labels: Tensor, token_types: Any, request: Request) -> None:
        """Read a chunk ``[n, V]`` with its aligned labels and types ``[n]``."""
        _refuse_chunk(logits, labels)
        self._refuse_another(logits)
        size, device = logits.shape[1], logits.device
        request.vocabulary.refuse_beyond(size)
        target = labels.detach().to(device, torch.int64, non_blocking=True)
        positions, out_of_range = aligned(target, size, request.vocabulary)
        types = integers_on(device, token_types, labels.shape)
        positions = replace(positions, types=None if types is None else types.clone())
        positions = positions.only(positions.supervised)
        statistics = row_statistics(logits.detach()[None], positions, request)
        positions = replace(positions, rows=positions.rows + self.rows)
        self._chunks.append(_Chunk(positions, statistics, out_of_range, token_types is not None))
        self.rows += len(labels)
        self._kind = (size, device)

    def take(self, token_types: Any, first_rows: int | None = None) -> Read:
        """All of them as one micro-batch, and none are left.

        Args:
            token_types: of the whole micro-batch, ``[B, S]`` and unshifted, where no chunk had any.
            first_rows: only so many of the rows that came count.
        """
        chunks, rows = self._chunks, self.rows
        self.discard()
        if not chunks:
            raise unusable("rows", 0, "are missing: nothing was updated since the last flush")
        positions = _one_after_another([chunk.positions for chunk in chunks])
        if first_rows is not None:
            positions = positions.counting(positions.rows < first_rows)
        out_of_range = torch.stack([chunk.out_of_range for chunk in chunks]).sum()
        types, given = positions.types, any(chunk.typed for chunk in chunks)
        if not given:
            types, given = typed_once(token_types, rows, positions), token_types is not None
        positions, dropped = with_types(positions, types, given=given)
        statistics = joined([chunk.statistics for chunk in chunks])
        return Read(positions, statistics, Misfits(out_of_range, dropped))

    def _refuse_another(self, logits: Tensor) -> None:
        found = (logits.shape[1], logits.device)
        if self._kind not in (None, found):
            why = f"must have the vocabulary and device of the chunks before it, {self._kind}"
            raise unusable("logits_chunk", found, why)


def typed_once(token_types: Any, rows: int, positions: Positions) -> Tensor | None:
    """Types ``[B, S]`` of the rows that came: B·S of them, or B·(S − 1) without the last ones."""
    if not isinstance(token_types, Tensor) or token_types.dim() != 2:
        return None
    shape = token_types.shape
    types = integers_on(positions.rows.device, token_types, shape)
    if types is None:
        return None
    if rows == shape[0] * (shape[1] - 1):
        return types[:, 1:].reshape(-1)[positions.rows]
    return shifted(types)[positions.rows] if rows == types.numel() else None


def read_hidden(
    hidden: Tensor,
    head: tuple[Tensor, Tensor | None],
    labels: Tensor,
    token_types: Any,
    request: Request,
    logits_bytes: int,
    *,
    coord_only: bool,
) -> Read:
    """Read the logits of ``hidden [B, S, H]`` without ever holding more than some rows of them."""
    weight, _ = head
    _refuse_hidden(hidden, *head)
    shape, size = hidden.shape[:2], len(weight)
    positions, misfits = positions_in(
        shape, size, hidden.device, labels, token_types, request.vocabulary
    )
    positions = positions.only(positions.is_coord if coord_only else positions.supervised)
    request = replace(request, entropy=request.entropy and positions.types is not None)
    flat = hidden.detach().reshape(-1, hidden.shape[2])
    at_once = max(1, min(logits_bytes // (size * weight.element_size()), len(positions.rows)))
    logits = weight.new_empty(at_once, size)
    parts = [
        _of_hidden(flat, head, positions[start : start + at_once], request, logits)
        for start in range(0, max(len(positions.rows), 1), at_once)
    ]
    return Read(positions, joined(parts), misfits)


def _of_hidden(
    flat: Tensor,
    head: tuple[Tensor, Tensor | None],
    positions: Positions,
    request: Request,
    scratch: Tensor,
) -> RowStatistics:
    """Some rows, whose logits exist in ``scratch [N, V]`` alone."""
    weight, bias = head
    rows = flat[positions.rows].to(weight.dtype)
    logits = torch.mm(rows, weight.detach().T, out=scratch[: len(rows)])
    if bias is not None:
        logits += bias.detach()
    place = torch.arange(len(rows), device=flat.device)
    return row_statistics(logits[None], replace(positions, rows=place), request)


def _one_after_another(parts: list[Positions]) -> Positions:
    """All rows; without types where one part has none."""
    types = [part.types for part in parts if part.types is not None]
    return Positions(
        torch.cat([part.rows for part in parts]),
        torch.cat([part.label for part in parts]),
        torch.cat([part.bin for part in parts]),
        torch.cat([part.supervised for part in parts]),
        torch.cat(types) if len(types) == len(parts) else None,
    )


def _refuse_chunk(logits: Any, labels: Any) -> None:
    if not isinstance(logits, Tensor) or not logits.dtype.is_floating_point:
        raise unusable("logits_chunk", logits, "must be a floating-point tensor [n, V]")
    if logits.dim() != 2 or not logits.shape[1]:
        why = "must have the shape [n, V], its rows aligned with the labels [n]"
        way_out = "unshifted logits [B, S, V] go to observe"
        raise unusable("logits_chunk", tuple(logits.shape), f"{why}; {way_out}")
    refuse_labels(labels, logits.shape[:1], "labels_chunk")


def _refuse_hidden(hidden: Any, weight: Any, bias: Any) -> None:
    for name, tensor, dimensions, shape in (
        ("hidden", hidden, 3, "[B, S, H]"),
        ("lm_head_weight", weight, 2, "[V, H]"),
        ("bias", bias, 1, "[V]"),
    ):
        if name == "bias" and bias is None:
            continue
        if not isinstance(tensor, Tensor) or not tensor.dtype.is_floating_point:
            raise unusable(name, tensor, f"must be a floating-point tensor {shape}")
        if tensor.dim() != dimensions:
            raise unusable(name, tuple(tensor.shape), f"must have the shape {shape}")
    if weight.shape[1] != hidden.shape[2] or not len(weight):
        why = f"must have the shape [V, {hidden.shape[2]}], whole and not a shard of it"
        raise unusable("lm_head_weight", tuple(weight.shape), why)
    if bias is not None and len(bias) != len(weight):
        raise unusable("bias", tuple(bias.shape), f"must have the shape [{len(weight)}]")
