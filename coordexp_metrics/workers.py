"""What a worker thread does, it does not do to itself: a sink or log handler that emits is refused.

Otherwise each record would beget the next one, for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["at_work", "is_at_work"]

_HERE = threading.local()


@contextmanager
def at_work() -> Iterator[None]:
    """Mark this thread as one that delivers records."""
    before = getattr(_HERE, "at_work", False)
    _HERE.at_work = True
    try:
        yield
    finally:
        _HERE.at_work = before


def is_at_work() -> bool:
    """Whether this thread is delivering records."""
    return getattr(_HERE, "at_work", False)
