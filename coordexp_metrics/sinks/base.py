"""A sink takes records somewhere. Only ``write`` is needed; a record is never to be changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from ..contract.header import Header
from ..contract.record import Record

__all__ = ["Sink"]


class Sink:
    """The base of sinks: what a registry calls, in this order, on a thread of the sink's own.

    A sink may fail, block or be slow: the registry keeps that from the trainer and from other
    sinks, counts it and names it. ``open`` is called on the thread that makes the registry.

    Attributes:
        durable: whether this is a journal. A live sink loses its oldest records when it falls too
            far behind; a journal loses none, and what it has not taken yet is in the spool.
        instant: whether ``write`` only touches memory: such a sink needs neither thread nor queue.
    """

    durable: ClassVar[bool] = False
    instant: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What reports call this sink."""
        return type(self).__name__

    @property
    def synced(self) -> int | None:
        """Of a journal: how many of the records that it wrote since ``open`` are on the disk.

        The spool keeps the others. None: a record is safe as soon as ``write`` returns.
        """
        return None

    def for_rank(self, rank: int) -> Sink:
        """Of a journal: a sink like this one, unopened, with a place of its own for ``rank``.

        Called where a rank that is not the main one has records of its own, once its group is lost.
        """
        raise NotImplementedError

    def attached(self, settle: Callable[[], None]) -> None:
        """Called before ``open``; ``settle`` waits, at most a second, for what was emitted."""

    def open(self, header: Header) -> None:
        """Called once, before the first record.

        Raises:
            SinkError: the sink cannot work at all; the run is told before step 0.
        """

    def write(self, record: Record) -> None:
        """Take one record."""
        raise NotImplementedError

    def flush(self) -> None:
        """Bring everything that was written to where it is safe."""

    def close(self) -> None:
        """Flush and let go. Called once."""
