"""The durable log: one record is one line and one write, readable by any tool that reads JSON."""

from __future__ import annotations

import os
from pathlib import Path

from ..contract.errors import SinkError
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink
from .encode import header_line, record_line
from .files import cannot_write, create_attempt, write_whole

__all__ = ["JsonlSink"]


class JsonlSink(Sink):
    """Writes a header and then one record a line into a new file.

    An existing file is kept as it is: the next attempt writes ``metrics.1.jsonl``, and so on. The
    file can be read by its owner only.

    Args:
        path: where to write; missing parent directories are made.

    Attributes:
        path: the file that is really written, once the sink is open.

    >>> import tempfile
    >>> from coordexp_metrics import MetricsRegistry, read
    >>> sink = JsonlSink(tempfile.mkdtemp() + "/metrics.jsonl")
    >>> with MetricsRegistry(sinks=[sink]) as registry:
    ...     report = registry.emit(
    ...         {"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.25}})
    >>> [record.metrics for record in read(sink.path)]
    [{'loss': 1.25}]
    """

    durable = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = self._asked = Path(path)
        self._descriptor: int | None = None
        self._torn = False

    def for_rank(self, rank: int) -> JsonlSink:
        """A journal beside this one: ``metrics.rank3.jsonl``."""
        name = f"{self._asked.stem}.rank{rank}{self._asked.suffix}"
        return JsonlSink(self._asked.with_name(name))

    def open(self, header: Header) -> None:
        """Make the file and write its header.

        Raises:
            SinkError: the path is a directory or a link, or its parent cannot be written.
        """
        self.close()
        self._descriptor, self.path = create_attempt(self._asked, self.name)
        try:
            self._append(header_line(header))
        except OSError as error:
            self.close()
            raise cannot_write(self.path, error, self.name) from error

    def write(self, record: Record) -> None:
        self._append(record_line(record))

    def flush(self) -> None:
        """Bring every line to the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor is None:
            return
        try:
            self.flush()
        finally:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            raise SinkError(f"{self.name} is not open: {self.path} takes no records", self.name)
        # What a failed write left behind is ended first, so it costs one record and not two.
        data = b"\n" + line if self._torn else line
        self._torn = True
        write_whole(self._descriptor, data)
        self._torn = False
