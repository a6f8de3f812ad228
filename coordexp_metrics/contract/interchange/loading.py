"""A catalogue from JSON data: first its shape, then its metrics, then what they point at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ..catalogue import Catalogue
from ..errors import safe_text
from ..payload import MAX_KEYS
from ..removal import Removed, Suppressed
from .checking import faults
from .linking import Linker, wrong
from .reading import metrics_of, page_from, tuples
from .rules import FORMAT_VERSION, RULES

__all__ = ["Doubled", "from_data"]

MAX_NESTING = 100
MAX_FAULTS = 100


class Doubled(dict[str, Any]):
    """An object of a JSON file in which a name stands twice."""

    name = ""


def from_data(data: Any, places: Mapping[str, tuple[str, int]] | None = None) -> Catalogue:
    """The catalogue that ``data`` describes.

    Args:
        data: what ``to_data`` returns, or as much of it as a person writes.
        places: file and line of each key, for messages.

    Raises:
        DeclarationError: names the path of what is wrong, such as ``families[0].metrics[2].unit``.
    """
    _refuse_version(data)
    _refuse_shape(data)
    found = list(islice(faults(data, RULES, RULES), MAX_FAULTS))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        wrong(found[0].path, found[0].message + more)
    linker = Linker()
    pages = []
    for index, family in enumerate(data["families"]):
        path = f"families[{index}]"
        pages.append((family, path, metrics_of(family, path, places or {}, linker)))
        if len(linker.metrics) > MAX_KEYS:
            wrong(path, f"is the one too many: a payload holds at most {MAX_KEYS} keys")
    linker.link()
    catalogue = Catalogue(
        *(page_from(family, path, metrics, linker) for family, path, metrics in pages),
        laws=linker.laws(data.get("laws", ()), "laws"),
        removed=[Removed(**tuples(entry)) for entry in data.get("removed", ())],
        suppressed=[Suppressed(**tuples(entry)) for entry in data.get("suppressed", ())],
    )
    linker.confirm(catalogue, data.get("digest"))
    return catalogue


def _refuse_version(data: Any) -> None:
    version = data.get("format_version") if isinstance(data, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        wrong(
            "format_version",
            f"is {safe_text(version)}, and this package reads {FORMAT_VERSION}: "
            "upgrade coordexp-metrics",
        )


def _refuse_shape(data: Any) -> None:
    """Refuse what nests too deep to be walked, and names that stand twice in one object."""
    waiting: list[tuple[str, Any, int]] = [("", data, 0)]
    while waiting:
        path, node, depth = waiting.pop()
        if depth > MAX_NESTING:
            wrong(path[:200], f"nests deeper than {MAX_NESTING} levels")
        if isinstance(node, Doubled):
            wrong(path, f"says {safe_text(node.name)} twice")
        waiting += ((step, child, depth + 1) for step, child in _children(path, node))


def _children(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        yield from ((f"{path}.{name}" if path else str(name), part) for name, part in node.items())
    elif isinstance(node, list):
        yield from ((f"{path}[{index}]", part) for index, part in enumerate(node))
