"""One read of the logits leaves about ten numbers a row; all the rest follows from them.

With ``m = max_i x_i``, its first index ``a`` and the coordinate ids ``C``, a row leaves

    r  = Σ exp(x_i − m)            over i ∉ C ∪ {a}
    r· = Σ exp(x_i − m) (x_i − m)  over the same
    rT = Σ exp((x_i − m) / T)      over the same

and the maximum of every block of 512 ids. ``a`` stays out because its term is exactly 1: added in
float32 it would bury a remainder of 1e-8, and with it the loss of a row that is nearly certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .coord_vocabulary import CoordVocabulary
from .wide import wide

__all__ = ["BLOCK", "Sweep", "sweep"]

BLOCK = 512
LOG2_E = math.log2(math.e)
HOST_ELEMENTS = 1 << 20
DEVICE_ELEMENTS = 1 << 22
COLDEST = 1e-30


@dataclass(frozen=True)
class Sweep:
    """What the read leaves of n rows.

    Attributes:
        block_peaks: the maximum of each block of ids, ``[n, ceil(V / 512)]``.
        peak: m, NaN or infinite where the row is not finite; float64 ``[n]``, as what follows.
        winner: a, int64 ``[n]``.
        rest: r.
        rest_dot: r·, in nats; empty unless asked for.
        rest_heated: rT; r itself at temperature 1.
    """

    block_peaks: Tensor
    peak: Tensor
    winner: Tensor
    rest: Tensor
    rest_dot: Tensor
    rest_heated: Tensor

    def __getitem__(self, which: slice) -> Sweep:
        """Some of the rows."""
        return Sweep(*(getattr(self, field.name)[which] for field in fields(self)))


def sweep(
    logits: Tensor,
    rows: Tensor,
    vocabulary: CoordVocabulary,
    temperature: float,
    *,
    entropy: bool,
    heated: bool,
) -> Sweep:
    """Read ``rows [n]`` (ascending) of ``logits [N, V]`` in place, a few rows at a time.

    Everything that is as long as the vocabulary lives in two scratch buffers of a few rows, which
    stay in the cache; float32, or float64 for float64 logits.
    """
    device, size = logits.device, logits.shape[-1]
    precision = torch.float64 if logits.dtype is torch.float64 else torch.float32
    n, budget = len(rows), HOST_ELEMENTS if device.type == "cpu" else DEVICE_ELEMENTS
    at_once = max(1, min(n, budget // size))
    scratch = torch.empty(2, at_once, size, dtype=precision, device=device)
    blocks = torch.empty(n, -(-size // BLOCK), dtype=precision, device=device)
    winner = torch.empty(n, dtype=torch.int64, device=device)
    sums = torch.zeros(3, n, dtype=wide(device), device=device)
    done = 0
    for chunk in _chunks(logits, rows, at_once):
        here = slice(done, done := done + len(chunk))
        shifted, powers = scratch[0, : len(chunk)], scratch[1, : len(chunk)]
        source = chunk
        if chunk.dtype is not precision or chunk.stride(1) != 1:
            source = shifted.copy_(chunk)
        _block_peaks(source, blocks[here])
        peak = blocks[here].amax(1, keepdim=True)
        winner[here] = column = _first(source, blocks[here])
        torch.sub(source, torch.where(peak.isfinite(), peak, 0.0), out=shifted).mul_(LOG2_E)
        if heated:
            torch.mul(shifted, 1.0 / max(temperature, COLDEST), out=powers).exp2_()
            sums[2, here] = _without(powers, column, vocabulary).sum(1)
        if entropy:
            shifted.clamp_(min=_to_zero(precision))
        torch.exp2(shifted, out=powers)
        sums[0, here] = _without(powers, column, vocabulary).sum(1)
        if entropy:
            sums[1, here] = powers.mul_(shifted).sum(1) / LOG2_E
    rest, rest_dot, rest_heated = sums
    peaks = blocks.amax(1).to(sums.dtype) if n else sums[0]
    return Sweep(blocks, peaks, winner, rest, rest_dot, rest_heated if heated else rest)


def _chunks(logits: Tensor, rows: Tensor, at_once: int) -> Iterator[Tensor]:
    """Views of at most ``at_once`` rows: neighbours that are wanted, without a copy."""
    if logits.device.type != "cpu":
        yield from torch.split(logits, at_once)
        return
    numbers = rows.numpy()
    start = 0
    while start < len(numbers):
        first, stop = numbers[start], start + 1
        while (
            stop < len(numbers) and stop - start < at_once and numbers[stop] == first + stop - start
        ):
            stop += 1
        yield logits.narrow(0, int(first), stop - start)
        start = stop


def _block_peaks(source: Tensor, out: Tensor) -> None:
    whole = source.shape[1] // BLOCK
    if whole:
        inner = torch.unflatten(source[:, : whole * BLOCK], 1, (whole, BLOCK))
        torch.amax(inner, 2, out=out[:, :whole])
    if whole < out.shape[1]:
        torch.amax(source[:, whole * BLOCK :], 1, out=out[:, whole])


def _first(source: Tensor, block_peaks: Tensor) -> Tensor:
    """The first index of each row's maximum: within the first block that holds it."""
    start = block_peaks.argmax(1, keepdim=True) * BLOCK
    inside = start + torch.arange(BLOCK, device=source.device)
    values = source.gather(1, inside.clamp_(max=source.shape[1] - 1))
    return (start + values.argmax(1, keepdim=True)).squeeze(1)


def _without(powers: Tensor, winner: Tensor, vocabulary: CoordVocabulary) -> Tensor:
    """Leave the winner and the coordinates out: they are added later, exactly."""
    vocabulary.forget(powers)
    return powers.scatter_(1, winner[:, None], 0.0)


def _to_zero(precision: torch.dtype) -> float:
    """An exponent whose power of two is 0, and which is finite where −∞ · 0 would be NaN."""
    return 1.2 * math.log2(torch.finfo(precision).tiny)
