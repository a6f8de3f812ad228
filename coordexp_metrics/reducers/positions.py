"""Logits at position s predict the label at s + 1; only labels other than -100 are supervised.

Rows are numbered ``b * S + s``. The last row of a sample predicts nothing. Types shift with labels.
On the host, rows that are not supervised are dropped at once; on a device, where to know them would
be a sync, all rows stay and a mask says which count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract.errors import ObservationError
from ..token_types.codes import COORD, DESC, FORMAT, IGNORE, UNSUPERVISED
from . import hosts
from .coord_vocabulary import CoordVocabulary

__all__ = [
    "COORD",
    "DESC",
    "FORMAT",
    "IGNORE",
    "Misfits",
    "Positions",
    "aligned",
    "integers_on",
    "members",
    "positions_in",
    "positions_of",
    "refuse_labels",
    "refuse_shapes",
    "shifted",
    "types_fit",
    "unusable",
    "with_types",
]

SHIFTED_ABOVE = 0.1


@dataclass(frozen=True)
class Positions:
    """N rows of logits and what each should predict; every tensor is ``[N]``, on one device.

    Attributes:
        rows: the row number, int64, ascending.
        label: the target id, int64; 0 where nothing is supervised.
        bin: the target bin, int64; -1 where the target is no coordinate.
        supervised: whether the row counts.
        types: IGNORE, DESC, COORD or FORMAT; None where nobody gave types that can be used.
    """

    rows: Tensor
    label: Tensor
    bin: Tensor
    supervised: Tensor
    types: Tensor | None

    @property
    def is_coord(self) -> Tensor:
        """Whether the target is a coordinate (metrics_and_losses.md:359)."""
        return self.bin >= 0

    def __getitem__(self, which: slice | Tensor) -> Positions:
        """Some of the rows."""
        types = None if self.types is None else self.types[which]
        label, bins, supervised = self.label[which], self.bin[which], self.supervised[which]
        return Positions(self.rows[which], label, bins, supervised, types)

    def only(self, mask: Tensor) -> Positions:
        """The supervised rows of ``mask``; off the host the others stay, and do not count."""
        kept = self.supervised & mask
        if hosts.on_host(mask.device):
            return self[members(kept)]
        return self.counting(mask)

    def counting(self, mask: Tensor) -> Positions:
        """The same rows, of which only those of ``mask`` count."""
        return replace(self, supervised=self.supervised & mask)

    def between(self, start: int, stop: int) -> Positions:
        """The rows from ``start`` to before ``stop``, counted from ``start``."""
        if hosts.on_host(self.rows.device):
            first, last = np.searchsorted(self.rows.numpy(), [start, stop])
            part = self[int(first) : int(last)]
        else:
            part = self[start:stop]
        return Positions(part.rows - start, part.label, part.bin, part.supervised, part.types)


@dataclass(frozen=True)
class Misfits:
    """What could not be used, as 0-d tensors: labels out of range, batches of types."""

    labels: Tensor
    types: Tensor


def members(mask: Tensor) -> Tensor:
    """Where a mask on the host holds: int64. Reading host memory waits for nobody.

    >>> members(torch.tensor([False, True, True]))
    tensor([1, 2])
    """
    return torch.from_numpy(np.flatnonzero(mask.numpy()))


def positions_of(
    logits: Tensor, labels: Tensor, token_types: Any, vocabulary: CoordVocabulary
) -> tuple[Positions, Misfits]:
    """All rows of ``logits [B, S, V]`` with their shifted labels and types.

    Args:
        logits: floating point, any strides; only its shape and device are read here.
        labels: integers ``[B, S]``; a label of V or more, or negative other than -100, is counted
            and not supervised. It is masked before anything is indexed, never clamped.
        token_types: integers ``[B, S]`` or None. Types of another shape or kind, with an unknown
            id at a supervised token, or shifted (more than 10 % of the coordinate-typed tokens
            are no coordinates) are dropped for the batch and counted.
        vocabulary: the coordinate bins.

    Raises:
        ObservationError: logits or labels cannot be used at all.
        DeclarationError: the vocabulary does not hold all coordinate ids.
    """
    refuse_shapes(logits, labels)
    size, device = logits.shape[-1], logits.device
    return positions_in(logits.shape[:2], size, device, labels, token_types, vocabulary)


def positions_in(
    shape: torch.Size,
    size: int,
    device: torch.device,
    labels: Tensor,
    token_types: Any,
    vocabulary: CoordVocabulary,
) -> tuple[Positions, Misfits]:
    """The same for B samples of S positions, ``shape``, and logits over ``size`` ids to come."""
    refuse_labels(labels, shape)
    vocabulary.refuse_beyond(size)
    target = shifted(labels.detach().to(device, torch.int64, non_blocking=True))
    positions, out_of_range = aligned(target, size, vocabulary)
    types = integers_on(device, token_types, shape)
    positions, dropped = with_types(
        positions, None if types is None else shifted(types), given=token_types is not None
    )
    return positions, Misfits(out_of_range, dropped)


def aligned(
    target: Tensor, size: int | None, vocabulary: CoordVocabulary
) -> tuple[Positions, Tensor]:
    """Rows that should predict ``target [N]``, and how many targets are out of range.

    Args:
        target: int64, -100 where nothing is supervised.
        size: V; None where nobody knows it, and no target is too great.
        vocabulary: the coordinate bins.

    >>> positions, out_of_range = aligned(torch.tensor([3, -100, 9]), 5, CoordVocabulary([3, 4]))
    >>> positions.bin, positions.supervised, out_of_range
    (tensor([ 0, -1, -1]), tensor([ True, False, False]), tensor(1))
    """
    known = target >= 0
    if size is not None:
        known &= target < size
    out_of_range = (~known & (target != UNSUPERVISED)).sum()
    label = torch.where(known, target, 0)
    bins = torch.where(known, vocabulary.bins_of(label), -1)
    rows = torch.arange(target.numel(), device=target.device)
    return Positions(rows, label, bins, known, None), out_of_range


def shifted(values: Tensor) -> Tensor:
    """What each row should predict: ``values[:, 1:]``, and -100 for the last row; ``[B * S]``."""
    last = values.new_full((values.shape[0], 1), UNSUPERVISED)
    return torch.cat([values[:, 1:], last], dim=1)[:, : values.shape[1]].reshape(-1)


def with_types(
    positions: Positions, types: Tensor | None, *, given: bool
) -> tuple[Positions, Tensor]:
    """Types that can be used (else all are unknown), and how many batches of them cannot: 0 or 1.

    On a device nobody knows yet which it is, so the answer multiplies instead of deciding.

    Args:
        positions: all rows of a batch, or all that are supervised.
        types: int64, one a row; None where there are none, or none of the right shape and kind.
        given: whether somebody gave types.
    """
    dropped = torch.zeros((), dtype=torch.int64, device=positions.bin.device)
    if types is None:
        return replace(positions, types=None), dropped + int(given)
    known = (types == IGNORE) | (types == DESC) | (types == COORD) | (types == FORMAT)
    typed_coord = positions.supervised & (types == COORD)
    elsewhere = typed_coord & ~positions.is_coord
    wrong = (positions.supervised & ~known).any()
    wrong |= elsewhere.sum() > SHIFTED_ABOVE * typed_coord.sum()
    return replace(positions, types=torch.where(wrong, 0, types)), dropped + wrong


def integers_on(device: torch.device, values: Any, shape: torch.Size) -> Tensor | None:
    """Whole numbers of the shape as int64 on a device; None where they are something else."""
    if not types_fit(values, shape):
        return None
    found: Tensor = values.detach().to(device, torch.int64, non_blocking=True)
    return found


def types_fit(token_types: Any, shape: torch.Size) -> bool:
    """Whether types have the shape and the kind of labels; what they hold is another question."""
    return _are_integers(token_types) and bool(token_types.shape == shape)


def _are_integers(values: Any) -> bool:
    if not isinstance(values, Tensor) or values.dtype is torch.bool:
        return False
    return not (values.dtype.is_floating_point or values.dtype.is_complex)


def refuse_labels(labels: Any, shape: torch.Size, argument: str = "labels") -> None:
    """Raise an ObservationError for labels that are no integers of the shape."""
    if not _are_integers(labels):
        dimensions = "[B, S]" if len(shape) == 2 else "[n]"
        raise unusable(argument, labels, f"must be a tensor of integers {dimensions}")
    if labels.shape != shape:
        raise unusable(argument, tuple(labels.shape), f"must have the shape {tuple(shape)}")


def refuse_shapes(logits: Any, labels: Any) -> None:
    """Raise an ObservationError where logits or labels cannot be used at all."""
    if not isinstance(logits, Tensor) or not logits.dtype.is_floating_point:
        raise unusable("logits", logits, "must be a floating-point tensor [B, S, V]")
    if logits.dim() != 3 or not logits.shape[-1]:
        raise unusable("logits", tuple(logits.shape), "must have the shape [B, S, V], V > 0")
    refuse_labels(labels, logits.shape[:2])


def unusable(argument: str, value: object, why: str) -> ObservationError:
    """The error of an argument that cannot be read; a tuple is a shape, and is shown."""
    shown = str(value) if isinstance(value, tuple) else value
    return ObservationError("the logits", argument, shown, why)
