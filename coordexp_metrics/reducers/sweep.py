"""One read of the logits leaves about ten numbers a row; all the rest follows from them.

With ``m = max_i x_i``, its first index ``a`` and the coordinate ids ``C``, a row leaves

    r  = Σ exp(x_i − m)            over i ∉ C ∪ {a}
    r· = Σ exp(x_i − m) (x_i − m)  over the same
    rT = Σ exp((x_i − m) / T)      over the same

and the maximum of every block of 256 ids. ``a`` stays out because its term is exactly 1: added in
float32 it would bury a remainder of 1e-8, and with it the loss of a row that is nearly certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .coord_vocabulary import CoordVocabulary
from .parallel import UNSPLIT, in_threads
from .wide import wide

__all__ = ["BLOCK", "Reading", "Sweep", "sweep"]

BLOCK = 256
LOG2_E = math.log2(math.e)
CHUNKS_A_TASK = 16
DEVICE_ELEMENTS = 1 << 22
COLDEST = 1e-30


@dataclass(frozen=True)
class Sweep:
    """What the read leaves of n rows.

    Attributes:
        block_peaks: the maximum of each block of ids, ``[n, ceil(V / 256)]``.
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


@dataclass(frozen=True)
class Reading:
    """How to read: which ids are coordinates, at which T, and whether to sum the entropy.

    ``heated`` asks for rT, which differs from r unless T is 1.
    """

    vocabulary: CoordVocabulary
    temperature: float
    entropy: bool

    @property
    def heated(self) -> bool:
        return self.temperature != 1

    @property
    def inverse(self) -> float:
        """1 / T, finite: at a colder T all powers are 0 already."""
        return 1.0 / max(self.temperature, COLDEST)


def sweep(logits: Tensor, rows: Tensor, reading: Reading) -> Sweep:
    """Read ``rows [n]`` (ascending) of ``logits [N, V]``, a few at a time, without a copy of them.

    What is as long as the vocabulary lives in scratch buffers that stay in a core's cache; float32,
    or float64 for float64 logits.
    """
    device, size, n = logits.device, logits.shape[1], len(rows)
    precision = torch.float64 if logits.dtype is torch.float64 else torch.float32
    blocks = torch.empty(n, -(-size // BLOCK), dtype=precision, device=device)
    winner = torch.empty(n, dtype=torch.int64, device=device)
    sums = torch.zeros(3, n, dtype=wide(device), device=device)
    found = Sweep(blocks, sums[0], winner, *sums)
    at_once, width = _tile(size, device)

    def read(chunks: list[tuple[int, Tensor]]) -> None:
        pad = _Pad(min(at_once, n), size, min(width, size), precision, device)
        for start, chunk in chunks:
            _read(chunk, found[start : start + len(chunk)], pad, reading)

    chunks = list(_chunks(logits, rows, at_once))
    tasks = [chunks[i : i + CHUNKS_A_TASK] for i in range(0, len(chunks), CHUNKS_A_TASK)]
    in_threads(read, tasks, device)
    rest_heated = found.rest_heated if reading.heated else found.rest
    peak = blocks.amax(1).to(sums.dtype)
    return Sweep(blocks, peak, winner, found.rest, found.rest_dot, rest_heated)


class _Pad:
    """Scratch memory of one thread."""

    def __init__(
        self, rows: int, size: int, width: int, precision: torch.dtype, device: torch.device
    ) -> None:
        self.width = width
        self.precision = precision
        self.source = torch.empty(rows, size, dtype=precision, device=device)
        self.shifted, self.powers = torch.empty(2, rows, width, dtype=precision, device=device)
        self.coldest = 1.2 * math.log2(torch.finfo(precision).tiny)


def _tile(size: int, device: torch.device) -> tuple[int, int]:
    """Rows and columns that one operation takes: on a host too few for torch to split it."""
    if device.type != "cpu":
        return max(1, DEVICE_ELEMENTS // size), size
    if size <= UNSPLIT:
        return UNSPLIT // size, size
    tiles = -(-size // (UNSPLIT - BLOCK))
    return 1, -(-size // (tiles * BLOCK)) * BLOCK


def _chunks(logits: Tensor, rows: Tensor, at_once: int) -> Iterator[tuple[int, Tensor]]:
    """Views of at most ``at_once`` neighbours that are wanted, each with its place in ``rows``."""
    if logits.device.type != "cpu":
        for start, chunk in enumerate(torch.split(logits, at_once)):
            yield start * at_once, chunk
        return
    numbers = rows.numpy()
    runs = np.flatnonzero(np.diff(numbers, prepend=-2) != 1).tolist()
    for start, stop in pairwise([*runs, len(numbers)]):
        for begin in range(start, stop, at_once):
            length = min(at_once, stop - begin)
            yield begin, logits.narrow(0, int(numbers[begin]), length)


def _read(chunk: Tensor, out: Sweep, pad: _Pad, reading: Reading) -> None:
    """Two passes over a few rows: the first finds m and a, the second sums what lies below."""
    n, source = len(chunk), chunk
    if chunk.dtype is not pad.precision or chunk.stride(1) != 1:
        source = pad.source[:n]
    tiles = list(zip(*(torch.split(x, pad.width, 1) for x in (chunk, source)), strict=True))
    for (tile, wide_tile), peaks in zip(
        tiles, torch.split(out.block_peaks, -(-pad.width // BLOCK), 1), strict=True
    ):
        if wide_tile is not tile:
            wide_tile.copy_(tile)
        _block_peaks(wide_tile, peaks)
    peak = out.block_peaks.amax(1, keepdim=True)
    peak = torch.where(peak.isfinite(), peak, 0.0)
    out.winner.copy_(_first(source, out.block_peaks))
    for index, (_, tile) in enumerate(tiles):
        _sum_below(tile, index * pad.width, peak, out, pad, reading)


def _sum_below(
    tile: Tensor, offset: int, peak: Tensor, out: Sweep, pad: _Pad, reading: Reading
) -> None:
    """Add what the ids from ``offset`` on contribute to r, r· and rT."""
    n, width = tile.shape
    shifted, powers = pad.shifted[:n, :width], pad.powers[:n, :width]
    torch.sub(tile, peak, out=shifted).mul_(LOG2_E)
    if reading.heated:
        torch.mul(shifted, reading.inverse, out=powers).exp2_()
        _leave_out(powers, offset, out.winner, reading.vocabulary)
        out.rest_heated.add_(powers.sum(1))
    if reading.entropy:
        shifted.clamp_(min=pad.coldest)
    torch.exp2(shifted, out=powers)
    _leave_out(powers, offset, out.winner, reading.vocabulary)
    out.rest.add_(powers.sum(1))
    if reading.entropy:
        out.rest_dot.add_(powers.mul_(shifted).sum(1), alpha=1 / LOG2_E)


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


def _leave_out(powers: Tensor, offset: int, winner: Tensor, vocabulary: CoordVocabulary) -> None:
    """The winner and the coordinates are added later, exactly."""
    vocabulary.forget(powers, offset)
    if powers.device.type != "cpu":
        powers.scatter_(1, winner[:, None], 0.0)
        return
    column = winner.numpy() - offset
    for row in np.flatnonzero((column >= 0) & (column < powers.shape[1])).tolist():
        powers.numpy()[row, column[row]] = 0.0
