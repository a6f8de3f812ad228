"""The way into the key reference: families, keys by prefix, other names, what is gone, laws."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from ..contract.metric import Metric
from .markdown import code, link, table, text
from .pages import MARKER, Pages

__all__ = ["index_page", "laws_page", "removed_page"]


def index_page(pages: Pages) -> str:
    """Every family, and every key under its first segment."""
    catalogue = pages.catalogue
    visible = sorted((m for m in catalogue.values() if not m.internal), key=_place)
    parts = [
        MARKER,
        "# Key reference",
        f"{len(visible)} keys in {len(catalogue.pages)} families. What is gone or dropped on "
        "purpose stands in [removed keys](removed.md), laws between families in [laws](laws.md).",
        table(("Family", "Keys", "Count", "What its keys have in common"), [*_families(pages)]),
    ]
    for prefix, group in groupby(visible, _prefix):
        parts.append(f"## {code(prefix + '/') if prefix else 'Without a prefix'}")
        parts.append(table(("Key", "Kind", "Meaning"), [_entry(pages, m) for m in group]))
    aliases = sorted((name, pages.key(m)) for m in visible for name in _aliases(m))
    if aliases:
        rows = [(code(name), stands_for) for name, stands_for in aliases]
        parts += ["## Other names", table(("Name", "Stands for"), rows)]
    return "\n\n".join(parts) + "\n"


def _families(pages: Pages) -> Iterator[tuple[str, ...]]:
    for page, file in pages.files.items():
        first = page.text.strip().split("\n\n")[0]
        count = sum(not metric.internal for metric in page.metrics)
        shape = page.pattern.replace("{", "<").replace("}", ">")
        yield link(text(page.name), file), code(shape), str(count), text(first)


def _place(metric: Metric) -> tuple[str, str]:
    return _prefix(metric), metric.key


def _prefix(metric: Metric) -> str:
    return metric.key.partition("/")[0] if "/" in metric.key else ""


def _entry(pages: Pages, metric: Metric) -> tuple[str, str, str]:
    return pages.key(metric), metric.kind, text(metric.description)


def _aliases(metric: Metric) -> tuple[str, ...]:
    return (*metric.aliases, *metric.logged_aliases)


def removed_page(pages: Pages) -> str:
    """Keys that are gone, with what replaces them, and keys that are dropped on purpose."""
    catalogue = pages.catalogue
    gone = [
        (
            code(entry.pattern),
            "<br>".join(map(pages.meaning_of, entry.replacements)) or "nothing",
            text(entry.reason),
            text(entry.source),
        )
        for entry in catalogue.removed
    ]
    dropped = [
        (code(entry.pattern), " and ".join(entry.modes), text(entry.reason), text(entry.source))
        for entry in catalogue.suppressed
    ]
    parts = [
        MARKER,
        "# Removed keys",
        "`*` matches anything, and `{1}` is what it matched. A payload that holds such a key "
        "breaks the contract.",
        table(("Key", "Use instead", "Why", "Contract"), gone) if gone else "None.",
        "## Suppressed keys",
        "Dropped on purpose where they would be logged.",
        table(("Key", "In", "Why", "Contract"), dropped) if dropped else "None.",
    ]
    return "\n\n".join(parts) + "\n"


def laws_page(pages: Pages) -> str:
    """Laws between families."""
    stated = pages.laws(pages.catalogue.cross_laws) or "None."
    intro = "These hold in every record that has all their inputs. Laws within a family stand on "
    return "\n\n".join([MARKER, "# Laws between families", intro + "its page.", stated]) + "\n"
