"""Names are put on once, at the boundary: train names in, the mode's names out.

A key is dropped where the contract says that it never leaves (internal, suppressed, removed, no key
at all); an unknown one is delivered and reported, for data is evidence.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .catalogue import Catalogue, Resolution
from .deprecation import renames
from .errors import RemovedKeyError, safe_text
from .keys import is_internal, well_formed
from .metric import EVAL_PREFIX, Metric, Mode

__all__ = ["Named", "Naming", "Violation"]

MAX_SUGGESTIONS = 5
LOCAL_PREFIX = "local/"


class Violation(NamedTuple):
    """One breach of the contract: its code, the key, and what to do about it."""

    code: str
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


@dataclass
class Named:
    """What becomes of a payload's keys.

    Attributes:
        wire: the sinks' name of each kept position.
        dropped: the code of each key that does not leave.
        violations: what the keys alone violate.
        metrics: the metric at each position that has one.
        where: the position of each metric, by train name, as formulas look it up.
        doubles: positions that name a metric which another position already names.
        aliases: further names under which a position is logged, with the flag that switches them.
        notes: keys that still leave, and soon will not; nothing is violated yet.
    """

    wire: dict[int, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    metrics: dict[int, Metric] = field(default_factory=dict)
    where: dict[str, int] = field(default_factory=dict)
    doubles: dict[int, int] = field(default_factory=dict)
    aliases: list[tuple[str, int, int | None]] = field(default_factory=list)
    notes: list[Violation] = field(default_factory=list)
    keys: tuple[object, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether every key leaves, in order, each once."""
        return len(self.wire) == len(self.keys)

    def by_key(self, values: Sequence[float]) -> dict[str, float]:
        """``values`` by train name."""
        return {key: values[position] for key, position in self.where.items()}

    def conflicts(self, values: Sequence[float]) -> Iterator[Violation]:
        """Two spellings of one metric with different values."""
        for double, position in self.doubles.items():
            if values[double] != values[position]:
                yield Violation(
                    "collision",
                    self.metrics[position].key,
                    f"is {values[position]!r} as {self.keys[position]!r} "
                    f"but {values[double]!r} as {self.keys[double]!r}",
                )


class Naming:
    """Decides names for a catalogue and the patterns that a user carries."""

    def __init__(self, catalogue: Catalogue, carry: Sequence[str] = ()) -> None:
        self._catalogue = catalogue
        self._carry = tuple(carry)
        self._renames = renames(catalogue)

    def named(self, keys: tuple[object, ...], mode: Mode) -> Named:
        """What becomes of ``keys`` in a payload of ``mode``."""
        names = Named(keys=keys)
        for position, key in enumerate(keys):
            if isinstance(key, str) and well_formed(key):
                self._name(names, position, key, mode)
            else:
                code = "key.grammar" if type(key) is str else "key.type"
                names.dropped[safe_text(key)] = code
                names.violations.append(
                    Violation(code, safe_text(key), "is no key; use printable ASCII such as a/b")
                )
        self._find_doubles(names)
        self._find_aliases(names, mode)
        self._write_both_names(names, mode)
        return names

    def _name(self, names: Named, position: int, key: str, mode: Mode) -> None:
        if is_internal(key):
            names.dropped[key] = "key.internal"
            names.violations.append(Violation("internal", key, "is an internal helper; it stays"))
            return
        if self._catalogue.is_suppressed(key, mode):
            names.dropped[key] = "key.suppressed"
            return
        found = self._catalogue.resolve(key)
        if found is None and mode == "eval":
            found = self._catalogue.resolve(EVAL_PREFIX + key)
        if found is None:
            self._unknown(names, position, key, mode)
            return
        names.metrics[position] = found.metric
        if found.metric.deprecated is not None:
            names.notes.append(Violation("deprecated", key, f"is {found.metric.deprecated}"))
        names.wire[position] = self._wire(names, key, found, mode)

    def _wire(self, names: Named, key: str, found: Resolution, mode: Mode) -> str:
        metric = found.metric
        if found.mode not in {None, mode} or mode not in metric.modes:
            why = f"belongs to {' and '.join(metric.modes)}, not to a payload of mode {mode}"
            if mode in metric.modes:
                why = f"is a name of evaluation in a payload of mode {mode}"
            names.violations.append(Violation("wrong_mode", key, why))
            return key if mode == "train" else _prefixed(key)
        return metric.key_in(mode)

    def _unknown(self, names: Named, position: int, key: str, mode: Mode) -> None:
        if not (self._is_local(key) or any(fnmatch.fnmatchcase(key, p) for p in self._carry)):
            suggest = len(names.violations) < MAX_SUGGESTIONS
            error = self._catalogue.unknown(key, suggest=suggest)
            code = "removed" if isinstance(error, RemovedKeyError) else "unregistered"
            names.violations.append(Violation(code, key, str(error).partition(" ")[2]))
            if code == "removed":
                names.dropped[key] = "key.removed"
                return
        names.wire[position] = key if mode == "train" else _prefixed(key)

    def _is_local(self, key: str) -> bool:
        """Whether ``key`` is a declared one, of a single rank where a run has several."""
        return key.startswith(LOCAL_PREFIX) and key.removeprefix(LOCAL_PREFIX) in self._catalogue

    @staticmethod
    def _find_doubles(names: Named) -> None:
        """One position a wire name; the canonical spelling wins, the others are doubles."""
        by_wire: dict[str, int] = {}
        for position, wire in sorted(names.wire.items(), key=lambda item: _rank(names, item[0])):
            winner = by_wire.setdefault(wire, position)
            if winner != position:
                names.doubles[position] = winner
                names.dropped[str(names.keys[position])] = "key.double"
        for position in names.doubles:
            del names.wire[position]
        for position in names.wire:
            metric = names.metrics.get(position)
            if metric is not None:
                names.where[metric.key] = position
                if metric.eval_twin is not None:
                    names.where.setdefault(metric.eval_twin.key, position)

    @staticmethod
    def _find_aliases(names: Named, mode: Mode) -> None:
        for position in names.wire:
            metric = names.metrics.get(position)
            for alias in metric.logged_aliases if metric else ():
                switch = metric.alias_switch if metric else ""
                wire = alias if mode == "train" else _prefixed(alias)
                names.aliases.append((wire, position, names.where.get(switch)))

    def _write_both_names(self, names: Named, mode: Mode) -> None:
        """A rename under way: whichever name was observed, the other is written beside it."""
        for pair in self._renames:
            for observed, other in (pair, pair[::-1]):
                position = names.where.get(observed.key)
                if position is not None and other.key not in names.where and mode in other.modes:
                    names.aliases.append((other.key_in(mode), position, None))


def _rank(names: Named, position: int) -> tuple[bool, int]:
    metric = names.metrics.get(position)
    return metric is None or names.keys[position] not in {metric.key, metric.eval_key}, position


def _prefixed(key: str) -> str:
    return key if key.startswith(EVAL_PREFIX) else EVAL_PREFIX + key
