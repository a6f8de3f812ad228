"""From a payload to a record: values checked by exact type, names put on, laws checked.

Types, keys and names are decided where ``emit`` is called; what the values say of one another, in
``Laws``, is decided on the registry's own thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from .contract.check import Checker, Plan, Violation
from .contract.errors import Problem, safe_text
from .contract.metric import Mode
from .contract.payload import MAX_KEYS, Payload
from .contract.values import Rejected, nonfinite_name, plain_number

__all__ = ["PLAIN", "EmitReport", "Emission", "Laws", "Namer"]

PLAIN = frozenset({float, int})


class EmitReport(NamedTuple):
    """What became of one payload.

    Attributes:
        accepted: how many keys were handed to the sinks.
        dropped: the code of each key, or section, that was not.
        violations: what types, keys and names violate; each has .code, .key, .message. Bounds and
            laws are checked off the caller's thread and reach ``registry.report()``; with
            ``on_violation="raise"`` everything is checked here.
    """

    accepted: int
    dropped: Mapping[str, str]
    violations: tuple[Violation, ...]


@dataclass
class Emission:
    """What one payload becomes.

    Attributes:
        plan: what its keys decide.
        values: the finite numbers, in the order of the plan's keys.
        metrics: finite numbers under the sinks' names.
        nonfinite: the other numbers, by name.
        dropped: the code of each key that was refused.
        violations: what the contract says against it.
        extra: sections beside the metrics, with the losers of collisions.
    """

    plan: Plan
    values: list[float]
    metrics: dict[str, float]
    nonfinite: dict[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def problems(self) -> list[Problem]:
        """Everything that a strict registry raises."""
        said = {violation.key for violation in self.violations}
        problems = [
            *(Problem(v.code, f"metrics[{v.key!r}]", v.message) for v in self.violations),
            *(
                Problem(code, f"metrics[{key}]", "is refused")
                for key, code in self.dropped.items()
                if key not in said and code not in {"key.suppressed", "key.double"}
            ),
        ]
        return [problem for problem in problems if problem.code != "law.weak"]


class Namer:
    """Turns payloads into emissions under the sinks' names; their laws are not checked yet."""

    def __init__(self, checker: Checker, *, aliases: bool = True) -> None:
        self._checker = checker
        self._aliases = aliases

    def plan(self, keys: tuple[object, ...], mode: Mode) -> Plan:
        """What ``keys`` decide in a payload of ``mode``."""
        return self._checker.plan(keys, mode)

    def metrics(self, plan: Plan, values: list[float]) -> dict[str, float]:
        """``values`` under the sinks' names, aliases included."""
        names = plan.names
        if names.plain:
            metrics = dict(zip(plan.wire, values, strict=True))
        else:
            metrics = {wire: values[position] for position, wire in names.wire.items()}
        for alias, position, switch in self.aliases(plan):
            if switch is None or values[switch]:
                metrics.setdefault(alias, values[position])
        return metrics

    def aliases(self, plan: Plan) -> list[tuple[str, int, int | None]]:
        """The further names of some positions, with the flag that switches each."""
        return plan.names.aliases if self._aliases else []

    def joined(self, host: Emission, numbers: Mapping[str, float], payload: Payload) -> Emission:
        """``host`` with the numbers of the same payload that came later."""
        known = dict(zip(map(str, host.plan.names.keys), host.values, strict=True))
        emission = self.emission(replace(payload, metrics={**known, **numbers}))
        emission.nonfinite = {**host.nonfinite, **emission.nonfinite}
        emission.dropped = {**host.dropped, **emission.dropped}
        said = set(emission.violations)
        emission.violations += [found for found in host.violations if found not in said]
        emission.extra = {**host.extra, **emission.extra}
        return emission

    def emission(self, payload: Payload) -> Emission:
        """Value by value: convert what is a number, set apart what is not finite, name the rest."""
        finite: dict[str, float] = {}
        nonfinite: dict[str, str] = dict(payload.nonfinite)
        dropped: dict[str, str] = {}
        said: list[Violation] = []
        for key, value in items_of(payload.metrics):
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
        emission = self._finite(finite, payload.mode)
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

    def _finite(self, finite: dict[str, float], mode: Mode) -> Emission:
        plan, values = self._checker.plan(tuple(finite), mode), list(finite.values())
        names = plan.names
        emission = Emission(plan, values, self.metrics(plan, values), dropped=names.dropped)
        emission.violations = [*names.violations, *names.conflicts(values)]
        if names.doubles:
            doubles = {str(names.keys[double]): values[double] for double in names.doubles}
            emission.extra = {"doubles": doubles}
        return emission

    def _name_nonfinite(self, emission: Emission, nonfinite: dict[str, str], mode: Mode) -> None:
        names = self._checker.plan(tuple(nonfinite), mode).names
        texts = list(nonfinite.values())
        emission.nonfinite = {
            wire: texts[position]
            for position, wire in names.wire.items()
            if wire not in emission.metrics
        }
        emission.dropped = {**emission.dropped, **names.dropped}
        emission.violations += names.violations


class Laws:
    """Checks bounds and laws; remembers the record before, for laws of succession."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._before: dict[Mode, tuple[int, dict[str, float]]] = {}

    def broken(
        self, plan: Plan, values: list[float], mode: Mode, global_step: int
    ) -> Iterator[Violation]:
        """What finite ``values`` violate."""
        yield from plan.broken(values)
        if plan.successions:
            now = plan.names.by_key(values)
            step, before = self._before.get(mode, (global_step, {}))
            self._before[mode] = global_step, now
            if step < global_step:
                yield from self._checker.succession(plan, now, before)


def are_plain(types: tuple[type, ...]) -> bool:
    """Whether values of these types need no conversion."""
    return PLAIN.issuperset(types)


def all_finite(values: list[float]) -> bool:
    """Whether no value is NaN or infinite; in doubt, as where only the sum overflows, False."""
    try:
        return math.isfinite(sum(values))
    except OverflowError:
        return False


def items_of(metrics: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """A snapshot of at most ``MAX_KEYS`` items; one more try where another thread adds keys."""
    try:
        return list(islice(metrics.items(), MAX_KEYS))
    except RuntimeError:
        return list(islice(dict(metrics).items(), MAX_KEYS))
