"""Each record goes to every sink's queue; what one sink does is nothing to the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..contract.header import Header
from ..contract.record import Record
from .base import Sink
from .channel import Channel
from .entries import Backoff, Entry, Mark, SinkReport
from .spool import Spool

__all__ = ["FanOut", "OpenedLater"]

RECORD_SIZE, KEY_SIZE = 1024, 96  # bytes, about; what a dict of floats takes in memory


class FanOut:
    """The sinks of a registry, opened, each with a channel of its own.

    Args:
        sinks: opened here, in order.
        header: what they are told.
        settle: waits until what was emitted is checked, for sinks that are read by this process.
        backoff: how to treat failures.

    Raises:
        SinkError: a sink cannot be opened; those before it are closed again.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        header: Header | None,
        settle: Callable[[], None] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        _open_all(sinks, header, settle or _nothing)
        self.channels = tuple(Channel(sink, backoff) for sink in sinks)
        self._journals = sum(channel.durable for channel in self.channels)

    @property
    def journal(self) -> str | None:
        """The path of the first journal, as it was really opened."""
        for channel in self.channels:
            path = getattr(channel.sink, "path", None)
            if channel.durable and path is not None:
                return str(Path(path).absolute())
        return None

    def start(self) -> None:
        """Start the threads."""
        for channel in self.channels:
            channel.start()

    def put(self, record: Record, spool: Spool | None, slots: Sequence[int]) -> None:
        """Queue ``record`` for every sink."""
        size = RECORD_SIZE + KEY_SIZE * (len(record.metrics) + len(record.nonfinite))
        if record.extra:
            size += _size_of(record.extra)
        release = partial(spool.release, slots) if spool is not None else _nothing
        entry = Entry(record, size, release, self._journals)
        for channel in self.channels:
            channel.put(entry)
            if channel.instant:
                channel.pump()

    def mark(self, mark: Mark) -> None:
        """Queue ``mark`` for every sink where it asks for more than to be checked."""
        if mark.flush or mark.close:
            mark.expected = len(self.channels)
            for channel in self.channels:
                channel.mark(mark)
        mark.checked = True

    def wake(self) -> None:
        """Let every channel with something to do look at once."""
        for channel in self.channels:
            channel.wake()

    def report(self) -> tuple[SinkReport, ...]:
        """The account of each sink."""
        return tuple(channel.report() for channel in self.channels)

    @property
    def is_running(self) -> bool:
        """Whether a sink is still at work."""
        return any(channel.thread and channel.thread.is_alive() for channel in self.channels)

    def losses(self) -> int:
        """How many records some sink did not get and will not get."""
        return sum(sum(channel.dropped.values()) for channel in self.channels)

    def is_safe(self) -> bool:
        """Whether the journals have everything, so that no spool is needed."""
        journals = [channel for channel in self.channels if channel.durable]
        return not any(channel.unconfirmed or channel.dropped for channel in journals)


class OpenedLater(Sink):
    """A journal that is opened by its first record, on its own thread."""

    durable = True

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._header: Header | None = None

    @property
    def name(self) -> str:
        return self._sink.name

    @property
    def path(self) -> Any:
        """Where the journal writes."""
        return getattr(self._sink, "path", None)

    @property
    def synced(self) -> int | None:
        return getattr(self._sink, "synced", None)

    def open(self, header: Header) -> None:
        self._header = header

    def write(self, record: Record) -> None:
        header, self._header = self._header, None
        try:
            if header is not None:
                self._sink.open(header)
                header = None
        finally:
            self._header = header
        self._sink.write(record)

    def flush(self) -> None:
        if self._header is None:
            self._sink.flush()

    def close(self) -> None:
        if self._header is None:
            self._sink.close()


def _open_all(sinks: Sequence[Sink], header: Header | None, settle: Callable[[], None]) -> None:
    opened: list[Sink] = []
    try:
        for sink in sinks:
            _called(sink, "attached", settle)
            _called(sink, "open", header)
            opened.append(sink)
    except BaseException:
        for sink in opened:
            with suppress(Exception):
                _called(sink, "close")
        raise


def _called(sink: Sink, verb: str, *args: Any) -> None:
    """Call what a sink has of its own: only ``write`` is needed."""
    method = getattr(sink, verb, None)
    if method is not None:
        method(*args)


def _size_of(data: Any) -> int:
    """The size of plain data in memory, about."""
    if isinstance(data, dict):
        return sum(KEY_SIZE + len(key) + _size_of(value) for key, value in data.items())
    if isinstance(data, list):
        return sum(map(_size_of, data), KEY_SIZE)
    return len(data) if isinstance(data, str) else 32


def _nothing() -> None:
    """Where there is nothing to wait for and nothing to let go of."""
