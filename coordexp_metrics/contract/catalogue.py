"""The catalogue: every metric, in one order, each under one name.

A ``Catalogue`` is a mapping from train names to metrics. It also resolves the other spellings under
which a key is met (its name in evaluation, an alias, a dashboard's ``train/loss``), knows what was
removed, and refuses to be built where two names would collide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

from .collisions import refuse_collisions
from .errors import DeclarationError, RemovedKeyError, UnknownKeyError
from .family import Family
from .keys import near
from .kinds import Derived, Rate
from .law import Law
from .metric import Metric, Mode
from .removal import Page, Removed, Suppressed, page_of

__all__ = ["Catalogue", "Page", "Removed", "Resolution", "Suppressed"]


class Resolution(NamedTuple):
    """What a spelling stands for.

    Attributes:
        metric: the metric.
        mode: the mode that the spelling implies, None where it implies none.
        alias: whether the spelling is an alias of the key.
    """

    metric: Metric
    mode: Mode | None = None
    alias: bool = False


class Catalogue(Mapping[str, Metric]):
    """Declarations, looked up by any name that a run or a dashboard uses.

    Args:
        families: families, or pages that were read from a JSON catalogue, in order.
        removed: keys that are gone, with what replaces them.
        suppressed: keys that are dropped on purpose.
        laws: laws over metrics of several families.

    Raises:
        DeclarationError: two names collide, or a formula uses a metric that is not here.

    >>> from coordexp_metrics import CATALOGUE
    >>> CATALOGUE["rollout/f1"].kind, CATALOGUE["eval_rollout/f1"].key
    ('derived', 'rollout/f1')
    """

    def __init__(
        self,
        *families: type[Family] | Page,
        removed: Sequence[Removed] = (),
        suppressed: Sequence[Suppressed] = (),
        laws: Sequence[Law] = (),
    ) -> None:
        self.pages = tuple(f if isinstance(f, Page) else page_of(f) for f in families)
        self.removed = tuple(removed)
        self.suppressed = tuple(suppressed)
        self.cross_laws = tuple(laws)
        self.laws = (*(law for page in self.pages for law in page.laws), *laws)
        declared = [metric for page in self.pages for metric in page.metrics]
        refuse_collisions(declared)
        self._metrics = {metric.key: metric for metric in declared}
        self._spellings = self._all_spellings()
        self._open: dict[str, Metric] = {}
        self._refuse_foreign_leaves()

    def __getitem__(self, key: str) -> Metric:
        found = self.resolve(key)
        if found is None:
            raise self.unknown(key)
        return found.metric

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.resolve(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def resolve(self, name: str) -> Resolution | None:
        """The metric behind any spelling, or None. Exact names win over dashboards' prefixes."""
        found = self._spellings.get(name) or self._resolve_open(name)
        if found is None:
            prefix, slash, rest = name.partition("/")
            if slash and prefix in {"train", "eval", "test"}:
                found = self.resolve(rest if prefix == "train" else f"eval_{rest}")
            elif name.startswith("test_"):
                found = self._spellings.get("eval_" + name[5:])
        return found

    def _resolve_open(self, name: str) -> Resolution | None:
        plain = name.removeprefix("eval_")
        if plain not in self._open:
            for page in self.pages:
                bucket = page.open_name(plain)
                if bucket is not None:
                    other = page.metrics[-1]
                    self._open[plain] = replace(other, key=plain, name=bucket)
        metric = self._open.get(plain)
        if metric is None:
            return None
        return Resolution(metric, "eval" if plain != name else None)

    def unknown(self, key: str, *, suggest: bool = True) -> UnknownKeyError:
        """The error for a key that is not here: removed, with replacements, or unknown."""
        plain = key.removeprefix("eval_")
        for entry in self.removed:
            replacements = entry.match(plain)
            if replacements is not None:
                return RemovedKeyError(key, replacements)
        return UnknownKeyError(key, self.near(key) if suggest else ())

    def is_suppressed(self, name: str, mode: Mode) -> bool:
        """Whether ``name`` is dropped on purpose in ``mode``."""
        wire = name if mode == "train" or name.startswith("eval_") else f"eval_{name}"
        return any(mode in entry.modes and entry.match(wire) for entry in self.suppressed)

    def near(self, key: str, count: int = 3) -> tuple[str, ...]:
        """Declared spellings most like ``key``, in the form in which it was asked."""
        return near(key, (name for name in self._spellings if not self._hidden(name)), count)

    def _hidden(self, name: str) -> bool:
        return self._spellings[name].metric.internal

    @cached_property
    def computed(self) -> tuple[Rate | Derived, ...]:
        """Rates and derived metrics, each after those that it is computed from."""
        waiting = [m for m in self._metrics.values() if isinstance(m, (Rate, Derived))]
        ordered: list[Rate | Derived] = []
        while waiting:
            blocked = {id(metric) for metric in waiting}
            ready = [m for m in waiting if not any(id(leaf) in blocked for leaf in _leaves(m))]
            if not ready:
                raise DeclarationError(f"formulas in a circle: {', '.join(map(str, waiting))}")
            ordered += ready
            waiting = [metric for metric in waiting if metric not in ready]
        return tuple(ordered)

    @cached_property
    def all_laws(self) -> tuple[Law, ...]:
        """Declared laws, and for every formula that its metric equals it."""
        stated = (
            Law(f"{metric.key} is its formula", metric, "==", metric.formula)
            for metric in self._metrics.values()
            if metric.formula is not None
        )
        return (*stated, *self.laws)

    @cached_property
    def digest(self) -> str:
        """All keys and definitions, in order: equal where layouts and meanings are equal."""
        lines = "\n".join(f"{key} {metric.digest}" for key, metric in self._metrics.items())
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    def extended(
        self,
        *sources: type[Family] | Page | str,
        removed: Sequence[Removed] = (),
        suppressed: Sequence[Suppressed] = (),
        laws: Sequence[Law] = (),
    ) -> Catalogue:
        """This catalogue and more: families, a module path, an entry point, or a JSON file.

        Raises:
            DeclarationError: a source cannot be found, or a name collides.
        """
        from .sources import pages_from

        added = [page for source in sources for page in pages_from(source)]
        return Catalogue(
            *self.pages,
            *added,
            removed=(*self.removed, *removed),
            suppressed=(*self.suppressed, *suppressed),
            laws=(*self.cross_laws, *laws),
        )

    def _all_spellings(self) -> dict[str, Resolution]:
        spellings: dict[str, Resolution] = {}
        for metric in self._metrics.values():
            for alias in (*metric.aliases, *metric.logged_aliases):
                spellings[alias] = Resolution(metric, None, alias=True)
                spellings[f"eval_{alias}"] = Resolution(metric, "eval", alias=True)
            if "eval" in metric.modes and metric.eval_twin is None:
                spellings[metric.eval_key] = Resolution(metric, "eval")
        for metric in self._metrics.values():
            spellings[metric.key] = Resolution(metric, "eval" if metric.eval_only else None)
        return spellings

    def _refuse_foreign_leaves(self) -> None:
        for metric in self._metrics.values():
            for leaf in _leaves(metric):
                if self._metrics.get(leaf.key) is not leaf:
                    raise DeclarationError(
                        f"{metric.key} is a formula over {leaf.key}, which is not in this catalogue"
                    )


def _leaves(metric: Metric) -> tuple[Metric, ...]:
    return () if metric.formula is None else tuple(metric.formula.leaves())
