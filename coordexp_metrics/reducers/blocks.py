"""The read itself: tile by tile through two scratch buffers that stay in a core's cache.

A row is read twice, the second time from the cache: once for its maximum m, then for the powers
``exp(x_i − m)``, which are ``exp2((x_i − m) log2 e)`` since torch has a faster exp2 than exp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import hosts
from .coord_vocabulary import CoordVocabulary
from .parallel import UNSPLIT

__all__ = ["BLOCK", "Blocks", "Reading", "read_blocks", "rows_at_once"]

BLOCK = 256
DEVICE_ELEMENTS = 1 << 22
LOG2_E = math.log2(math.e)
COLDEST = 1e-30


@dataclass(frozen=True)
class Reading:
    """How to read: which ids are coordinates, at which T, and whether to sum the entropy."""

    vocabulary: CoordVocabulary
    temperature: float
    entropy: bool

    @property
    def heated(self) -> bool:
        """Whether T differs from 1."""
        return self.temperature != 1

    @property
    def inverse(self) -> float:
        """1 / T, finite: at a colder T all powers are 0 already."""
        return 1.0 / max(self.temperature, COLDEST)


@dataclass(frozen=True)
class Blocks:
    """Per row and block of 256 ids, ``[n, ceil(V / 256)]``; coordinates count in ``peaks`` only.

    Attributes:
        peaks: max x_i.
        sums: Σ exp(x_i − m).
        dots: Σ exp(x_i − m) (x_i − m), in nats; anything unless the entropy is asked for.
        heated: Σ exp((x_i − m) / T); anything at temperature 1.
    """

    peaks: Tensor
    sums: Tensor
    dots: Tensor
    heated: Tensor


def rows_at_once(size: int, device: torch.device) -> int:
    """How many rows of a vocabulary one operation takes: on a host too few for torch to split."""
    budget = UNSPLIT if hosts.on_host(device) else DEVICE_ELEMENTS
    return max(1, budget // size)


def read_blocks(logits: Tensor, rows: Tensor, reading: Reading) -> Blocks:
    """Read ``rows [n]`` (ascending) of ``logits [N, V]``; float32, float64 for float64 logits.

    A logit of −∞ has no power, but 0 · −∞ is NaN. On a host such rows are rare and read again.
    """
    on_host = hosts.on_host(logits.device)
    read = _read(logits, rows, reading, guarded=not on_host)
    if on_host and reading.entropy and bool(np.isnan(read.dots.numpy()).any()):
        read = _read(logits, rows, reading, guarded=True)
    return read


def _read(logits: Tensor, rows: Tensor, reading: Reading, *, guarded: bool) -> Blocks:
    size, device = logits.shape[1], logits.device
    precision = torch.float64 if logits.dtype is torch.float64 else torch.float32
    out = torch.empty(4, len(rows), -(-size // BLOCK), dtype=precision, device=device)
    at_once = min(rows_at_once(size, device), len(rows))
    tile_blocks = _tile_blocks(size, device)
    scratch = _Scratch(at_once, size, precision, device)
    for start, chunk in _chunks(logits, rows, at_once):
        here = out[:, start : start + len(chunk)]
        source = scratch.converted(chunk)
        tiles = list(
            zip(
                torch.split(source, tile_blocks * BLOCK, 1),
                torch.split(here, tile_blocks, 2),
                strict=True,
            )
        )
        for tile, blocks in tiles:
            _peaks(tile, blocks[0])
        m = here[0].amax(1, keepdim=True)
        for index, (tile, blocks) in enumerate(tiles):
            views = scratch.views(*tile.shape)
            torch.sub(tile, m, out=views.shifted).mul_(LOG2_E)
            _sums(views, index * tile_blocks * BLOCK, blocks, reading, guarded)
    out[2] /= LOG2_E
    return Blocks(*out)


def _tile_blocks(size: int, device: torch.device) -> int:
    """Blocks in a tile: the whole row, or on a host as few as torch does not split."""
    blocks = -(-size // BLOCK)
    tiles = -(-size // (UNSPLIT // BLOCK * BLOCK)) if hosts.on_host(device) else 1
    return -(-blocks // tiles)


def _peaks(tile: Tensor, out: Tensor) -> None:
    whole = tile.shape[1] // BLOCK
    if whole:
        inner = torch.unflatten(tile[:, : whole * BLOCK], 1, (whole, BLOCK))
        torch.amax(inner, 2, out=out[:, :whole])
    if whole < out.shape[1]:
        torch.amax(tile[:, whole * BLOCK :], 1, out=out[:, whole])


def _sums(views: _Views, offset: int, out: Tensor, reading: Reading, guarded: bool) -> None:
    """Sums over the blocks of a tile whose first id is ``offset``, from ``(x − m) log2 e``."""
    shifted, powers = views.shifted, views.powers
    if reading.heated:
        torch.mul(shifted, reading.inverse, out=powers).exp2_()
        reading.vocabulary.forget(powers, offset)
        torch.sum(views.blocks, 2, out=out[3])
    if guarded:
        shifted.clamp_(min=_to_zero(shifted.dtype))
    torch.exp2(shifted, out=powers)
    reading.vocabulary.forget(powers, offset)
    torch.sum(views.blocks, 2, out=out[1])
    if reading.entropy:
        powers.mul_(shifted)
        torch.sum(views.blocks, 2, out=out[2])


def _to_zero(precision: torch.dtype) -> float:
    """An exponent of two whose power is 0, finite where 0 · −∞ would be NaN."""
    return 1.2 * math.log2(torch.finfo(precision).tiny)


class _Views(NamedTuple):
    """Scratch for a tile ``[n, w]``; ``blocks`` is ``powers`` by block, with zeros behind it."""

    shifted: Tensor
    powers: Tensor
    blocks: Tensor


class _Scratch:
    """The scratch memory of one thread, made when it is first needed."""

    def __init__(self, rows: int, size: int, precision: torch.dtype, device: torch.device) -> None:
        self._rows = rows
        self._source = torch.empty(0, size, dtype=precision, device=device)
        self._buffers: dict[int, Tensor] = {}
        self._views: dict[tuple[int, int], _Views] = {}

    def converted(self, chunk: Tensor) -> Tensor:
        """The rows in the precision of the read: themselves, or a copy that stays in the cache."""
        if chunk.dtype is self._source.dtype and chunk.stride(1) == 1:
            return chunk
        if not len(self._source):
            self._source = self._source.new_empty(self._rows, chunk.shape[1])
        return self._source[: len(chunk)].copy_(chunk)

    def views(self, n: int, width: int) -> _Views:
        """Buffers for n rows and ``width`` columns."""
        found = self._views.get((n, width))
        if found is None:
            found = self._views[n, width] = self._made(n, width)
        return found

    def _made(self, n: int, width: int) -> _Views:
        blocks = -(-width // BLOCK)
        if width not in self._buffers:
            self._buffers[width] = self._source.new_zeros(2, self._rows, blocks * BLOCK)
        shifted, powers = self._buffers[width][:, :n]
        by_block = torch.unflatten(powers, 1, (blocks, BLOCK))
        return _Views(shifted[:, :width], powers[:, :width], by_block)


def _chunks(logits: Tensor, rows: Tensor, at_once: int) -> Iterator[tuple[int, Tensor]]:
    """Views of at most ``at_once`` neighbours, each with its place in ``rows``.

    Off the host ``rows`` are all rows: to know them would be a sync.
    """
    if not hosts.on_host(logits.device):
        for index, chunk in enumerate(torch.split(logits, at_once)):
            yield index * at_once, chunk
        return
    numbers = rows.numpy()
    runs = np.flatnonzero(np.diff(numbers, prepend=-2) != 1).tolist()
    for start, stop in pairwise([*runs, len(numbers)]):
        for begin in range(start, stop, at_once):
            yield begin, logits.narrow(0, int(numbers[begin]), min(at_once, stop - begin))
