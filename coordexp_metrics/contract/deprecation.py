"""A deprecated key has a last version: until then a run writes both names, then only the new one.

found_total = total("panels found", unit=PANEL)
panels_found = total(
    "panels found",
    unit=PANEL,
    deprecated=deprecated(since="0.2", replacement="panels/found_total", remove_in="0.4"),
)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import DeclarationError, safe_text

if TYPE_CHECKING:
    from .metric import Metric

__all__ = ["VERSION_PATTERN", "Deprecated", "deprecated", "renames"]

OWN_PACKAGE = "coordexp-metrics"
VERSION_PATTERN = r"^[0-9]{1,6}(?:\.[0-9]{1,6}){0,3}$(?!\n)"


@dataclass(frozen=True)
class Deprecated:
    """The end of a key's life.

    Attributes:
        since: the version that deprecated it.
        remove_in: the version that no longer has it.
        replacement: the key to use instead; empty where there is none.
        package: the distribution whose versions these are.
    """

    since: str
    remove_in: str
    replacement: str = ""
    package: str = OWN_PACKAGE

    def expired(self, version: str | None = None) -> bool:
        """Whether ``version``, by default the installed one, should no longer have the key.

        >>> Deprecated("0.2", "0.4").expired("0.4.0"), Deprecated("0.2", "0.4").expired("0.3.9")
        (True, False)
        """
        now = _numbers(_installed(self.package) if version is None else version)
        return bool(now) and now >= _numbers(self.remove_in)

    def __str__(self) -> str:
        instead = f"; use {self.replacement}" if self.replacement else ""
        return f"deprecated since {self.since}{instead}; it goes in {self.remove_in}"


def deprecated(
    *, since: str, remove_in: str, replacement: str = "", package: str = OWN_PACKAGE
) -> Deprecated:
    """Say that a key goes, for ``total(..., deprecated=deprecated(...))``.

    Args:
        since: the version that deprecates it.
        remove_in: the first version without it.
        replacement: the key to use instead.
        package: the distribution whose versions these are: name your own for your own keys.

    Raises:
        DeclarationError: a version is no version, or the end does not come after the start.

    >>> str(deprecated(since="0.2", replacement="rollout/f1", remove_in="0.4"))
    'deprecated since 0.2; use rollout/f1; it goes in 0.4'
    """
    for version in (since, remove_in):
        if not re.search(VERSION_PATTERN, version):
            raise DeclarationError(f"{safe_text(version)} is no version; write it like '0.4'")
    if _numbers(since) >= _numbers(remove_in):
        raise DeclarationError(f"deprecated in {since}, so it cannot go in {remove_in}")
    return Deprecated(since, remove_in, replacement, package)


def renames(metrics: Mapping[str, Metric]) -> tuple[tuple[Metric, Metric], ...]:
    """Old and new metric of each rename under way: one meaning, two names, until the end."""
    pairs = []
    for metric in metrics.values():
        if metric.deprecated is None or metric.deprecated.expired():
            continue
        successor = metrics.get(metric.deprecated.replacement)
        if successor is not None and successor.digest == metric.digest:
            pairs.append((metric, successor))
    return tuple(pairs)


def _numbers(version: str) -> tuple[int, ...]:
    """The release as numbers, ending zeros dropped: 0.4.0 is 0.4; empty for what is none."""
    found = re.match(r"[0-9]{1,6}(?:\.[0-9]{1,6})*", version)
    numbers = [int(part) for part in found.group().split(".")] if found else []
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _installed(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
