"""What keys alone do wrong: looked at once for each set of keys, counted for each record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ..contract.catalogue import Catalogue
from ..contract.check import Plan
from ..contract.errors import safe_text
from .families import Families
from .findings import MAX_PLACES, Findings
from .rules import RULE_OF_CODE
from .spelling import CARRIED, Misspelt, Spellings, carried

__all__ = ["Names"]

MAX_USES = 256
MAX_SUGGESTED = 50
MAX_REMEMBERED = 10_000


class Fault(NamedTuple):
    """What a key alone does wrong."""

    rule: str
    key: str
    message: str
    metric: str | None = None
    family: str | None = None


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


class Names:
    """The keys that were met, and what is wrong with them."""

    def __init__(self, findings: Findings, catalogue: Catalogue) -> None:
        self.declared: set[str] = set()
        self.undeclared: dict[str, str | None] = {}
        self._findings = findings
        self._catalogue = catalogue
        self._families = Families(catalogue)
        self._spellings = Spellings(catalogue)
        self.met: dict[str, int] = {}
        self._uses: dict[int, Use] = {}
        self._canonical: dict[str, str | None] = {}
        self._suggested = 0

    def seen(self, plan: Plan, place: tuple[str, int]) -> None:
        """A record at ``place`` has the keys of ``plan``."""
        found = self._uses.get(id(plan))
        if found is None:
            if len(self._uses) >= MAX_USES:
                self.finish()
            found = self._uses[id(plan)] = Use(plan, list(self._faults(plan)))
        found.seen_at(place)

    def finish(self) -> None:
        """Say what was found."""
        for use in self._uses.values():
            for key in use.plan.names.keys:
                if key in self.met or len(self.met) < MAX_REMEMBERED:
                    self.met[str(key)] = self.met.get(str(key), 0) + use.count
            for fault in use.faults:
                more = {} if fault.family is None else {"family": fault.family}
                self._findings.add(
                    fault.rule,
                    fault.message,
                    key=fault.key,
                    metric=fault.metric,
                    places=use.places,
                    count=use.count,
                    evidence=more,
                )
        self._uses.clear()

    def canonical(self, key: str) -> str | None:
        """The canonical key; remembered, for the answer that there is none takes a search."""
        if key not in self._canonical:
            if len(self._canonical) >= MAX_REMEMBERED:
                self._canonical.clear()
            found = self._catalogue.resolve(key)
            self._canonical[key] = None if found is None else found.metric.key
        return self._canonical[key]

    def _faults(self, plan: Plan) -> Iterator[Fault]:
        names = plan.names
        self.declared.update(metric.key for metric in names.metrics.values())
        twice = {key for key in map(str, names.keys) if self._families.prefixed_twice(key)}
        for key in sorted(twice):
            yield Fault("CXM205", key, f"{safe_text(key)} has its prefix twice")
        for code, key, message in names.violations:
            if key in twice:
                continue
            if code == "unregistered":
                yield self._unknown(key)
            else:
                shown = key if code.startswith("key.") else safe_text(key)
                yield Fault(RULE_OF_CODE[code], key, f"{shown} {message}", self.canonical(key))
        for _, key, message in names.notes:
            yield Fault("CXM210", key, f"{safe_text(key)} {message}", self.canonical(key))
        for key, code in names.dropped.items():
            if code == "key.suppressed":
                yield Fault("CXM204", key, f"{safe_text(key)} is suppressed in this mode")

    def _copy_of_unknown(self, key: str) -> Misspelt | None:
        """A carried key whose original was met, and named, under its own name."""
        if key.startswith(CARRIED) and key.removeprefix(CARRIED) in self.undeclared:
            return carried(key, None)
        return None

    def _unknown(self, key: str) -> Fault:
        misspelt = self._spellings.of(key) or self._copy_of_unknown(key)
        if misspelt is not None:
            family = CARRIED if misspelt.rule == "CXM211" else None
            return Fault(misspelt.rule, key, misspelt.message, misspelt.metric, family)
        family = self._families.undeclared(key)
        if len(self.undeclared) < MAX_REMEMBERED:
            self.undeclared[key] = family
        if family is not None:
            message = f"{safe_text(key)}: nothing under {safe_text(family)} is in the catalogue"
            return Fault("CXM207", key, message, family=family)
        near: tuple[str, ...] = ()
        if self._suggested < MAX_SUGGESTED:
            self._suggested += 1
            near = self._catalogue.near(key)
        hint = f"; did you mean {safe_text(near[0])}?" if near else ""
        return Fault("CXM201", key, f"{safe_text(key)} is not in the catalogue{hint}")
