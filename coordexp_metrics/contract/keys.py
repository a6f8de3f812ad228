"""The grammar of keys: printable ASCII segments with slashes between, at most 200 characters.

No key is ever a path: no segment is empty or made of dots, and none starts with a tilde.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = ["KEY_PATTERN", "MAX_KEY_LENGTH", "is_internal", "near", "well_formed"]

MAX_KEY_LENGTH = 200
SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9_.:@+=()-]*"
KEY_PATTERN = rf"^{SEGMENT}(?:/{SEGMENT})*$(?!\n)"
_KEY = re.compile(rf"{SEGMENT}(?:/{SEGMENT})*", re.ASCII)


def well_formed(key: object) -> bool:
    """Whether ``key`` is a string that the grammar takes.

    >>> well_formed("coord_diag/B/p_gt_mean"), well_formed("loss\\n"), well_formed("a//b")
    (True, False, False)
    """
    return type(key) is str and len(key) <= MAX_KEY_LENGTH and _KEY.fullmatch(key) is not None


def is_internal(key: str) -> bool:
    """Whether the last segment starts with an underscore, so that the key never leaves."""
    return key[key.rfind("/") + 1 :].startswith("_")


def near(key: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The ``known`` keys that are spelled most like ``key``, best first.

    >>> near("rolout/f1", ["rollout/f1", "rollout/recall", "loss"])
    ('rollout/f1',)
    """
    if len(key) > MAX_KEY_LENGTH:
        return ()
    return tuple(difflib.get_close_matches(key, known, n=count, cutoff=0.75))
