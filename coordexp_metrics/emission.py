"""From a payload to a record: values checked by exact type, names put on, laws checked.

The usual payload (plain finite numbers under the keys of the step before) takes the short way:
one look-up of its plan, one pass over its values. Everything else is sorted value by value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from .contract.check import Checker, Plan, Violation
from .contract.errors import Problem, safe_text
from .contract.metric import Mode
from .contract.payload import MAX_KEYS, Payload
from .contract.values import Rejected, nonfinite_name, plain_number

__all__ = ["Emission", "Emitter"]

_PLAIN = frozenset({float, int})


@dataclass
class Emission:
    """What one payload becomes.

    Attributes:
        metrics: finite numbers under the sinks' names.
        nonfinite: the other numbers, by name.
        dropped: the code of each key that was refused.
        violations: what the contract says against it.
        extra: sections beside the metrics, with the losers of collisions.
    """

    metrics: dict[str, float]
    nonfinite: dict[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> list[Problem]:
        """Everything that a strict registry raises."""
        said = {violation.key for violation in self.violations}
        return [
            *(Problem(v.code, f"metrics[{v.key!r}]", v.message) for v in self.violations),
            *(
                Problem(code, f"metrics[{key}]", "is refused")
                for key, code in self.dropped.items()
                if key not in said and code not in {"key.suppressed", "key.double"}
            ),
        ]


class Emitter:
    """Turns payloads into emissions; remembers the record before, for laws of succession."""

    def __init__(self, checker: Checker, *, aliases: bool = True) -> None:
        self._checker = checker
        self._aliases = aliases
        self._before: dict[Mode, tuple[int, dict[str, float]]] = {}

    def emission(self, payload: Payload) -> Emission:
        """The emission of a payload whose envelope is sound."""
        metrics = payload.metrics
        if type(metrics) is dict and not payload.nonfinite and not payload.extra:
            keys, values = tuple(metrics), list(metrics.values())
            if _usual(keys, values):
                return self._finite(keys, values, payload)
        return self._sorted(payload)

    def _finite(self, keys: tuple[object, ...], values: list[float], payload: Payload) -> Emission:
        mode = payload.mode
        plan = self._checker.plan(keys, mode)
        names = plan.names
        if names.plain:
            metrics = dict(zip(plan.wire, values, strict=True))
        else:
            metrics = {wire: values[position] for position, wire in names.wire.items()}
        violations = [*names.violations, *plan.broken(values)]
        if plan.successions:
            violations += self._succession(plan, values, payload)
        if self._aliases and names.aliases:
            _write_aliases(metrics, plan, values)
        emission = Emission(metrics, dropped=names.dropped, violations=violations)
        if names.doubles:
            violations += names.conflicts(values)
            doubles = {str(keys[double]): values[double] for double in names.doubles}
            emission.extra = {"doubles": doubles}
        return emission

    def _succession(self, plan: Plan, values: list[float], payload: Payload) -> list[Violation]:
        now = plan.names.by_key(values)
        step, before = self._before.get(payload.mode, (payload.global_step, {}))
        self._before[payload.mode] = payload.global_step, now
        if step >= payload.global_step:
            return []
        return list(self._checker.succession(plan, now, before))

    def _sorted(self, payload: Payload) -> Emission:
        """Value by value: convert what is a number, set apart what is not finite, name the rest."""
        finite: dict[str, float] = {}
        nonfinite: dict[str, str] = dict(payload.nonfinite)
        dropped: dict[str, str] = {}
        said: list[Violation] = []
        for key, value in _items(payload.metrics):
            if type(key) is not str:
                dropped[safe_text(key)] = "key.type"
                said.append(Violation("key.type", safe_text(key), "is no str"))
                continue
            try:
                number = plain_number(value)
            except Rejected as why:
                name = safe_text(key)[1:-1]
                dropped[name] = why.code
                said.append(Violation(why.code, name, str(why)))
                continue
            text = nonfinite_name(number)
            if text is None:
                finite[key] = number
            else:
                nonfinite[key] = text
        emission = self._finite(tuple(finite), list(finite.values()), payload)
        emission.dropped = {**emission.dropped, **dropped}
        emission.violations += said
        emission.extra = {**payload.extra, **emission.extra}
        emission.violations += [
            Violation("section.unknown", safe_text(name), "is no section of version 1; it is kept")
            for name in payload.extra
        ]
        if nonfinite:
            self._name_nonfinite(emission, nonfinite, payload.mode)
        return emission

    def _name_nonfinite(self, emission: Emission, nonfinite: dict[str, str], mode: Mode) -> None:
        keys = tuple(nonfinite)
        names = self._checker.plan(keys, mode).names
        texts = list(nonfinite.values())
        emission.nonfinite = {
            wire: texts[position]
            for position, wire in names.wire.items()
            if wire not in emission.metrics
        }
        emission.dropped = {**emission.dropped, **names.dropped}
        emission.violations += names.violations


def _usual(keys: tuple[object, ...], values: list[Any]) -> bool:
    try:
        return (
            _PLAIN.issuperset(map(type, values))
            and all(map(math.isfinite, values))
            and set(map(type, keys)) <= {str}
        )
    except OverflowError:
        return False


def _write_aliases(metrics: dict[str, float], plan: Plan, values: list[float]) -> None:
    for alias, position, switch in plan.names.aliases:
        if switch is None or values[switch]:
            metrics.setdefault(alias, values[position])


def _items(metrics: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """A snapshot of at most ``MAX_KEYS`` items; one more try where another thread adds keys."""
    try:
        return list(islice(metrics.items(), MAX_KEYS))
    except RuntimeError:
        return list(islice(dict(metrics).items(), MAX_KEYS))
