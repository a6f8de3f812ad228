"""The read itself: tile by tile through two scratch buffers that stay in a core's cache.

A row is read twice, the second time from the cache: once for its maximum m, then for the powers
``exp(x_i − m)``, which are ``exp2((x_i − m) log2 e)`` since torch has a faster exp2 than exp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import hosts
from .coord_vocabulary import CoordVocabulary
from .parallel import widest

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
        dots: Σ exp(x_i − m) (x_i − m), in nats; ``sums`` unless the entropy is asked for.
        heated: Σ exp((x_i − m) / T); ``sums`` at temperature 1.
    """

    peaks: Tensor
    sums: Tensor
    dots: Tensor
    heated: Tensor


def rows_at_once(size: int, device: torch.device) -> int:
    """How many rows of a vocabulary one operation takes: on a host a few."""
    budget = widest() if hosts.on_host(device) else DEVICE_ELEMENTS
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
    at_once = min(rows_at_once(size, device), len(rows))
    if hosts.on_host(device):  # scratch stays a small part of what is read, however few rows it is
        at_once = max(1, min(at_once, len(rows) // 16))
    width = _tile_blocks(size, device) * BLOCK
    scratch = _Scratch(at_once, size, precision, device)
    parts: list[list[Tensor]] = []
    for chunk in _chunks(logits, rows, at_once):
        tiles = scratch.converted(torch.split(chunk, width, 1))
        peaks = torch.cat([_block_peaks(tile) for tile in tiles], 1)
        m = peaks.amax(1, keepdim=True)
        found: list[list[Tensor]] = [[], [], []]
        offset = 0
        for tile in tiles:
            views = scratch.views(*tile.shape)
            torch.sub(tile, m, out=views.shifted).mul_(LOG2_E)
            if guarded:
                views.shifted.clamp_(min=_to_zero(precision) * max(1.0, reading.temperature))
            _sums(views, offset, reading, found)
            offset += width
        parts.append([peaks, *(torch.cat(sums, 1) for sums in found if sums)])
    return _blocks(parts, reading, logits.new_empty(0, -(-size // BLOCK), dtype=precision))


def _sums(views: _Views, offset: int, reading: Reading, found: list[list[Tensor]]) -> None:
    """Sums over the blocks of a tile whose first id is ``offset``, from ``(x − m) log2 e``."""
    shifted, powers, blocks = views
    forget = reading.vocabulary.forget
    torch.exp2(shifted, out=powers)
    forget(powers, offset)
    found[0].append(blocks.sum(2))
    if reading.entropy:
        powers.mul_(shifted)
        found[1].append(blocks.sum(2))
    if reading.heated:
        torch.mul(shifted, reading.inverse, out=powers).exp2_()
        forget(powers, offset)
        found[2].append(blocks.sum(2))


def _block_peaks(tile: Tensor) -> Tensor:
    whole = tile.shape[1] // BLOCK * BLOCK
    peaks = torch.unflatten(tile[:, :whole], 1, (whole // BLOCK, BLOCK)).amax(2)
    if whole == tile.shape[1]:
        return peaks
    return torch.cat([peaks, tile[:, whole:].amax(1, keepdim=True)], 1)


def _tile_blocks(size: int, device: torch.device) -> int:
    """Blocks in a tile: the whole row, or on a host what a cache holds."""
    blocks = -(-size // BLOCK)
    tiles = -(-size // (widest() // BLOCK * BLOCK)) if hosts.on_host(device) else 1
    return -(-blocks // tiles)


def _blocks(parts: list[list[Tensor]], reading: Reading, like: Tensor) -> Blocks:
    """The sums of all chunks; what nobody asked for is the plain sum."""
    peaks, sums, *others = map(torch.cat, zip(*parts, strict=True)) if parts else [like] * 4
    dots = others[0] / LOG2_E if reading.entropy else sums
    return Blocks(peaks, sums, dots, others[-1] if reading.heated else sums)


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

    def converted(self, tiles: Sequence[Tensor]) -> Sequence[Tensor]:
        """The tiles in the precision of the read: themselves, or copies that stay in the cache."""
        first = tiles[0]
        if first.dtype is self._source.dtype and first.stride(1) == 1:
            return tiles
        if not len(self._source):
            self._source = self._source.new_empty(self._rows, self._source.shape[1])
        copies = torch.split(self._source[: len(first)], first.shape[1], 1)
        return [copy.copy_(tile) for copy, tile in zip(copies, tiles, strict=True)]

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


def _chunks(logits: Tensor, rows: Tensor, at_once: int) -> Iterator[Tensor]:
    """Views of at most ``at_once`` neighbours. Off the host ``rows`` are all: to ask is a sync."""
    if not hosts.on_host(logits.device):
        yield from torch.split(logits, max(at_once, 1))
        return
    numbers = rows.numpy()
    runs = np.flatnonzero(np.diff(numbers, prepend=-2) != 1).tolist()
    for start, stop in pairwise([*runs, len(numbers)]):
        for begin in range(start, stop, at_once):
            yield logits.narrow(0, int(numbers[begin]), min(at_once, stop - begin))
