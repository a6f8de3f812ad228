"""Every sink gets every record, or the loss is counted: accepted = delivered + pending + dropped.

A sink that fails keeps its failure to itself: the trainer and the other sinks do not notice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ..contract.header import Header
from ..contract.record import Record
from .base import Sink

__all__ = ["Channel", "FanOut", "on_schedule"]

_LOG = logging.getLogger("coordexp_metrics")


def on_schedule(count: int) -> bool:
    """Whether the ``count``-th of equal events is announced: 1, 10, 100, ..."""
    return count > 0 and str(count).strip("0") == "1"


@dataclass
class Channel:
    """One sink and the account of what reached it."""

    sink: Sink
    accepted: int = 0
    delivered: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    last_error: str = ""

    @property
    def pending(self) -> int:
        """Records that are neither delivered nor dropped."""
        return self.accepted - self.delivered - sum(self.dropped.values())

    def write(self, record: Record) -> None:
        """Deliver ``record``, or count why not."""
        self.accepted += 1
        if self._contained(lambda: self.sink.write(record), "write"):
            self.delivered += 1

    def flush(self) -> None:
        """Flush the sink."""
        self._contained(self.sink.flush, "flush")

    def close(self) -> None:
        """Close the sink."""
        self._contained(self.sink.close, "close")

    def _contained(self, call: Callable[[], None], verb: str) -> bool:
        try:
            call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the boundary that training relies on
            self._count(verb, error)
            return False
        return True

    def _count(self, verb: str, error: BaseException) -> None:
        reason = f"{verb}.{type(error).__name__}" if verb != "write" else type(error).__name__
        self.last_error = f"{type(error).__name__}: {error}"[:300]
        failures = self.dropped.get(reason, 0) + 1
        if verb == "write":
            self.dropped[reason] = failures
        if verb != "write" or on_schedule(failures):
            with suppress(Exception):
                _LOG.warning(
                    "sink %s fails to %s (%d so far): %s",
                    self.sink.name,
                    verb,
                    failures,
                    self.last_error,
                )


class FanOut:
    """Hands each record to each sink, in order, one record at a time."""

    def __init__(self, sinks: Sequence[Sink], header: Header) -> None:
        self.channels = tuple(Channel(sink) for sink in sinks)
        opened: list[Sink] = []
        try:
            for sink in sinks:
                sink.open(header)
                opened.append(sink)
        except BaseException:
            for sink in opened:
                with suppress(Exception):
                    sink.close()
            raise

    def write(self, record: Record) -> None:
        """Deliver ``record`` to every sink."""
        for channel in self.channels:
            channel.write(record)

    def flush(self) -> None:
        """Flush every sink."""
        for channel in self.channels:
            channel.flush()

    def close(self) -> None:
        """Close every sink."""
        for channel in self.channels:
            channel.close()
