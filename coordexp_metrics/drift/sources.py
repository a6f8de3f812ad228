"""A catalogue, wherever it is kept: installed, a module, an entry point, a file, a git revision."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from pathlib import Path

from ..catalogue import CATALOGUE
from ..contract.catalogue import Catalogue
from ..contract.errors import DeclarationError, safe_text
from ..contract.interchange import from_data, read_catalogue
from ..contract.sources import pages_from

__all__ = ["INSTALLED", "catalogue_at"]

INSTALLED = "installed"
PATH = "schemas/catalogue.v1.json"
SECONDS = 60
MAX_BYTES = 16 * 2**20
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@{}^~+-]{0,199}")


def catalogue_at(source: str) -> Catalogue:
    """The catalogue that ``source`` names.

    Args:
        source: ``installed``; a ``.json`` catalogue; a module, which may hold a ``CATALOGUE``; an
            entry point; ``git:REV`` (the file ``schemas/catalogue.v1.json`` of that revision); or
            ``git:REV:PATH``.

    Raises:
        DeclarationError: nothing is there, or it is no catalogue.

    >>> len(catalogue_at("installed")) > 200
    True
    """
    if source == INSTALLED:
        return CATALOGUE
    if source.startswith("git:"):
        return _at_revision(source)
    if source.endswith(".json"):
        return read_catalogue(Path(source))
    return _held(source) or Catalogue(*pages_from(source))


def _held(source: str) -> Catalogue | None:
    """A module's own catalogue, where it has one."""
    try:
        found = getattr(importlib.import_module(source), "CATALOGUE", None)
    except ImportError:
        return None
    return found if isinstance(found, Catalogue) else None


def _at_revision(source: str) -> Catalogue:
    revision, _, path = source.removeprefix("git:").partition(":")
    if not _REVISION.fullmatch(revision):
        raise DeclarationError(f"{safe_text(source)} names no git revision")
    try:
        # No shell; a revision cannot start with a dash, so it is no option either.
        done = subprocess.run(  # noqa: S603
            ["git", "show", "--no-textconv", f"{revision}:{path or PATH}"],  # noqa: S607
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
        if len(done.stdout) > MAX_BYTES:
            raise DeclarationError(f"{safe_text(source)} is larger than {MAX_BYTES >> 20} MiB")
        return from_data(json.loads(done.stdout))
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines()
        why = safe_text(said[0] if said else "git failed", 200)
        raise DeclarationError(f"{safe_text(source)} cannot be read: {why}") from error
    except (OSError, subprocess.TimeoutExpired, ValueError, RecursionError) as error:
        if isinstance(error, DeclarationError):
            raise
        why = safe_text(str(error), 200)
        raise DeclarationError(f"{safe_text(source)} cannot be read: {why}") from error
