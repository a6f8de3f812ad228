"""One record after the other; what depends on keys alone is looked at once for each set of keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..contract.catalogue import Catalogue
from ..contract.check import Checker, Plan, Violation
from ..contract.errors import safe_text
from ..contract.record import Record
from .families import Families
from .findings import MAX_PLACES, Findings
from .readers.rows import NEUTRAL, PROGRESS_TEXT
from .rules import RULE_OF_CODE

__all__ = ["Inspector"]

MAX_USES = 256
MAX_LAW = 200
MAX_SUGGESTED = 50
MAX_REMEMBERED = 10_000
# Sections that the registry itself adds.
OWN_SECTIONS = frozenset({"doubles", "extra", "crc", "lossy"})
LOSSES = ("contract/rejected_total", "contract/dropped_total")


class Fault(NamedTuple):
    """What a key alone does wrong."""

    rule: str
    key: str
    message: str
    metric: str | None = None
    evidence: dict[str, Any] = {}  # noqa: RUF012


@dataclass
class Use:
    """A set of keys, and the records that have it."""

    plan: Plan
    faults: list[Fault]
    count: int = 0
    places: list[tuple[str, int]] = field(default_factory=list)

    def seen_at(self, place: tuple[str, int]) -> None:
        """Count a record."""
        self.count += 1
        if len(self.places) < MAX_PLACES:
            self.places.append(place)


class Inspector:
    """Checks records one by one and says what it finds to ``findings``."""

    def __init__(
        self,
        findings: Findings,
        catalogue: Catalogue,
        carry: Sequence[str],
        parameters: Mapping[str, float] | None,
    ) -> None:
        self._findings = findings
        self._catalogue = catalogue
        self._families = Families(catalogue)
        self._checker = Checker(catalogue, carry, parameters)
        self._given = parameters is not None
        self._uses: dict[int, Use] = {}
        self._before: dict[tuple[str, str], tuple[int, dict[str, float]]] = {}
        self._suggested = 0
        self._declared: set[str] = set()
        self._undeclared: dict[str, str | None] = {}
        self._canonical: dict[str, str | None] = {}

    def use_headers(self, headers: Iterable[Mapping[str, Any]]) -> None:
        """Take parameters from the log, and compare its definitions with the catalogue's."""
        for header in headers:
            parameters = header.get("parameters")
            if type(parameters) is dict and not self._given:
                numbers = {k: v for k, v in parameters.items() if type(v) in {int, float}}
                self._checker.parameters.update(numbers)
            definitions = header.get("definitions")
            for key, digest in definitions.items() if type(definitions) is dict else ():
                self._compare(key, digest)

    def _compare(self, key: str, digest: object) -> None:
        found = self._catalogue.resolve(key)
        if found is not None and found.metric.key == key and found.metric.digest != digest:
            message = f"{safe_text(key)} was logged under another definition than the catalogue's"
            self._findings.add("CXM209", message, key=key, metric=key, logged=safe_text(digest))

    def take(self, record: Record) -> None:
        """Check one record."""
        place = record.origin or ("", 0)
        keys, row = tuple(record.metrics), list(record.metrics.values())
        plan = self._checker.plan(keys, record.mode)
        self._use(plan).seen_at(place)
        for violation in self._of_values(plan, row, record, place[0]):
            self._broken(violation, plan, place)
        if record.nonfinite:
            self._nonfinite(record, place)
        for key, text in record.skipped.items():
            self._no_number(key, text, place)
        self._lossy(record, place)
        for section in record.extra.keys() - OWN_SECTIONS:
            message = f"has a section {safe_text(section)} that version 1 does not know"
            self._findings.add("CXM133", message, key=section, places=[place])

    def finish(self) -> None:
        """Say what keys alone did wrong."""
        for use in self._uses.values():
            for fault in use.faults:
                self._findings.add(
                    fault.rule,
                    fault.message,
                    key=fault.key,
                    metric=fault.metric,
                    places=use.places,
                    count=use.count,
                    **fault.evidence,
                )
        self._uses.clear()

    def statistics(self) -> dict[str, Any]:
        """The keys that were met."""
        families: dict[str, int] = {}
        for family in self._undeclared.values():
            if family is not None:
                families[family] = families.get(family, 0) + 1
        return {
            "keys": {"declared": len(self._declared), "undeclared": len(self._undeclared)},
            "undeclared_families": dict(sorted(families.items())),
        }

    def _of_values(
        self, plan: Plan, row: list[float], record: Record, path: str
    ) -> Iterator[Violation]:
        yield from plan.names.conflicts(row)
        try:
            yield from plan.broken(row)
            yield from self._succession(plan, row, record, path)
        except (OverflowError, ZeroDivisionError):  # of numbers near the end of the floats
            return

    def _succession(
        self, plan: Plan, row: list[float], record: Record, path: str
    ) -> Iterator[Violation]:
        """Laws over the record before, where the step goes forward."""
        if not plan.successions:
            return
        now = plan.names.by_key(row)
        step, before = self._before.get((path, record.mode), (record.global_step, {}))
        self._before[path, record.mode] = record.global_step, now
        if step < record.global_step:
            yield from self._checker.succession(plan, now, before)

    def _broken(self, violation: Violation, plan: Plan, place: tuple[str, int]) -> None:
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
        self._findings.add(
            RULE_OF_CODE[code],
            f"{safe_text(spelled)}{':' * bool(detail)} {message}",
            key=spelled,
            metric=key,
            places=[place],
            detail=detail,
            **({"law": detail} if detail else {}),
        )

    def _nonfinite(self, record: Record, place: tuple[str, int]) -> None:
        plan = self._checker.plan(tuple(record.nonfinite), record.mode)
        self._use(plan).seen_at(place)
        for key, text in record.nonfinite.items():
            found = self._catalogue.resolve(key)
            metric = None if found is None else found.metric.key
            message = f"{safe_text(key)} is {text}"
            self._findings.add(
                "CXM303", message, key=key, metric=metric, places=[place], value=text
            )

    def _no_number(self, key: str, text: str, place: tuple[str, int]) -> None:
        rule = "CXM302" if text in {"true", "false"} else "CXM301"
        if key in PROGRESS_TEXT and text.startswith('"'):
            rule = "CXM306"
        elif not text.startswith(('"', "{", "[", "null", "true", "false")):
            return  # a token that the reader has named already
        message = f"{safe_text(key)} is {safe_text(text)[1:-1]}, which is no number{_hint(text)}"
        self._value(rule, key, message, text, place)

    def _value(self, rule: str, key: str, message: str, text: str, place: tuple[str, int]) -> None:
        metric = self._metric(key)
        self._findings.add(rule, message, key=key, metric=metric, places=[place], value=text)

    def _metric(self, key: str) -> str | None:
        """The canonical key; remembered, for the answer that there is none takes a search."""
        if key not in self._canonical:
            if len(self._canonical) >= MAX_REMEMBERED:
                self._canonical.clear()
            found = self._catalogue.resolve(key)
            self._canonical[key] = None if found is None else found.metric.key
        return self._canonical[key]

    def _lossy(self, record: Record, place: tuple[str, int]) -> None:
        for key in LOSSES:
            count = record.health.get(key) or record.metrics.get(key)
            if count:
                message = f"{key} is {count:g} at last: the writer passed not everything on"
                self._findings.add("CXM501", message, key=key, metric=key, places=[place])
        if record.extra.get("lossy") is True:
            self._findings.add("CXM501", "the writer calls this log lossy", places=[place])

    def _use(self, plan: Plan) -> Use:
        found = self._uses.get(id(plan))
        if found is None:
            if len(self._uses) >= MAX_USES:
                self.finish()
            found = self._uses[id(plan)] = Use(plan, list(self._faults(plan)))
        return found

    def _faults(self, plan: Plan) -> Iterator[Fault]:
        names = plan.names
        self._declared.update(metric.key for metric in names.metrics.values())
        twice = {
            key for key in names.keys if type(key) is str and self._families.prefixed_twice(key)
        }
        for key in sorted(twice):
            yield Fault("CXM205", key, f"{safe_text(key)} has its prefix twice")
        for code, key, message in names.violations:
            if key in twice or (code == "wrong_mode" and key in NEUTRAL):
                continue
            if code == "unregistered":
                yield self._unknown(key)
            else:
                shown = key if code.startswith("key.") else safe_text(key)
                yield Fault(RULE_OF_CODE[code], key, f"{shown} {message}", self._metric(key))
        for key, code in names.dropped.items():
            if code == "key.suppressed":
                yield Fault("CXM204", key, f"{safe_text(key)} is suppressed in this mode")

    def _unknown(self, key: str) -> Fault:
        family = self._families.undeclared(key)
        if len(self._undeclared) < MAX_REMEMBERED:
            self._undeclared[key] = family
        if family is not None:
            message = f"{safe_text(key)}: nothing under {safe_text(family)} is in the catalogue"
            return Fault("CXM207", key, message, None, {"family": family})
        near: tuple[str, ...] = ()
        if self._suggested < MAX_SUGGESTED:
            self._suggested += 1
            near = self._catalogue.near(key)
        hint = f"; did you mean {safe_text(near[0])}?" if near else ""
        message = f"{safe_text(key)} is not in the catalogue{hint}"
        return Fault("CXM201", key, message, None, {"near": list(near)})


def _shortened(law: str) -> str:
    """A law whose formula is long, by its statement alone."""
    return law if len(law) <= MAX_LAW else law.partition(":")[0]


def _hint(text: str) -> str:
    if text == "null":
        return "; some writers make null of NaN"
    return "; flatten it into keys such as a/b" if text.startswith("{") else ""
