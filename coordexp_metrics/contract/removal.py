"""Pages of families, and the keys that are gone or dropped on purpose."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from functools import cached_property

from .family import Family
from .law import Law
from .metric import Metric, Mode

__all__ = ["Page", "Removed", "Suppressed", "page_of"]


@dataclass(frozen=True)
class Page:
    """A family as data: what a catalogue holds of it, wherever it was declared.

    Attributes:
        name: the family's name.
        text: what its metrics have in common.
        pattern: the key, with ``{name}`` and perhaps ``{provenance}``.
        metrics: its metrics, in order.
        laws: its laws.
        module: where it is declared.
        open_names: whether further names are taken; they read as its last metric.
    """

    name: str
    text: str
    pattern: str
    metrics: tuple[Metric, ...]
    laws: tuple[Law, ...] = ()
    module: str = ""
    open_names: bool = False

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        escaped = re.escape(self.pattern).replace(r"\{name\}", "([A-Za-z0-9][^/]*)")
        return re.compile(escaped.replace(r"\{provenance\}", "[^/]+"))

    def open_name(self, key: str) -> str | None:
        """The name that ``key`` has in this family if it takes further names."""
        found = self._regex.fullmatch(key) if self.open_names else None
        return None if found is None else found.group(1)


def page_of(family: type[Family]) -> Page:
    """``family`` as a page."""
    metrics, laws = family.metrics_and_laws()
    shape = family.__shape__
    return Page(
        name=family.__name__,
        text=inspect.cleandoc(family.__doc__ or ""),
        pattern=shape.pattern,
        metrics=metrics,
        laws=laws,
        module=family.__module__,
        open_names=shape.open_names,
    )


@dataclass(frozen=True)
class Removed:
    """Keys that are gone. ``*`` matches anything; ``{1}`` in a replacement is what it matched."""

    pattern: str
    replacements: tuple[str, ...] = ()
    source: str = ""
    reason: str = ""

    def match(self, key: str) -> tuple[str, ...] | None:
        """What replaces ``key``, or None if this entry does not mean it."""
        found = _wildcard(self.pattern).fullmatch(key)
        if found is None:
            return None
        text = found.group(1) if found.groups() else ""
        return tuple(replacement.replace("{1}", text) for replacement in self.replacements)


@dataclass(frozen=True)
class Suppressed:
    """Keys that never leave in ``modes``, on purpose."""

    pattern: str
    source: str = ""
    reason: str = ""
    modes: tuple[Mode, ...] = ("eval",)

    def match(self, key: str) -> bool:
        """Whether this entry means ``key``."""
        return _wildcard(self.pattern).fullmatch(key) is not None


def _wildcard(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", "(.+)"))
