"""Steps fold into a logging window as micro-batches fold into a step; a window has one scope."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..contract.catalogue import Catalogue
from ..contract.metric import Mode
from ..contract.payload import Payload
from .closing import Closing
from .layout import EXACT, GATHER, Call, Layout
from .observing import Local, Taken
from .ranks import GlooRanks, Ranks
from .reduced import Reduced, Scope

__all__ = ["Closed", "Gathered", "Steps"]

VERSION = 1
MANY = 64
"""So many steps of one process wait at most: it reduces them at the close, all in one go."""
CALLS: dict[Mode, int] = {"train": 2, "eval": 3}

log = logging.getLogger("coordexp_metrics")


class Closed(NamedTuple):
    """A payload, and what it was made of."""

    payload: Payload
    reduced: Reduced


class Gathered(NamedTuple):
    """The messages of all ranks, in their order, and which of them is this rank's own."""

    messages: list[bytes]
    own: int


class Steps:
    """The steps of the open logging window, and the running totals of the run.

    A step that was reduced over all ranks and one that was not are never folded into one: what is
    local after the group was retired waits for the next close.
    """

    def __init__(self, catalogue: Catalogue, layout: Layout, ranks: Ranks) -> None:
        self._digest = catalogue.digest
        self._closing = Closing(catalogue)
        self._layout = layout
        self._ranks = ranks
        self._whole = ranks.world_size == 1
        self._local_by_choice = not (self._whole or ranks.shared)
        self._parts: list[Reduced] = []
        self._waiting: list[Taken] = []
        self._running: dict[str, float] = {}
        self._told: set[str] = set()
        self._last = -1
        self.attempt = 1

    def end(self, taken: Taken) -> None:
        """End one step; one collective, or none and no work yet where this process is alone."""
        if isinstance(self._ranks, GlooRanks):
            self._fold(taken, Call())
            return
        self._waiting.append(taken)
        if len(self._waiting) >= MANY:
            self._catch_up()

    def _catch_up(self) -> None:
        while self._waiting:  # one by one: a step that fails costs no other
            self._fold(self._waiting.pop(0), Call())

    def _fold(self, taken: Taken, call: Call) -> None:
        """Reduce one step and fold it in; one collective."""
        step = self._reduced(taken.arrived(self._layout.metrics), call)
        for key in step.disagreements.keys() - self._told:
            self._told.add(key)
            ranks = step.disagreements[key]
            log.warning("%s differs within a step and is withheld; value: ranks %s", key, ranks)
        if self._parts and self._parts[-1].scope == step.scope:
            self._parts[-1].add(step, self._layout.metrics)
        else:
            self._parts.append(step)

    def close(self, taken: Taken, mode: Mode, global_step: int) -> Closed:
        """End the step that is open, and make the payload of all steps since the last close."""
        self._catch_up()
        self._fold(taken, Call(CALLS[mode], global_step))
        part = self._parts.pop(0)
        if mode == "train":
            self.attempt += global_step <= self._last
            self._last = global_step
        running = self._running if part.scope == "global" or self._local_by_choice else None
        coverage = self._coverage(part)
        payload = self._closing.payload(part, running, coverage, mode, global_step)
        return Closed(payload, part)

    def gather(self, message: bytes) -> Gathered:
        """What every rank says between two steps; two collectives, the first like any other."""
        ranks, call = self._ranks, Call(GATHER, len(message))
        vector = self._in_step(ranks, Local(), call)
        if vector is not None and isinstance(ranks, GlooRanks):
            lengths = [length for _, length in self._layout.calls(vector)]
            heard = ranks.gather(message, lengths)
            if heard is not None:
                return Gathered(heard, ranks.rank)
        return Gathered([message], 0)

    def _reduced(self, local: Local, call: Call) -> Reduced:
        """The step over all ranks, or of this one alone where there is no group."""
        step = self._over_ranks(self._ranks, local, call)
        if step is None:
            scope: Scope = "global" if self._whole else "local"
            step = Reduced.alone(local, self._layout.metrics, self._ranks.rank, scope)
        if call.what == 1 or not self._parts:
            step.steps = 1  # a close that follows a step, with nothing in between, is none itself
        return step

    def _over_ranks(self, ranks: Ranks, local: Local, call: Call) -> Reduced | None:
        vector = self._in_step(ranks, local, call)
        return None if vector is None else self._layout.unpack(vector)

    def _in_step(self, ranks: Ranks, local: Local, call: Call) -> array[float] | None:
        """The sum of all ranks' vectors, if there is a group and all ranks made the same call."""
        if not isinstance(ranks, GlooRanks) or not ranks.shared:
            return None
        vector = self._layout.pack(local, ranks.rank, call)
        if not ranks.sum(vector):
            return None
        calls = self._layout.calls(vector)
        if len({other.same for other in calls}) > 1:
            said = ", ".join(f"rank {rank}: {what}" for rank, what in enumerate(calls))
            ranks.retire(f"ranks are out of step: {said}")
            return None
        return vector

    def _coverage(self, part: Reduced) -> dict[str, Any]:
        coverage: dict[str, Any] = {
            "world_size": self._ranks.world_size,
            "missing_ranks": list(self._ranks.missing) if part.scope == "local" else [],
            "steps": part.steps,
            "scope": part.scope,
        }
        if self.attempt > 1:
            coverage["attempt"] = self.attempt
        metrics = self._layout.metrics
        inexact = [k for k, state in part.states.items() if metrics[k].whole and _inexact(state)]
        return coverage | ({"inexact": inexact} if inexact else {})

    def to_data(self, local: Local) -> dict[str, Any]:
        """What a checkpoint keeps; ``local`` is what this rank has open."""
        self._catch_up()
        return {
            "version": VERSION,
            "catalogue": self._digest,
            "layout": [*self._layout.metrics],
            "world_size": self._ranks.world_size,
            "rank": self._ranks.rank,
            "attempt": self.attempt,
            "global_step": self._last,
            "cumulative": dict(self._running),
            "steps": [part.to_data() for part in self._parts],
            "open": {
                "states": {key: list(state) for key, state in local.states.items()},
                "withheld": dict(local.withheld),
            },
        }

    def load(self, data: Mapping[str, Any]) -> Local:
        """Go on from what ``to_data`` wrote; returns what this rank had open.

        Raises:
            ValueError: a later version wrote it.
        """
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']} of a window's state; this reads {VERSION}")
        went_back = data["global_step"] < self._last
        self.attempt = max(self.attempt, data["attempt"]) + went_back
        self._last = data["global_step"]
        self._running = dict(data["cumulative"])
        self._parts, self._waiting = [], []
        if data["catalogue"] != self._digest or data["layout"] != [*self._layout.metrics]:
            log.warning("the catalogue changed since the state was saved: open steps are left out")
            return Local()
        self._parts = [Reduced.from_data(part) for part in data["steps"]]
        return self._open(data)

    def _open(self, data: Mapping[str, Any]) -> Local:
        states, withheld = data["open"]["states"], data["open"]["withheld"]
        here = (self._ranks.rank, self._ranks.world_size)
        if states and (data["rank"], data["world_size"]) != here:
            log.warning(
                "rank %d of %d had an open step when the state was saved; rank %d of %d leaves it",
                data["rank"], data["world_size"], *here,
            )  # fmt: skip
            return Local()
        return Local({key: tuple(state) for key, state in states.items()}, dict(withheld))


def _inexact(state: tuple[float, ...]) -> bool:
    """Whether a sum left the whole numbers that a float64 holds."""
    return any(isinstance(x, float) and EXACT <= abs(x) < float("inf") for x in state)
