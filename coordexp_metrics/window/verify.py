"""The laws that any catalogue must hold, tried on random observations in one process.

Whatever the cut of the same observations over ranks and micro-batches, and in whatever order they
come, every value is the one that a single process computes; what nobody observed is absent; and a
rank that observed nothing changes nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from random import Random
from typing import Any, NamedTuple

from ..contract.catalogue import Catalogue
from ..contract.kinds import (
    Agreed,
    Cumulative,
    Flag,
    Mean,
    Observed,
    Quantile,
    SharedQuantile,
    SlowestRank,
)
from ..contract.metric import Metric, Mode
from .closing import Closing
from .layout import Layout
from .observing import Local, Observations
from .reduced import Reduced

__all__ = ["LAWS", "Counterexample", "Observation", "fold", "verify"]

RELATIVE = 1e-12


class Observation(NamedTuple):
    """One observation, and where in the grid it was made."""

    metric: Observed
    statistics: tuple[Any, ...]
    rank: int
    micro_batch: int


@dataclass(frozen=True)
class Counterexample:
    """Observations whose value depends on how they were cut.

    Attributes:
        key: the metric.
        law: which law fails.
        wanted: the value that one process computes of ``observations``.
        found: the value that the grid computes.
        ranks: the number of ranks of the grid.
        observations: as few as were found to break the law.
    """

    key: str
    law: str
    wanted: float | None
    found: float | None
    ranks: int
    observations: tuple[Observation, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.key}: {self.law}",
            f"  one process computes {self.wanted}, {self.ranks} ranks compute {self.found}, of",
        ]
        for metric, statistics, rank, micro_batch in self.observations:
            told = ", ".join(map(str, (metric.key, *statistics)))
            lines.append(f"  rank {rank}, micro-batch {micro_batch}: observe({told})")
        return "\n".join(lines)


def fold(
    catalogue: Catalogue, layout: Layout, observations: Iterable[Observation], mode: Mode = "train"
) -> dict[str, float]:
    """The values that the ranks of ``layout`` compute, folded as their collective folds them."""
    by_rank: dict[int, dict[int, Observations]] = {}
    for metric, statistics, rank, micro_batch in observations:
        batches = by_rank.setdefault(rank, {})
        batches.setdefault(micro_batch, Observations()).add(metric, statistics)
    vectors = [
        layout.pack(_accumulated(layout, batches.values()), rank)
        for rank, batches in by_rank.items()
    ]
    if layout.world_size == 1:
        local = _accumulated(layout, by_rank.get(0, {}).values())
        reduced = Reduced.alone(local, layout.metrics, 0, "global")
    else:
        empty = layout.pack(Local(), 0)
        reduced = layout.unpack(reduce(lambda a, b: array("d", map(add, a, b)), vectors, empty))
    return Closing(catalogue).values(reduced, {}, mode)


def _accumulated(layout: Layout, batches: Iterable[Observations]) -> Local:
    local = Local()
    for batch in batches:
        for key, state in batch.host.states.items():
            local.fold(layout.metrics[key], state)
        for key, count in batch.host.withheld.items():
            local.withhold(key, count)
    return local


class Trial(NamedTuple):
    """One metric, what it is computed from, and random observations of that."""

    catalogue: Catalogue
    metric: Metric
    sources: tuple[Observed, ...]
    rng: Random

    def value(self, observations: Iterable[Observation], ranks: int) -> float | None:
        """What ``ranks`` ranks compute."""
        mode: Mode = "train" if "train" in self.metric.modes else "eval"
        return fold(self.catalogue, Layout(self.sources, ranks), observations, mode).get(
            self.metric.key
        )

    def observations(self) -> list[Observation]:
        """A few of each source."""
        return [
            Observation(source, _draw(source, self.rng), 0, 0)
            for source in self.sources
            for _ in range(self.rng.randint(1, 4))
        ]


def _any_cut(trial: Trial, observations: list[Observation], ranks: int) -> list[Observation]:
    """The same observations somewhere else, in another order.

    What a rank sums by itself stays on one rank: its population is the rank.
    """
    rng = trial.rng
    home = rng.randrange(ranks)
    moved = [
        o._replace(
            rank=home if isinstance(o.metric, SlowestRank) else rng.randrange(ranks),
            micro_batch=rng.randrange(4),
        )
        for o in observations
    ]
    rng.shuffle(moved)
    return moved


def _one_rank(_: Trial, observations: list[Observation], ranks: int) -> list[Observation]:
    """All observations on the last rank: the others, rank 0 among them, are empty."""
    return [o._replace(rank=ranks - 1) for o in observations]


LAWS: dict[str, Callable[[Trial, list[Observation], int], list[Observation]]] = {
    "any cut over ranks and micro-batches, in any order, gives the same value": _any_cut,
    "a rank that observed nothing changes nothing": _one_rank,
}
ABSENT = "what nobody observed is absent"


def verify(
    catalogue: Catalogue, metrics: Iterable[Metric], trials: int = 5, seed: int = 0
) -> Iterator[Counterexample]:
    """For each of ``metrics`` that breaks a law, the smallest counterexample that was found."""
    for metric in metrics:
        sources = tuple(dict.fromkeys(_sources(metric)))
        trial = Trial(catalogue, metric, sources, Random(f"{seed} {metric.key}"))  # noqa: S311
        found = next(_broken(trial, trials), None)
        if found is not None:
            yield found


def _broken(trial: Trial, trials: int) -> Iterator[Counterexample]:
    metric = trial.metric
    unseen = trial.value((), 2)
    if isinstance(metric, Observed):
        unseen = metric.reduction.compute(metric.reduction.identity)
    if unseen is not None:
        yield Counterexample(metric.key, ABSENT, None, unseen, 2, ())
    for _ in range(trials):
        observations = trial.observations()
        for law, cut in LAWS.items():
            ranks = trial.rng.randint(2, 5)
            grid = cut(trial, observations, ranks)
            if _differs(trial, grid, ranks) is not None:
                smallest = _shrunk(trial, grid, ranks)
                wanted, value = _differs(trial, smallest, ranks) or (None, None)
                yield Counterexample(metric.key, law, wanted, value, ranks, tuple(smallest))


def _differs(
    trial: Trial, grid: list[Observation], ranks: int
) -> tuple[float | None, float | None] | None:
    """Both values where they are not the same."""
    together = [o._replace(rank=0, micro_batch=0) for o in grid]
    wanted, found = trial.value(together, 1), trial.value(grid, ranks)
    if wanted is None or found is None:
        return None if wanted is found else (wanted, found)
    scale = max(1.0, abs(wanted))
    return None if abs(wanted - found) <= RELATIVE * scale else (wanted, found)


def _shrunk(trial: Trial, grid: list[Observation], ranks: int) -> list[Observation]:
    """``grid`` without every observation that the failure does not need."""
    for observation in list(grid):
        fewer = [o for o in grid if o is not observation]
        if _differs(trial, fewer, ranks) is not None:
            grid = fewer
    return grid


def _sources(metric: Metric) -> Iterator[Observed]:
    """What is observed so that ``metric`` can be computed."""
    if isinstance(metric, Observed):
        yield metric
    elif isinstance(metric, (SharedQuantile, Cumulative)):
        yield metric.of
    elif metric.formula is not None:
        for leaf in metric.formula.leaves():
            yield from _sources(leaf)


def _draw(metric: Observed, rng: Random) -> tuple[Any, ...]:
    """Random statistics that ``metric`` can take."""
    if isinstance(metric, Mean):
        return (rng.uniform(0, 100), rng.randint(0, 1000))
    if isinstance(metric, Quantile):
        return ([rng.uniform(0, 900) for _ in range(rng.randint(0, 4))],)
    if isinstance(metric, Agreed):
        return (0.7,)
    if isinstance(metric, Flag):
        return (rng.randint(0, 1),)
    if metric.kind in {"total", "slowest_rank"}:
        return (rng.randint(0, 10**6),)
    return (rng.uniform(-100, 100),)
