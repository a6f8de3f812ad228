"""Where a catalogue's pages may come from: classes, modules, entry points, JSON files."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from .errors import DeclarationError
from .family import Family, FamilyOver
from .removal import Page, page_of

__all__ = ["ENTRY_POINTS", "pages_from"]

ENTRY_POINTS = "coordexp_metrics.catalogues"


def pages_from(source: type[Family] | Page | str) -> tuple[Page, ...]:
    """The pages of a family, a page, ``package.module``, an entry point's name, or ``file.json``.

    Raises:
        DeclarationError: nothing is found there, or what is there declares no family.
    """
    if isinstance(source, Page):
        return (source,)
    if isinstance(source, type):
        return (page_of(source),)
    if source.endswith(".json"):
        from .interchange import read_catalogue

        return read_catalogue(Path(source)).pages
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS, name=source):
        return _pages_of(entry.load(), source)
    try:
        module = importlib.import_module(source)
    except ImportError as error:
        raise DeclarationError(
            f"{source!r} is no module, no entry point of {ENTRY_POINTS}, and no .json file: {error}"
        ) from error
    return _pages_of(module, source)


def _pages_of(found: object, source: str) -> tuple[Page, ...]:
    if isinstance(found, type) and issubclass(found, Family):
        return (page_of(found),)
    families = [value for value in vars(found).values() if _declares(value, found)]
    if not families:
        raise DeclarationError(f"{source!r} declares no family of metrics")
    return tuple(page_of(family) for family in families)


def _declares(value: object, module: object) -> bool:
    if not (isinstance(value, type) and issubclass(value, Family)):
        return False
    here = isinstance(module, ModuleType) and value.__module__ == module.__name__
    return here and value not in {Family, FamilyOver} and hasattr(value, "__shape__")
