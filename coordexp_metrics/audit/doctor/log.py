"""A detector is given a table and what was told of its run, and gives back cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...contract.catalogue import Catalogue
from ...contract.check import Checker, Plan
from ...contract.errors import safe_text
from ...contract.metric import Metric, Mode
from ..series import Column, Table
from .words import Name, named

__all__ = ["Case", "Context", "Log", "Offender", "said", "shown"]

MAX_OFFENDERS = 5
PLANS = 256
# Rows that every trainer writes into records of all sorts.
SHARED = frozenset({"epoch", "total_flos", "num_input_tokens_seen", "memory(GiB)"})


@dataclass(frozen=True)
class Context:
    """What the user knows of the run and its log may not say; None where nobody said it.

    Attributes:
        world_size: ranks of the run.
        grad_accum: micro-steps of one optimizer step.
        ranks_rollout: ranks that generate, or rollouts of one sample.
    """

    world_size: int | None = None
    grad_accum: int | None = None
    ranks_rollout: int | None = None

    def told(self) -> Iterator[tuple[str, int]]:
        """Factors that follow, with their names."""
        world, accum, rollout = self.world_size, self.grad_accum, self.ranks_rollout
        named_factors = {
            "the world size": world,
            "the accumulation": accum,
            "the ranks that generate": rollout,
            "world size x accumulation": world * accum if world and accum else None,
        }
        for name, factor in named_factors.items():
            if factor and factor > 1:
                yield name, factor


@dataclass(frozen=True)
class Offender:
    """One number that cannot be right: its row, the value logged, and what it should be."""

    row: int
    value: float
    expected: float | None = None


@dataclass
class Case:
    """What one detector says of one key.

    Attributes:
        rule: the id.
        key: the key as spelled.
        message: what is wrong, with its numbers; text from the log is escaped in it.
        offenders: the rows, first to last.
        of: how many rows could have offended.
        confidence: 0..1, how sure the detector is.
        evidence: numbers that support it.
        beside: further keys that tell the story, for a plot.
        detail: what sets it apart from other cases of this rule and key.
    """

    rule: str
    key: str
    message: str
    offenders: Sequence[Offender]
    of: int
    confidence: float = 0.9
    evidence: dict[str, Any] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    detail: str = ""


class Log:
    """A table, and what a detector may ask about it.

    Args:
        table: the columns.
        catalogue: the declarations.
        context: what the user said.
        checker: binds the catalogue's laws.
    """

    def __init__(
        self, table: Table, catalogue: Catalogue, context: Context, checker: Checker
    ) -> None:
        self.table, self.catalogue, self.context = table, catalogue, context
        self.checker = checker
        self._rows: dict[str, frozenset[int]] = {}
        self._metrics: dict[str, Metric | None] = {}

    @cached_property
    def plans(self) -> dict[tuple[str, ...], Plan]:
        """What the catalogue says of the commonest sets of keys."""
        mode: Mode = "eval" if self.table.mode == "eval" else "train"
        ours = [s for s in self.table.shapes.values() if any(map(self.metric, s.keys))]
        often = sorted(ours, key=lambda shape: -len(shape.rows))
        return {shape.keys: self.checker.plan(shape.keys, mode) for shape in often[:PLANS]}

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The columns, but for copies of older ones (``snapshot/``)."""
        copies = tuple(self.copies)
        return {
            k: c for k, c in self.table.columns.items() if not (copies and k.startswith(copies))
        }

    @cached_property
    def names(self) -> dict[str, Name]:
        """The parts of each key."""
        return {key: named(key) for key in self.columns}

    @cached_property
    def families(self) -> dict[str, list[str]]:
        """The keys of each family."""
        found: dict[str, list[str]] = {}
        for key, name in self.names.items():
            found.setdefault(name.family, []).append(key)
        return found

    @cached_property
    def lasts(self) -> dict[str, list[str]]:
        """The keys that share their last segment."""
        found: dict[str, list[str]] = {}
        for key, name in self.names.items():
            found.setdefault(name.last, []).append(key)
        return found

    @cached_property
    def stems(self) -> dict[tuple[str, ...], list[str]]:
        """The keys that share their stem, in whatever family."""
        found: dict[tuple[str, ...], list[str]] = {}
        for key, name in self.names.items():
            found.setdefault(name.stem, []).append(key)
        return found

    @cached_property
    def copies(self) -> tuple[str, ...]:
        """Prefixes under which most keys repeat other keys of the log: ``snapshot/``."""
        keys, counts = self.table.columns, dict[str, int]()
        for key in keys:
            prefix, slash, rest = key.partition("/")
            if slash and rest in keys and prefix not in {"train", "eval", "test"}:
                counts[prefix + "/"] = counts.get(prefix + "/", 0) + 1
        return tuple(
            prefix
            for prefix, count in counts.items()
            if count >= 2 and 2 * count >= sum(key.startswith(prefix) for key in keys)
        )

    def rows_of(self, key: str) -> frozenset[int]:
        """The rows that have ``key``."""
        if key not in self._rows:
            self._rows[key] = frozenset(self.columns[key].rows)
        return self._rows[key]

    def copied(self, key: str) -> bool:
        """Whether ``key`` is a copy of an older value."""
        return key.startswith(self.copies)

    @cached_property
    def counters(self) -> tuple[str, ...]:
        """Keys of whole numbers that may be how often something was counted."""
        told = [k for k, n in self.names.items() if n.counts or n.things or "samples" in n.words]
        return tuple(
            key
            for key in (*told, *(k for k in self.columns if k.endswith("micro_steps")))
            if self.columns[key].whole and 2 <= self.columns[key].least <= 1e6
        )

    def metric(self, key: str) -> Metric | None:
        """What declares ``key``, None where nothing does."""
        if key not in self._metrics:
            found = self.catalogue.resolve(key)
            self._metrics[key] = None if found is None else found.metric
        return self._metrics[key]

    def kin(self, key: str, *endings: str) -> str | None:
        """The key of the same family whose last segment is that stem with one of the endings."""
        name = named(key)
        for ending in endings:
            found = name.family + "_".join(name.stem) + ending
            if found in self.columns and found != key:
                return found
        return None


def shown(values: Iterable[float], most: int = 3) -> str:
    """A few numbers for a sentence.

    >>> shown([2880.0, 2952.0, 0.25, 1.0])
    '2880, 2952, 0.25, ...'
    """
    parts = [f"{value:.10g}" for _, value in zip(range(most + 1), values, strict=False)]
    return ", ".join(parts[:most]) + ", ..." * (len(parts) > most)


def said(key: str) -> str:
    """A key in a sentence."""
    return safe_text(key, 160)
