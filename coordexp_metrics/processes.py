"""Which process and rank this is: one rank writes, and the child of a fork is inert."""

from __future__ import annotations

import os
import sys
import weakref
from contextlib import suppress
from typing import Any, Protocol

__all__ = ["LIVE", "own_rank"]


class Forkable(Protocol):
    """What must know that it woke up in a child."""

    def forked(self) -> None:
        """Be inert."""


LIVE: weakref.WeakSet[Any] = weakref.WeakSet()


def own_rank() -> int:
    """The rank of this process, of ``torch.distributed`` or else of ``torchrun``; 0 if alone."""
    distributed: Any = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    with suppress(ValueError):
        return int(os.environ.get("RANK", "0"))
    return 0


def _in_child() -> None:
    for engine in list(LIVE):
        with suppress(Exception):
            engine.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
