"""Where names lead: replacements exist, nothing runs in a circle, and what should be gone is."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract.catalogue import Catalogue
from ..contract.errors import safe_text
from .fault import Fault

__all__ = ["circles", "expired", "replacements"]


def _leads_to(catalogue: Catalogue) -> dict[str, tuple[str, ...]]:
    """Each removed or deprecated key, and what is to be used instead."""
    leads = {entry.pattern: entry.replacements for entry in catalogue.removed}
    for metric in catalogue.values():
        if metric.deprecated is not None and metric.deprecated.replacement:
            leads[metric.key] = (metric.deprecated.replacement,)
    return leads


def circles(catalogue: Catalogue) -> Iterator[Fault]:
    """Replacements, twins and switches that lead back to where they started."""
    leads = _leads_to(catalogue)
    for metric in catalogue.values():
        if metric.eval_twin is not None:
            leads.setdefault(metric.key, (metric.eval_twin.key,))
        if metric.alias_switch == metric.key:
            yield Fault("CXM606", metric.key, f"{metric.key} switches its own aliases")
    for start in leads:
        if start in _reached(start, leads):
            name = safe_text(start)[1:-1]
            yield Fault("CXM606", start, f"{name} is replaced by what it replaces")


def _reached(start: str, leads: dict[str, tuple[str, ...]]) -> set[str]:
    met: set[str] = set()
    waiting = list(leads[start])
    while waiting:
        name = waiting.pop()
        if name not in met:
            met.add(name)
            waiting += leads.get(name, ())
    return met


def replacements(catalogue: Catalogue) -> Iterator[Fault]:
    """Replacements that nothing declares; those with a hole fit some key."""
    for name, instead in _leads_to(catalogue).items():
        for replacement in instead:
            if "{1}" in replacement:
                lost = not _fits(replacement, catalogue)
            else:
                lost = replacement not in catalogue
            if lost:
                message = f"{_shown(name)} is replaced by {_shown(replacement)}, which is not here"
                yield Fault("CXM607", name, message)


def _fits(replacement: str, catalogue: Catalogue) -> bool:
    before, _, after = replacement.partition("{1}")
    return any(
        key.startswith(before) and key.endswith(after) and len(key) > len(before) + len(after)
        for key in catalogue
    )


def _shown(name: str) -> str:
    return safe_text(name, 202)[1:-1]


def expired(catalogue: Catalogue, version: str | None = None) -> Iterator[Fault]:
    """Keys that should be gone."""
    for metric in catalogue.values():
        if metric.deprecated is not None and metric.deprecated.expired(version):
            yield Fault("CXM609", metric.key, f"{metric.key} is {metric.deprecated}, and has not")
