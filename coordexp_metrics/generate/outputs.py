"""All generated files as one mapping from path to text, so that writing and checking agree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..contract.catalogue import Catalogue
from ..contract.interchange import to_data
from .index import index_page, laws_page, removed_page
from .jsontext import json_text
from .pages import MARKER, Pages
from .schemas import catalogue_schema, payload_schema

__all__ = ["outputs", "stale", "write"]

PAGES = "docs/catalogue"


def outputs(catalogue: Catalogue) -> dict[str, str]:
    """Every generated file of ``catalogue``: its path from the root, and its text."""
    pages = Pages(catalogue)
    return {
        "schemas/payload.v1.schema.json": json_text(payload_schema(catalogue)),
        "schemas/catalogue.schema.json": json_text(catalogue_schema()),
        "schemas/catalogue.v1.json": json_text(to_data(catalogue)),
        f"{PAGES}/README.md": index_page(pages),
        f"{PAGES}/removed.md": removed_page(pages),
        f"{PAGES}/laws.md": laws_page(pages),
        **{f"{PAGES}/{file}": pages.family(page) for page, file in pages.files.items()},
    }


def stale(root: Path, catalogue: Catalogue) -> list[str]:
    """Files under ``root`` that are missing, differ, or are generated no longer."""
    wanted = outputs(catalogue)
    differ = [name for name, text in wanted.items() if _text_of(root / name) != text]
    return sorted([*differ, *_left_over(root, wanted)])


def write(root: Path, catalogue: Catalogue) -> list[str]:
    """Bring the files under ``root`` up to date; returns those that were not."""
    wanted = outputs(catalogue)
    touched = stale(root, catalogue)
    for name in touched:
        if name in wanted:
            _replace(root / name, wanted[name])
        else:
            (root / name).unlink()
    return touched


def _text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def _left_over(root: Path, wanted: dict[str, str]) -> Iterator[str]:
    """Pages that carry the mark of a generated file, but that nothing generates."""
    for path in (root / PAGES).glob("*.md"):
        name = f"{PAGES}/{path.name}"
        if name not in wanted and (_text_of(path) or "").startswith(MARKER):
            yield name


def _replace(path: Path, text: str) -> None:
    """Write ``text`` whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8", newline="\n")
    new.replace(path)
