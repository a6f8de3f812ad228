"""A catalogue is checked by rules in a table; a user's own gets the same treatment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from ..audit.findings import Finding
from ..catalogue import CATALOGUE
from ..contract.catalogue import Catalogue
from ..contract.errors import DeclarationError, safe_text
from ..contract.sources import pages_from
from .ends import circles, expired, replacements
from .fault import Fault
from .names import alike, suffixes, units
from .parts import absent_parts, collisions
from .rules import RULES
from .sources import catalogue_at

__all__ = ["check_catalogue", "check_source"]

Check: TypeAlias = Callable[[Catalogue], Iterator[Fault]]
CHECKS: tuple[Check, ...] = (
    suffixes, units, alike, circles, replacements, collisions, expired, absent_parts,
)  # fmt: skip
_RANK = {"error": 0, "warning": 1, "note": 2}


def check_source(source: str) -> tuple[list[Finding], int]:
    """What is wrong with the catalogue that ``source`` names, and how many keys were looked at.

    Keys that stand beside the contract's, and need them for a formula, are checked among them.

    Raises:
        DeclarationError: there is nothing at ``source``.
    """
    if source.endswith(".json") and not Path(source).is_file():
        raise DeclarationError(f"{safe_text(source, 400)}: there is no such file")
    try:
        found, new = _own(source)
    except DeclarationError as error:
        if not _is_a_fault(source, error):
            raise
        return [_finding(Fault("CXM600", "", safe_text(str(error), 600)[1:-1]), None, source)], 1
    return check_catalogue(found, source, new), len(found if new is None else new)


def _own(source: str) -> tuple[Catalogue, Collection[str] | None]:
    """The catalogue, and which keys of it are meant where it holds the contract's too."""
    try:
        found = catalogue_at(source)
    except DeclarationError:
        if source.startswith("git:"):
            raise
        return _beside(source)
    return found, None


def _beside(source: str) -> tuple[Catalogue, Collection[str]]:
    pages = pages_from(source)
    found = CATALOGUE.extended(*pages)
    return found, {metric.key for page in pages for metric in page.metrics}


def _is_a_fault(source: str, error: DeclarationError) -> bool:
    """Whether a catalogue was found and refused: a source that is none is no finding."""
    return not source.startswith("git:") and "is no module" not in str(error)


def check_catalogue(
    catalogue: Catalogue, path: str = "", only: Collection[str] | None = None
) -> list[Finding]:
    """Everything that the rules say, errors first.

    Args:
        catalogue: the declarations.
        path: what to name where a metric says no file of its own.
        only: keys to speak of; None for all.

    >>> from coordexp_metrics import CATALOGUE
    >>> check_catalogue(CATALOGUE)
    []
    """
    faults: Iterable[Fault] = dict.fromkeys(fault for check in CHECKS for fault in check(catalogue))
    mine = [fault for fault in faults if only is None or fault.key in only]
    found = [_finding(fault, catalogue, path) for fault in mine]
    return sorted(found, key=lambda f: (_RANK[f.severity], f.rule, f.path, f.line, f.message))


def _finding(fault: Fault, catalogue: Catalogue | None, path: str) -> Finding:
    metric = None if catalogue is None else catalogue.get(fault.key)
    file, line = ("", 0) if metric is None else metric.declared_at
    key = None if metric is None else metric.key
    where = _relative(file) if file else path
    severity = RULES[fault.rule].severity
    return Finding(fault.rule, severity, fault.key, key, where, line, fault.message, {"count": 1})


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file
