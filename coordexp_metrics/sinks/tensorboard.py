"""One record is one TensorBoard event, and every curve carries the words of its declaration.

The event files are TensorBoard's own format, written through its own record writer, without torch
and TensorFlow. Scalars are float32 there: what that changes is counted.
"""

from __future__ import annotations

import os
import socket
import time
from io import BytesIO
from pathlib import Path
from typing import Any

from ..contract.errors import MissingExtraError, SinkError
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink
from .describe import curve_page, header_page
from .files import cannot_write, create_file, write_whole

__all__ = ["TensorBoardSink"]

HEADER_TAG = "contract/header"


class TensorBoardSink(Sink):
    """Writes an event file into ``logdir``, which ``tensorboard --logdir`` then shows.

    Args:
        logdir: the directory of the run; it is made where it is missing.

    Attributes:
        precision_losses: values that float32 changed to another whole number, to infinity or to
            zero. JSONL keeps every bit.

    Raises:
        MissingExtraError: tensorboard is not installed.

    >>> import tempfile
    >>> from coordexp_metrics import MetricsRegistry
    >>> with MetricsRegistry(sinks=[TensorBoardSink(tempfile.mkdtemp())]) as registry:
    ...     report = registry.emit(
    ...         {"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.25}})
    """

    def __init__(self, logdir: str | os.PathLike[str]) -> None:
        self.logdir = Path(logdir)
        self.precision_losses = 0
        self._format = _Format()
        self._header: Header | None = None
        self._descriptor: int | None = None
        self._introduced: set[str] = set()

    def open(self, header: Header) -> None:
        """Make the event file.

        Raises:
            SinkError: the directory cannot be made or written.
        """
        self.close()
        self._header = header
        try:
            self._begin()
        except (OSError, ValueError) as error:
            raise cannot_write(self.logdir, error, self.name) from error

    def write(self, record: Record) -> None:
        if self._header is None:
            raise SinkError(f"{self.name} is not open: it takes no records", self.name)
        descriptor = self._begin() if self._descriptor is None else self._descriptor
        wall_time = time.time() if record.time is None else record.time
        event = self._format.event(wall_time, record.global_step)
        for tag, number in {**record.values(), **record.health}.items():
            self._add(event, tag, number)
        self._append(descriptor, event)

    def flush(self) -> None:
        """Bring every event to the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._header = None
            self._let_go()

    def _begin(self) -> int:
        self.logdir.mkdir(parents=True, exist_ok=True)
        self._introduced.clear()
        self._descriptor = descriptor = _new_event_file(self.logdir)
        self._append(descriptor, self._format.opening())
        if self._header is not None:
            self._append(descriptor, self._format.text(HEADER_TAG, header_page(self._header)))
        return descriptor

    def _append(self, descriptor: int, event: Any) -> None:
        try:
            write_whole(descriptor, self._format.framed(event))
        except BaseException:
            # Readers stop at a torn event, so what follows goes into a new file.
            self._let_go()
            raise

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _add(self, event: Any, tag: str, number: float) -> None:
        value = event.summary.value.add(tag=tag, simple_value=number)
        self.precision_losses += _changed(number, value.simple_value)
        if tag not in self._introduced:
            # Only the first value of a tag is asked for its description, and a description without
            # a value would leave a tag without data, which one loader refuses to read.
            self._introduced.add(tag)
            found = self._header.catalogue.resolve(tag) if self._header is not None else None
            page = curve_page(tag, found) if found is not None else ""
            value.metadata.CopyFrom(self._format.scalar_metadata(tag, page))


def _changed(number: float, stored: float) -> bool:
    """Whether float32 made another whole number, infinity or zero of ``number``.

    >>> _changed(2**24 + 1, float(2**24)), _changed(0.1, 0.10000000149011612)
    (True, False)
    """
    # Beyond 2**53 every float is whole, so what became infinite is counted as well.
    return stored != number and (stored == 0.0 or float(number).is_integer())


def _new_event_file(logdir: Path) -> int:
    # TensorBoard reads the files of a directory in the order of their names.
    stem = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
    number = 0
    while True:
        try:
            return create_file(logdir / f"{stem}.{number:04d}")
        except FileExistsError:
            number += 1


class _Format:
    """TensorBoard's messages; the only place that knows the package."""

    def __init__(self) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
            from tensorboard.plugins.scalar import metadata as scalar
            from tensorboard.plugins.text import metadata as text
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", TensorBoardSink.__name__) from error
        self._events, self._summaries = event_pb2, summary_pb2
        self._tensors, self._types = tensor_pb2, types_pb2
        self._scalar, self._text, self._writer = scalar, text, RecordWriter

    def opening(self) -> Any:
        """The event that every file starts with."""
        source = self._events.SourceMetadata(writer="coordexp_metrics")
        return self._events.Event(
            wall_time=time.time(), file_version="brain.Event:2", source_metadata=source
        )

    def event(self, wall_time: float, step: int) -> Any:
        return self._events.Event(wall_time=wall_time, step=step)

    def scalar_metadata(self, tag: str, page: str) -> Any:
        metadata = self._scalar.create_summary_metadata(display_name=tag, description=page)
        metadata.data_class = self._summaries.DATA_CLASS_SCALAR
        return metadata

    def text(self, tag: str, page: str) -> Any:
        """A page on the Text tab."""
        event = self.event(time.time(), 0)
        metadata = self._text.create_summary_metadata(display_name=tag, description="")
        metadata.data_class = self._summaries.DATA_CLASS_TENSOR
        tensor = self._tensors.TensorProto(dtype=self._types.DT_STRING, string_val=[page.encode()])
        event.summary.value.add(tag=tag, metadata=metadata, tensor=tensor)
        return event

    def framed(self, event: Any) -> bytes:
        """``event`` with its length and checksums."""
        buffer = BytesIO()
        self._writer(buffer).write(event.SerializeToString())
        return buffer.getvalue()
