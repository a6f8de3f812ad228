"""One record after the other: its names, values, bounds and laws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.check import MAX_PLANS, Checker, Plan, Violation
from ..contract.errors import safe_text
from ..contract.metric import Mode
from ..contract.record import Record
from .checks import Checks
from .context import Context
from .definitions import Definitions
from .findings import Finding, Findings
from .names import Names
from .presence import Presence
from .readers.modes import PROGRESS_TEXT
from .rules import RULE_OF_CODE

__all__ = ["Inspector"]

MAX_LAW = 200
MAX_MET = 10_000
# Sections that the registry itself adds.
OWN_SECTIONS = frozenset({"doubles", "extra", "crc", "lossy"})
LOSSES = ("contract/rejected_total", "contract/dropped_total")


class Inspector:
    """Checks records one by one and says what it finds to ``findings``.

    With a ``context`` it also looks at what should stand in a record, and what should not.
    """

    def __init__(
        self,
        findings: Findings,
        catalogue: Catalogue,
        carry: Sequence[str],
        parameters: Mapping[str, float] | None,
        context: Context | None = None,
    ) -> None:
        self._findings = findings
        self._catalogue = catalogue
        self._carry = carry
        self._names = Names(findings, catalogue)
        self._checker = Checker(catalogue, carry, parameters)
        self._definitions = Definitions(findings, catalogue)
        self._presence = None if context is None else Presence(findings, catalogue, context)
        self._told = dict(parameters or {})
        # Beside a context, what was told completes what headers say; else it stands for them.
        self._given = parameters is not None and context is None
        self._before: dict[tuple[str, str], tuple[int, dict[str, float]]] = {}
        self._checks: dict[int, Checks] = {}
        self._met: dict[tuple[str, str], Finding] = {}

    def use_header(self, header: Mapping[str, Any], path: str) -> None:
        """Take parameters from the header of the log at ``path``, and look at its definitions."""
        written = header.get("parameters")
        if type(written) is dict and not self._given:
            numbers = {k: v for k, v in written.items() if type(v) in {int, float}}
            self._use_parameters({**self._checker.parameters, **numbers, **self._told})
        self._definitions.take(header, path)
        if self._presence is not None:
            self._presence.use_header(header)

    def _use_parameters(self, parameters: Mapping[str, float]) -> None:
        """Check by other parameters from now on: plans hold those that they were made with."""
        if parameters != self._checker.parameters:
            self._checker = Checker(self._catalogue, self._carry, parameters)
            self._checks.clear()

    def take(self, record: Record) -> None:
        """Check one record."""
        place = record.origin or ("", 0)
        row = list(record.metrics.values())
        checks = self._checks_of(self._checker.plan(tuple(record.metrics), record.mode))
        self._names.seen(checks.plan, place)
        # Numbers near the end of the floats overflow in formulas.
        with suppress(OverflowError, ZeroDivisionError):
            self._of_values(checks, row, record, place)
        if self._presence is not None:
            self._presence.take(record, checks.plan, row)
        if record.nonfinite:
            self._nonfinite(record, place)
        for key, text in record.skipped.items():
            self._no_number(key, text, place)
        self._lossy(record, place)
        for section in record.extra.keys() - OWN_SECTIONS if record.extra else ():
            message = f"has a section {safe_text(section)} that version 1 does not know"
            self._findings.add("CXM133", message, key=section, places=[place])

    def _checks_of(self, plan: Plan) -> Checks:
        """The checks of ``plan``; what was met is forgotten where plans are too many."""
        found = self._checks.get(id(plan))
        if found is None:
            if len(self._checks) >= MAX_PLANS:
                self._checks.clear()
            found = self._checks[id(plan)] = Checks(plan)
        return found

    @property
    def context(self) -> Context:
        """What is known of the last run."""
        return Context() if self._presence is None else self._presence.known()

    @property
    def names(self) -> Names:
        """The keys that were met."""
        return self._names

    def finish(self, modes: Iterable[Mode] = ()) -> None:
        """Say what keys alone did wrong, and what is missing in records of ``modes``."""
        self._names.finish()
        if self._presence is not None:
            self._presence.finish(self._names.declared, modes)

    def statistics(self) -> dict[str, Any]:
        """The keys that were met."""
        families: dict[str, int] = {}
        for family in self._names.undeclared.values():
            if family is not None:
                families[family] = families.get(family, 0) + 1
        return {
            "keys": {
                "declared": len(self._names.declared),
                "undeclared": len(self._names.undeclared),
            },
            "undeclared_families": dict(sorted(families.items())),
        }

    def _of_values(
        self, checks: Checks, row: list[float], record: Record, place: tuple[str, int]
    ) -> None:
        plan = checks.plan
        if plan.names.doubles:
            for violation in plan.names.conflicts(row):
                self._broken(violation, plan, place)
        for fault in checks.broken(row):
            if fault.said is None:
                fault.said = self._broken(fault.violation(), plan, place)
            else:
                fault.said.again((place,))
        if plan.successions:
            self._succession(checks, row, record, place)

    def _succession(
        self, checks: Checks, row: list[float], record: Record, place: tuple[str, int]
    ) -> None:
        """Laws over the record before, where the step goes forward."""
        now, log = checks.succeeding(row), (place[0], record.mode)
        step, before = self._before.get(log, (record.global_step, {}))
        self._before[log] = record.global_step, now
        if step < record.global_step:
            for violation in self._checker.succession(checks.plan, now, before):
                self._broken(violation, checks.plan, place)

    def _broken(self, violation: Violation, plan: Plan, place: tuple[str, int]) -> Finding:
        code, key, message = violation
        names, detail = plan.names, ""
        position = names.where.get(key)
        spelled = key if position is None else str(names.keys[position])
        if code.startswith("law"):
            # A law may name first what this record lacks; what it has is what can be looked up.
            detail, _, values = message.partition(" fails with ")
            if position is None:
                spelled = next((name for name in names.where if name in detail), key)
            message = f"{_shortened(detail)} fails with {values}"
        return self._findings.add(
            RULE_OF_CODE[code],
            f"{safe_text(spelled)}{':' * bool(detail)} {message}",
            key=spelled,
            metric=key,
            places=[place],
            detail=detail,
            evidence={"law": detail} if detail else None,
        )

    def _nonfinite(self, record: Record, place: tuple[str, int]) -> None:
        plan = self._checker.plan(tuple(record.nonfinite), record.mode)
        self._names.seen(plan, place)
        for key, text in record.nonfinite.items():
            self._value("CXM303", key, f"{safe_text(key)} is {text}", text, place)

    def _no_number(self, key: str, text: str, place: tuple[str, int]) -> None:
        rule = "CXM302" if text in {"true", "false"} else "CXM301"
        if key in PROGRESS_TEXT and text.startswith('"'):
            rule = "CXM306"
        elif not text.startswith(('"', "{", "[", "null", "true", "false")):
            return  # a token that the reader has named already
        if (rule, key) in self._met:
            self._met[rule, key].again((place,))
            return
        message = f"{safe_text(key)} is {safe_text(text)[1:-1]}, which is no number{_hint(text)}"
        found = self._value(rule, key, message, text, place)
        if len(self._met) < MAX_MET:
            self._met[rule, key] = found

    def _value(
        self, rule: str, key: str, message: str, text: str, place: tuple[str, int]
    ) -> Finding:
        metric = self._names.canonical(key)
        return self._findings.add(
            rule, message, key=key, metric=metric, places=[place], evidence={"value": text}
        )

    def _lossy(self, record: Record, place: tuple[str, int]) -> None:
        for key in LOSSES:
            count = record.health.get(key) or record.metrics.get(key)
            if count:
                message = f"{key} is {count:g} at last: the writer passed not everything on"
                self._findings.add("CXM501", message, key=key, metric=key, places=[place])
        if record.extra.get("lossy") is True:
            self._findings.add("CXM501", "the writer calls this log lossy", places=[place])


def _shortened(law: str) -> str:
    """A law whose formula is long, by its statement alone."""
    return law if len(law) <= MAX_LAW else law.partition(":")[0]


def _hint(text: str) -> str:
    if text == "null":
        return "; some writers make null of NaN"
    return "; flatten it into keys such as a/b" if text.startswith("{") else ""
