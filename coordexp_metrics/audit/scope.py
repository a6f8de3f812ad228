"""A scope is what somebody wants to know about: keys by glob, or whole families."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

from ..contract.catalogue import Catalogue

__all__ = ["Scope"]


class Scope:
    """The keys that are looked at.

    Args:
        patterns: globs over keys as spelled or canonical keys, or names of families; all keys
            where there are none.
        catalogue: the declarations.

    >>> from coordexp_metrics import CATALOGUE
    >>> scope = Scope(["rollout/*", "Matching"], CATALOGUE)
    >>> scope.holds("eval_rollout/f1", "rollout/f1"), scope.holds("loss", "loss")
    (True, False)
    """

    def __init__(self, patterns: Sequence[str], catalogue: Catalogue) -> None:
        self._all = not patterns
        self._catalogue = catalogue
        families = {metric.family.lower() for metric in catalogue.values()}
        self._families = {p.lower() for p in patterns if p.lower() in families}
        globs = [fnmatch.translate(p) for p in patterns if p.lower() not in families]
        self._glob = re.compile("|".join(globs)) if globs else None

    def holds(self, key: str, metric: str | None = None) -> bool:
        """Whether ``key``, which is ``metric`` where that is known, is looked at."""
        if self._all:
            return True
        names = [key] if metric is None else [key, metric]
        if self._glob is not None and any(map(self._glob.match, names)):
            return True
        return metric in self._catalogue and self._catalogue[str(metric)].family.lower() in (
            self._families
        )

    def among(self, keys: Iterable[tuple[str, str | None]]) -> int:
        """How many of ``keys``, each with its metric, are looked at."""
        return sum(self.holds(key, metric) for key, metric in keys)
