"""``emit`` takes anything: the usual payload at once, any other value by value, or it says why not.

Nothing escapes but the host's own KeyboardInterrupt, unless the registry is strict.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .contract.check import Violation
from .contract.errors import PayloadError, Problem, SchemaVersionError
from .contract.payload import Payload, open_envelope
from .emission import Emission, EmitReport, Laws, Namer, items_of
from .handover import HandOver, Stamp, sections_of
from .sinks.encode import plain
from .snapshot import InFlight, is_in_flight
from .workers import is_at_work

__all__ = ["Intake", "Refusal", "Sorted"]


class Refusal:
    """A payload that was not taken."""

    def __init__(self, code: str, violations: Sequence[Violation]) -> None:
        self.code = code
        self.violations = violations


@dataclass(slots=True)
class Sorted:
    """A payload that was taken value by value.

    Attributes:
        payload: mode, step, coverage and data set.
        emission: its numbers under the sinks' names.
        stamp: its place in the order, and in the spool.
        is_checked: whether its laws were checked already.
        waiting: numbers on their way from a device.
    """

    payload: Payload
    emission: Emission
    stamp: Stamp
    is_checked: bool = False
    waiting: InFlight | None = None


class Intake:
    """Takes payloads for one registry.

    Args:
        namer: puts names on.
        hand_over: takes the usual ones.
        inbox: where the others go.
        laws: for a strict registry, which checks everything here; None for any other.

    Attributes:
        refusal: why nothing is taken any more: ``closed``, ``forked``, ``unpickled``; or None.
    """

    def __init__(
        self, namer: Namer, hand_over: HandOver, inbox: deque[Any], laws: Laws | None
    ) -> None:
        self.refusal: str | None = None
        self._namer = namer
        self._hand_over = hand_over
        self._inbox = inbox
        self._laws = laws

    def emit(self, payload: Mapping[str, Any] | Payload) -> EmitReport:
        """Take ``payload``, or say why not."""
        if is_at_work():
            return self.refused("emit.reentrant", "emit", "was called by a sink or a log handler")
        if self.refusal is not None:
            return self.refused(self.refusal, "emit", _WHY[self.refusal])
        try:
            report = self._hand_over.usual(payload) if self._laws is None else None
            return self._unusual(payload) if report is None else report
        except PayloadError:
            if self._laws is not None:
                raise
            return self.refused("payload.unreadable", "payload", "cannot be read")
        except Exception as error:
            why = f"cannot be read: {type(error).__name__}"
            if self._laws is not None:
                problem = Problem("payload.unreadable", "payload", why)
                raise PayloadError([problem]) from error
            return self.refused("payload.unreadable", "payload", why)

    def refused(self, code: str, path: str, why: str) -> EmitReport:
        """Count a payload that was not taken."""
        violation = _new(Violation, (code, path, why))
        report: EmitReport = _new(EmitReport, (0, {path: code}, (violation,)))
        self._inbox.append(Refusal(code, (violation,)))
        return report

    def _unusual(self, payload: Mapping[str, Any] | Payload) -> EmitReport:
        envelope, problems = open_envelope(payload)
        if envelope is None:
            return self._rejected(problems, payload)
        given = items_of(envelope.metrics)
        on_device = {} if self._laws is not None else _on_device(given)
        coverage, extra = plain(envelope.coverage), plain(envelope.extra)
        envelope = replace(envelope, coverage=coverage, extra=extra)
        if on_device:
            host = {key: value for key, value in given if key not in on_device}
            envelope = replace(envelope, metrics=host)
        emission = self._namer.emission(envelope)
        if self._laws is not None:
            mode, step = envelope.mode, envelope.global_step
            found = self._laws.broken(emission.plan, emission.values, mode, step)
            emission.violations += found
            if emission.problems:
                raise PayloadError(emission.problems)
        waiting = InFlight(on_device) if on_device else None
        row = _row(envelope, emission)
        if on_device:
            row["pending"] = list(on_device)
        stamp = self._hand_over.stamped(row, coverage)
        taken = replace(envelope, metrics={}, nonfinite={}, extra={})
        self._inbox.append(Sorted(taken, emission, stamp, self._laws is not None, waiting))
        return self._report(len(given) + len(envelope.nonfinite), emission, on_device, envelope)

    def _report(
        self, count: int, emission: Emission, on_device: Mapping[str, Any], envelope: Payload
    ) -> EmitReport:
        dropped, violations = {**emission.dropped}, [*emission.violations]
        if on_device:
            names = self._namer.plan(tuple(on_device), envelope.mode).names
            dropped |= names.dropped
            violations += names.violations
        return EmitReport(count - len(dropped), dropped, tuple(violations))

    def _rejected(
        self, problems: list[Problem], payload: Mapping[str, Any] | Payload
    ) -> EmitReport:
        if self._laws is not None:
            if problems[0].path == "schema_version":
                found = payload.get("schema_version") if isinstance(payload, Mapping) else None
                raise SchemaVersionError(problems, found)
            raise PayloadError(problems)
        violations = tuple(Violation(*problem) for problem in problems)
        self._inbox.append(Refusal(problems[0].code, violations))
        return EmitReport(0, {problem.path: problem.code for problem in problems}, violations)


# Near the limit of recursion the constructor of a named tuple is one call too many.
_new: Callable[..., Any] = tuple.__new__
_WHY = {
    "closed": "came after close; the payload is dropped",
    "forked": "came in a forked process; call reopen() there to log from it",
    "unpickled": "came to a copy from another process; call reopen() to log from it",
}


def _on_device(items: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    return {key: value for key, value in items if type(key) is str and is_in_flight(value)}


def _row(payload: Payload, emission: Emission) -> dict[str, Any]:
    """The record as a log spells it, for the spool."""
    row: dict[str, Any] = {
        "mode": payload.mode,
        "global_step": payload.global_step,
        "metrics": emission.metrics,
    }
    optional = {
        "nonfinite": emission.nonfinite,
        "dataset": payload.dataset,
        "coverage": payload.coverage,
    }
    row |= {name: data for name, data in optional.items() if data}
    return row | sections_of(emission.extra)
