"""A sink takes records somewhere. Only ``write`` is needed; a record is never to be changed."""

from __future__ import annotations

from ..contract.header import Header
from ..contract.record import Record

__all__ = ["Sink"]


class Sink:
    """The base of sinks: what a registry calls, in this order.

    A sink may fail: the registry keeps the failure from the trainer and from other sinks, counts it
    and names it.
    """

    @property
    def name(self) -> str:
        """What reports call this sink."""
        return type(self).__name__

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
