"""How much of what could have been logged was: by the run's modes, its variant and its settings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.metric import Metric, Mode
from .conditions import Evidence, judge
from .context import VARIANTS, Context
from .scope import Scope

__all__ = ["Coverage", "coverage"]


@dataclass(frozen=True)
class Coverage:
    """Declared keys that were due, and those of them that were met."""

    due: tuple[Metric, ...]
    met: frozenset[str]

    @property
    def percent(self) -> float:
        """The part that was met; 0 where nothing was due."""
        seen = sum(metric.key in self.met for metric in self.due)
        return 100 * seen / len(self.due) if self.due else 0.0

    def to_data(self) -> dict[str, Any]:
        """The coverage as JSON data."""
        families: dict[str, list[int]] = {}
        for metric in self.due:
            counts = families.setdefault(metric.family, [0, 0])
            counts[0] += metric.key in self.met
            counts[1] += 1
        return {
            "percent": round(self.percent, 1),
            "met": sum(counts[0] for counts in families.values()),
            "due": len(self.due),
            "families": families,
            "missing": sorted(metric.key for metric in self.due if metric.key not in self.met),
        }


def coverage(
    catalogue: Catalogue,
    met: Collection[str],
    modes: Collection[Mode],
    context: Context,
    scope: Scope,
) -> Coverage:
    """What of ``catalogue`` was due, and met.

    Due is a key of a mode that was seen, in the scope, of the run's variant where that is known,
    and under a condition that is not known to fail. Health counters and internal keys never are.
    """
    due = tuple(
        metric
        for metric in catalogue.values()
        if not metric.internal
        and scope.holds(metric.key, metric.key)
        and any(_is_due(metric, mode, context) for mode in modes)
    )
    return Coverage(due, frozenset(met))


def _is_due(metric: Metric, mode: Mode, context: Context) -> bool:
    if mode not in metric.modes or not _by_trainer(metric, context):
        return False
    if metric.when is None:
        return True
    return judge(metric.when.name, Evidence(mode, {}, context)).holds is not False


def _by_trainer(metric: Metric, context: Context) -> bool:
    trainers = set(metric.emitted_by) & set(VARIANTS)
    if metric.emitted_by and not trainers:
        return False  # a key of another library, which may log it or not
    return context.variant is None or not trainers or context.variant in trainers
