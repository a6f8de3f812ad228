"""A key whose definition changed without a new name: between two runs, or since the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.errors import safe_text
from .findings import Findings

__all__ = ["Definitions"]

MAX_KEYS = 10_000


class Definitions:
    """Compares the definitions in the headers of logs with the catalogue's, and with each other."""

    def __init__(self, findings: Findings, catalogue: Catalogue) -> None:
        self._findings = findings
        self._catalogue = catalogue
        self._first: dict[str, tuple[object, str]] = {}

    def take(self, header: Mapping[str, Any], path: str) -> None:
        """Look at the definitions of one log."""
        definitions = header.get("definitions")
        for key, digest in definitions.items() if type(definitions) is dict else ():
            self._with_catalogue(key, digest, path)
            self._with_others(key, digest, path)

    def _with_catalogue(self, key: str, digest: object, path: str) -> None:
        found = self._catalogue.resolve(key)
        if found is not None and found.metric.key == key and found.metric.digest != digest:
            message = f"{safe_text(key)} was logged under another definition than the catalogue's"
            self._findings.add(
                "CXM209",
                message,
                key=key,
                metric=key,
                places=[(path, 1)] if path else (),
                evidence={"logged": safe_text(digest)},
            )

    def _with_others(self, key: str, digest: object, path: str) -> None:
        if key not in self._first and len(self._first) < MAX_KEYS:
            self._first[key] = digest, path
        first, where = self._first.get(key, (digest, path))
        if first != digest:
            found = self._catalogue.resolve(key)
            message = (
                f"{safe_text(key)} has another definition here than in {safe_text(where, 400)}"
            )
            self._findings.add(
                "CXM418",
                message,
                key=key,
                metric=None if found is None else found.metric.key,
                places=[(path, 1)] if path else (),
                evidence={"definitions": [safe_text(first), safe_text(digest)]},
            )
