"""What could not be counted is counted and named; on a device, nobody reads it until asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..catalogue.health import Health
from ..contract.errors import ObservationError
from ..window import Window
from .fact_columns import Facts
from .fact_groups import Groups, Judged

__all__ = ["Ledger", "RolloutReport"]

log = logging.getLogger(__name__)
EXAMPLES = 20


@dataclass(frozen=True)
class RolloutReport:
    """What one rank's reducer could not count, since it was made.

    Attributes:
        samples: the rollouts that were handed over.
        wrong: by group of facts, the samples left out because of a fact that cannot be right.
        missing: by group, the samples left out because they know only some of its facts.
        unknown: by fact that some samples knew, how many did not.
        examples: the first 20 samples with something wrong: which call, which sample, what.
    """

    samples: int = 0
    wrong: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()


class Ledger:
    """Keeps the counts of one reducer, as numbers or as tensors that nobody waits for.

    Args:
        groups: what the facts are judged by.
        strict: whether a fact that cannot be right raises.
    """

    def __init__(self, groups: Groups, *, strict: bool) -> None:
        self._groups = groups
        self._strict = strict
        self._calls = 0
        self._samples = 0
        self._known: dict[str, Any] = {}
        self._wrong: dict[str, Any] = {}
        self._missing: dict[str, Any] = {}
        self._first: dict[str, Any] = {}
        self._examples: list[str] = []

    def enter(self, window: Window, facts: Facts, judged: Mapping[str, Judged]) -> None:
        """Count one call, and observe how many samples were left out.

        Raises:
            ObservationError: something cannot be right, and the ledger is strict.
        """
        self._calls += 1
        self._samples += facts.size
        for name, column in facts.columns.items():
            _add(self._known, name, column.known.sum())
        reported = {group: of for group, of in judged.items() if group != "strict"}
        for group, of in reported.items():
            _add(self._wrong, group, of.wrong.sum())
            _add(self._missing, group, of.missing.sum())
        wrong = [of.wrong for of in reported.values()]
        if facts.on_device and not self._strict:
            self._remember(reported)
        else:
            self._name(facts, wrong)
        missing = [of.missing for of in reported.values()]
        for metric, masks in (
            (Health.rollout_facts_wrong_total, wrong),
            (Health.rollout_facts_missing_total, missing),
        ):
            if masks:
                window.observe(metric, facts.xp.stack(masks).sum())

    def _name(self, facts: Facts, masks: list[Any]) -> None:
        """Name the samples with something wrong; reads the masks."""
        for index in range(facts.size) if any(map(_holds, masks)) else ():
            if any(mask[index] for mask in masks):
                said = "; ".join(self._groups.sentences(facts, index))
                if self._strict:
                    raise ObservationError("RolloutReducer", f"samples[{index}]", None, said)
                self._example(f"call {self._calls}, sample {index}: {said}")

    def _example(self, text: str) -> None:
        if len(self._examples) < EXAMPLES:
            self._examples.append(text)
            log.warning("facts of a rollout are left out: %s", text)

    def _remember(self, judged: Mapping[str, Judged]) -> None:
        """Keep the call and the sample of the first wrong facts of each group, on the device."""
        import torch

        for group, of in judged.items():
            now = torch.stack([torch.full_like(at := of.wrong.long().argmax(), self._calls), at])
            none = torch.zeros_like(now)
            now = torch.where(of.wrong.any(), now, none)
            before = self._first.get(group, none)
            self._first[group] = torch.where(before.any(), before, now)

    def report(self) -> RolloutReport:
        """What was left out so far; the only place that waits for a device."""
        wrong, missing = _numbers(self._wrong), _numbers(self._missing)
        known = {name: int(count) for name, count in self._known.items()}
        return RolloutReport(
            self._samples,
            wrong,
            missing,
            {name: self._samples - n for name, n in known.items() if 0 < n < self._samples},
            (*self._examples, *self._firsts())[:EXAMPLES],
        )

    def _firsts(self) -> Iterator[str]:
        for group, first in self._first.items():
            call, index = first.tolist()
            if call:
                yield f"call {call}, sample {index}: facts of {group!r} that cannot be right"


def _holds(mask: Any) -> bool:
    return bool(mask.any())


def _add(counts: dict[str, Any], name: str, count: Any) -> None:
    counts[name] = counts[name] + count if name in counts else count


def _numbers(counts: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items() if int(count)}
