"""What ranks have in common after a collective, and how one step folds into the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from ..contract.algebra import Agreement
from ..contract.kinds import Observed, SlowestRank
from .observing import Local, State

__all__ = ["Disagreement", "Imbalance", "Reduced", "Scope"]

Scope: TypeAlias = Literal["global", "local"]
Disagreement: TypeAlias = "dict[float, tuple[int, ...]]"


class Imbalance(NamedTuple):
    """How much longer the slowest rank took.

    Attributes:
        ratio: its time over the mean of the ranks.
        rank: which one.
    """

    ratio: float
    rank: int


@dataclass
class Reduced:
    """One or more steps, reduced over ranks; equal on all of them.

    Attributes:
        states: the state of each metric that any rank observed.
        withheld: how many observations of a monitor were not finite, over all ranks.
        disagreements: for each knob that differed within a step, the ranks behind each value.
        clocks: what each rank contributed to a ``slowest_rank``.
        nonfinite_ranks: the ranks with an observation that was not finite.
        steps: how many steps.
        scope: whose observations these are, all ranks' or those of this rank.
    """

    states: dict[str, State] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)
    disagreements: dict[str, Disagreement] = field(default_factory=dict)
    clocks: dict[str, list[float]] = field(default_factory=dict)
    nonfinite_ranks: set[int] = field(default_factory=set)
    steps: int = 0
    scope: Scope = "global"

    def add(self, step: Reduced, metrics: Mapping[str, Observed]) -> None:
        """Fold a later step in.

        A step that disagreed within itself stays a disagreement; a knob that only changed between
        steps has its latest value.
        """
        for key, state in step.states.items():
            known = self.states.get(key)
            self.states[key] = state if known is None else _folded(metrics[key], known, state)
        for key, count in step.withheld.items():
            self.withheld[key] = self.withheld.get(key, 0) + count
        for key, clock in step.clocks.items():
            before = self.clocks.get(key, [0] * len(clock))
            self.clocks[key] = [a + b for a, b in zip(before, clock, strict=True)]
        self.disagreements |= step.disagreements
        self.nonfinite_ranks |= step.nonfinite_ranks
        self.steps += step.steps

    @property
    def imbalance(self) -> dict[str, Imbalance]:
        """For each ``slowest_rank``, how much longer the slowest rank took."""
        return {key: _imbalance(clock) for key, clock in self.clocks.items() if sum(clock) > 0}

    def to_data(self) -> dict[str, Any]:
        """What a checkpoint keeps: plain numbers."""
        states = {key: list(state) for key, state in self.states.items()}
        withheld = dict(self.withheld)
        return {"states": states, "withheld": withheld, "steps": self.steps, "scope": self.scope}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Reduced:
        """What ``to_data`` wrote."""
        states = {key: tuple(state) for key, state in data["states"].items()}
        return cls(states, dict(data["withheld"]), steps=data["steps"], scope=data["scope"])

    @classmethod
    def alone(
        cls, local: Local, metrics: Mapping[str, Observed], rank: int, scope: Scope
    ) -> Reduced:
        """The step of one process: a reduction over it alone."""
        steps = int(local.observed)
        reduced = cls(local.states, local.withheld, steps=steps, scope=scope)
        if local.nonfinite(metrics):
            reduced.nonfinite_ranks = {rank}
        for key, state in local.states.items():
            metric = metrics[key]
            if isinstance(metric, SlowestRank) and scope == "global":
                reduced.clocks[key] = [state[0]]
            elif isinstance(metric.reduction, Agreement) and metric.reduction.disagrees(state):
                reduced.disagreements[key] = dict.fromkeys(state, (rank,))
        return reduced


def _folded(metric: Observed, known: State, latest: State) -> State:
    reduction = metric.reduction
    if isinstance(reduction, Agreement) and not (
        reduction.disagrees(known) or reduction.disagrees(latest)
    ):
        return latest
    return reduction.merge(known, latest)


def _imbalance(clock: Sequence[float]) -> Imbalance:
    slowest = max(clock)
    return Imbalance(slowest * len(clock) / sum(clock), clock.index(slowest))
