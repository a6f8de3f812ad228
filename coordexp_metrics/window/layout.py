"""The layout comes from the catalogue alone: the same slots on every rank, no key exchanged.

One vector of float64 carries a step, and one SUM over ranks reduces it. Slots that add stand once.
A sum and a maximum do not commute, so what is no sum keeps a block a rank: each rank writes its own
block and leaves zeros in the others, and the sum gathers them. The cost of the sums does not grow
with the world.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from functools import reduce
from typing import NamedTuple

from ..contract.algebra import Agreement, Op
from ..contract.kinds import Observed, SlowestRank
from .observing import Local
from .reduced import Disagreement, Reduced

__all__ = ["Call", "Layout"]

FORMAT = 1
BYTES = 8
EXACT = 2**53
HEADER = 4
GATHER = 4


class Call(NamedTuple):
    """Which call of the window a vector belongs to; equal on all ranks.

    Attributes:
        what: 1 for ``step``, 2 for a train payload, 3 for an eval payload, 4 for ``gather``.
        step: the global step of a payload, 0 for ``step``; for ``gather`` the message's length.
    """

    what: int = 1
    step: int = 0

    def __str__(self) -> str:
        if self.what == GATHER:
            return f"gather of {self.step} bytes"
        return ("nothing", "step()", "close of train", "close of eval")[self.what] + (
            f" at step {self.step}" if self.what > 1 else ""
        )

    @property
    def same(self) -> Call:
        """What must be equal on all ranks: all but the length of a message."""
        return Call(GATHER) if self.what == GATHER else self


class Layout:
    """Where each metric stands in the vector.

    Args:
        metrics: what can be observed, in catalogue order.
        world_size: the number of ranks.
    """

    def __init__(self, metrics: Iterable[Observed], world_size: int = 1) -> None:
        self.metrics = {metric.key: metric for metric in metrics}
        self.world_size = world_size
        self._sums: dict[str, slice] = {}
        self._own: dict[str, slice] = {}
        end, block = 0, HEADER
        for key, metric in self.metrics.items():
            width = len(metric.reduction.slots)
            if _adds(metric):
                self._sums[key], end = slice(end, end + width), end + width
            else:
                self._own[key], block = slice(block, block + width + 1), block + width + 1
        self._withheld = {key: end + index for index, key in enumerate(self.metrics)}
        self._blocks = end + len(self.metrics)
        self._block = block
        self.length = self._blocks + world_size * block

    @property
    def nbytes(self) -> int:
        """The bytes that one rank hands to one collective."""
        return self.length * BYTES

    @property
    def digest(self) -> str:
        """Equal where vectors mean the same, slot by slot: 16 hex digits."""
        slots = {
            key: [metric.digest, *(op.value[1] for op in metric.reduction.slots)]
            for key, metric in self.metrics.items()
        }
        text = f"{FORMAT} {self.world_size} {slots}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def pack(self, local: Local, rank: int, call: Call = Call()) -> array[float]:  # noqa: B008
        """The vector of one rank."""
        vector = array("d", bytes(self.nbytes))
        start = self._blocks + rank * self._block
        for key, state in local.states.items():
            metric = self.metrics[key]
            if key in self._sums:
                vector[self._sums[key]] = array("d", state)
            elif state != metric.reduction.identity:
                vector[_moved(self._own[key], start)] = array("d", (1, *state))
        for key, count in local.withheld.items():
            vector[self._withheld[key]] = count
        vector[start : start + HEADER] = array(
            "d", (*call, local.observed, local.nonfinite(self.metrics))
        )
        return vector

    def calls(self, vector: array[float]) -> list[Call]:
        """What each rank called, by rank."""
        return [Call(int(header[0]), int(header[1])) for header in self._headers(vector)]

    def unpack(self, vector: array[float]) -> Reduced:
        """The step that the sum of all ranks' vectors holds."""
        headers = list(self._headers(vector))
        reduced = Reduced(steps=int(any(header[2] for header in headers)))
        reduced.nonfinite_ranks = {rank for rank, header in enumerate(headers) if header[3]}
        for key, metric in self.metrics.items():
            if key in self._sums:
                state = tuple(vector[self._sums[key]])
                if any(state):
                    reduced.states[key] = state
            else:
                self._unpack_own(vector, metric, reduced)
            count = vector[self._withheld[key]]
            if count:
                reduced.withheld[key] = int(count)
        return reduced

    def _unpack_own(self, vector: array[float], metric: Observed, reduced: Reduced) -> None:
        own, reduction, key = self._own[metric.key], metric.reduction, metric.key
        present, *columns = (
            vector[self._blocks + slot :: self._block] for slot in range(own.start, own.stop)
        )
        ranks = [rank for rank, seen in enumerate(present) if seen]
        if not ranks:
            return
        slots = [[column[rank] for rank in ranks] for column in columns]
        if isinstance(metric, SlowestRank):
            reduced.states[key] = (max(slots[0]), 1)
            reduced.clocks[key] = list(columns[0])
            return
        state = tuple(
            reduce(op.fold, slot) for op, slot in zip(reduction.slots, slots, strict=True)
        )
        reduced.states[key] = state
        if isinstance(reduction, Agreement) and reduction.disagrees(state):
            reduced.disagreements[key] = _by_value(zip(ranks, *slots, strict=True))

    def _headers(self, vector: array[float]) -> Iterator[array[float]]:
        for rank in range(self.world_size):
            start = self._blocks + rank * self._block
            yield vector[start : start + HEADER]


def _adds(metric: Observed) -> bool:
    return not isinstance(metric, SlowestRank) and all(
        op is Op.SUM for op in metric.reduction.slots
    )


def _moved(place: slice, by: int) -> slice:
    return slice(place.start + by, place.stop + by)


def _by_value(rows: Iterable[tuple[int, float, float]]) -> Disagreement:
    ranks: Disagreement = {}
    for rank, least, greatest in rows:
        for value in {least, greatest}:
            ranks[value] = (*ranks.get(value, ()), rank)
    return ranks
