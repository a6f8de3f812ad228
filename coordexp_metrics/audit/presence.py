"""A key stands where its condition holds, and nowhere else; absent is not zero.

What keys and flags decide is decided once for each set of keys and each state of the flags; a
record costs a look at its flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.check import Plan
from ..contract.errors import safe_text
from ..contract.metric import Mode
from ..contract.record import Record
from .conditions import EVIDENCE, Evidence, judge
from .context import Context, Variant
from .findings import MAX_PLACES, Finding, Findings
from .placing import TEXTS, Misplaced, due_in, lacking_in, misplaced_in, variant_of

__all__ = ["Presence"]

MAX_STATES = 1024
SAID = {
    "CXM411": "stands here without its cause",
    "CXM412": "is a literal 0 where it should be absent",
    "CXM415": "belongs to another trainer variant",
}


@dataclass
class State:
    """What a set of keys does wrong while the flags stand as they do."""

    misplaced: list[Misplaced]
    lacking: list[tuple[str, str]]
    due: dict[str, bool]
    said: dict[tuple[str, int], Finding] = field(default_factory=dict)
    count: int = 0
    places: list[tuple[str, int]] = field(default_factory=list)


class Presence:
    """Checks presence and absence, record by record.

    Attributes:
        context: what is known of the run at hand.
    """

    def __init__(self, findings: Findings, catalogue: Catalogue, context: Context) -> None:
        self._findings = findings
        self._catalogue = catalogue
        self.context = context
        self._told = context
        self._variants: dict[str, Variant] = {}
        self._flags: dict[int, list[tuple[str, int]]] = {}
        self._states: dict[object, State] = {}
        self._kept: list[Plan] = []
        self._due: dict[str, list[int]] = {}
        self._missing: dict[str, tuple[str, int]] = {}

    def use_header(self, header: Mapping[str, Any]) -> None:
        """Take what a header says of its run."""
        self.context = self._told.with_header(header)
        self._retire()

    def known(self) -> Context:
        """What was told, and the variant that the keys prove if they prove one."""
        proven = set(self._variants.values())
        variant = self.context.variant or (proven.pop() if len(proven) == 1 else None)
        return Context(variant, self.context.settings)

    def take(self, record: Record, plan: Plan, row: Sequence[float]) -> None:
        """Check one record, whose values stand in the order of the plan's keys."""
        place = record.origin or ("", 0)
        state = self._state(record, plan, row, place[0])
        state.count += 1
        if len(state.places) < MAX_PLACES:
            state.places.append(place)
        for fault in state.misplaced:
            rule = "CXM412" if fault.rule == "CXM411" and not row[fault.position] else fault.rule
            said = state.said.get((rule, fault.position))
            if said is None:
                state.said[rule, fault.position] = self._say(fault, rule, place)
            else:
                said.again((place,))

    def finish(self, met: Iterable[str], modes: Iterable[Mode]) -> None:
        """Say what is missing; ``met`` are the train names that were met."""
        self._retire()
        for key, (due, present) in self._due.items():
            if 0 < present < due:
                lacking = due - present
                self._findings.add(
                    "CXM414",
                    f"{key} is missing from {lacking} of the {due} records in which it is due",
                    key=key,
                    metric=key,
                    places=[self._missing[key]],
                    count=lacking,
                    evidence={"due": due, "present": present},
                )
        for mode in modes:
            self._never(set(met), mode)

    def _never(self, met: set[str], mode: Mode) -> None:
        """What was told to be on, and never showed."""
        evidence = Evidence(mode, {}, self.context)
        brought: dict[str, list[str]] = {}
        for metric in self._catalogue.values():
            if metric.when is not None and mode in metric.modes and not metric.internal:
                brought.setdefault(metric.when.name, []).append(metric.key)
        for condition, keys in brought.items():
            verdict = judge(condition, evidence)
            if verdict.holds and verdict.told and met.isdisjoint(keys):
                message = f"no key that is logged where {TEXTS[condition]} was ever met"
                self._findings.add(
                    "CXM413",
                    f"{message}, although {verdict.why}",
                    key=keys[0],
                    metric=keys[0],
                    detail=condition,
                    evidence={"keys": keys},
                )

    def _state(self, record: Record, plan: Plan, row: Sequence[float], path: str) -> State:
        flags = self._flags.get(id(plan))
        if flags is None:
            where = plan.names.where
            flags = [(key, where[key]) for key in EVIDENCE if key in where]
            self._flags[id(plan)] = flags
            self._kept.append(plan)  # so that no other plan takes its id
            proven = variant_of(plan) if record.mode == "train" else None
            if proven is not None:
                self._variants[path] = proven
        variant = self.context.variant or self._variants.get(path)
        name = id(plan), variant, record.mode, tuple([row[at] > 0 for _, at in flags])
        found = self._states.get(name)
        if found is None:
            found = self._decide(
                record, plan, dict(zip(dict(flags), name[3], strict=True)), variant
            )
            self._states[name] = found
        return found

    def _decide(
        self, record: Record, plan: Plan, flags: dict[str, bool], variant: Variant | None
    ) -> State:
        if len(self._states) >= MAX_STATES:
            self._retire()
        evidence = Evidence(record.mode, flags, Context(variant, self.context.settings))
        return State(
            list(misplaced_in(plan, evidence)),
            list(lacking_in(plan, evidence)),
            due_in(self._catalogue, plan, evidence),
        )

    def _retire(self) -> None:
        """Count what was met so far, and forget how it was decided."""
        for state in self._states.values():
            for prefix, why in state.lacking:
                message = f"no key under {prefix} is there, although {why}"
                self._findings.add(
                    "CXM413", message, key=prefix, places=state.places, count=state.count
                )
            for key, present in state.due.items():
                counts = self._due.setdefault(key, [0, 0])
                counts[0] += state.count
                counts[1] += state.count * present
                if not present:
                    self._missing.setdefault(key, state.places[0])
        self._states.clear()
        self._flags.clear()
        self._kept.clear()

    def _say(self, fault: Misplaced, rule: str, place: tuple[str, int]) -> Finding:
        message = f"{safe_text(fault.key)} {SAID[rule]}: {fault.why}"
        return self._findings.add(rule, message, key=fault.key, metric=fault.metric, places=[place])
