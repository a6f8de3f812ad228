"""A key that went and a key that came are one rename where the catalogue or the meaning says so."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.errors import RemovedKeyError

__all__ = ["renamed_keys"]

ALIKE = 0.6


def renamed_keys(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], head: Catalogue
) -> dict[str, str]:
    """Old key to new key: first what ``head`` declares as replaced, then what means the same."""
    gone = [key for key in before if key not in after]
    came = [key for key in after if key not in before]
    names = _declared(gone, set(came), before, head)
    gone = [key for key in gone if key not in names]
    came = [key for key in came if key not in set(names.values())]
    scored = sorted(
        (
            (score, old, new)
            for old in gone
            for new in came
            if (score := _alike(old, new, before[old], after[new])) >= ALIKE
        ),
        key=lambda entry: (-entry[0], entry[1:]),
    )
    for _, old, new in scored:
        if old not in names and new not in names.values():
            names[old] = new
    return names


def _declared(
    gone: list[str], came: set[str], before: Mapping[str, Mapping[str, Any]], head: Catalogue
) -> dict[str, str]:
    names: dict[str, str] = {}
    for key in gone:
        error = head.unknown(key, suggest=False)
        said = error.replacements if isinstance(error, RemovedKeyError) else ()
        end = (before[key].get("deprecated") or {}).get("replacement")
        instead = [new for new in dict.fromkeys((*said, end)) if new in came]
        if len(instead) == 1 and instead[0] not in names.values():
            names[key] = instead[0]
    return names


def _alike(old: str, new: str, base: Mapping[str, Any], head: Mapping[str, Any]) -> float:
    """0 for another definition; else how alike the spellings are, and 1 more for equal words."""
    if base["digest"] != head["digest"]:
        return 0.0
    same_words = bool(base["description"] == head["description"])
    return SequenceMatcher(None, old, new, autojunk=False).ratio() + same_words
