"""One record is one TensorBoard event, and every curve carries the words of its declaration.

The event files are TensorBoard's own format, without torch and TensorFlow. Scalars are float32
there: what that changes is counted.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..contract.errors import MissingExtraError, SinkError
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink
from .files import cannot_write, create_file, write_whole

if TYPE_CHECKING:
    from .event_encoder import EventEncoder

__all__ = ["TensorBoardSink"]

LOSSES = "contract/tb_precision_loss_total"
MARK = ".tfevents."
SECOND = re.compile(r"[0-9]{10}")


class TensorBoardSink(Sink):
    """Writes an event file into ``logdir``, which ``tensorboard --logdir`` then shows.

    Each attempt writes a file of its own, and says at which step it begins: TensorBoard then hides
    what earlier attempts in the directory say of that step and later ones.

    Args:
        logdir: the directory of the run; it is made where it is missing.
        purge_step: the step at which this attempt begins. ``"first"`` takes it from the first
            record; ``"never"`` hides nothing, for a second process that writes other curves into
            the same directory.

    Attributes:
        precision_losses: values that float32 changed to another whole number, to infinity or to
            zero; also drawn, as ``contract/tb_precision_loss_total``. JSONL keeps every bit.

    Raises:
        MissingExtraError: tensorboard is not installed.

    >>> import tempfile
    >>> from coordexp_metrics import MetricsRegistry
    >>> with MetricsRegistry(sinks=[TensorBoardSink(tempfile.mkdtemp())]) as registry:
    ...     report = registry.emit(
    ...         {"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.25}})
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        purge_step: int | Literal["first", "never"] = "first",
    ) -> None:
        if purge_step not in {"first", "never"} and type(purge_step) is not int:
            raise ValueError(f"purge_step is a step, 'first' or 'never', not {purge_step!r}")
        self.logdir = Path(logdir)
        self.precision_losses = 0
        self._purge_step = purge_step
        if find_spec("tensorboard") is None:
            raise MissingExtraError("tensorboard", self.name)
        self._encoder: EventEncoder | None = None
        self._descriptor: int | None = None
        self._started = False

    @property
    def counters(self) -> Mapping[str, int]:
        """What this sink could not pass on unchanged, by the key of its counter."""
        return {LOSSES: self.precision_losses} if self.precision_losses else {}

    def open(self, header: Header) -> None:
        """Make the event file.

        Raises:
            SinkError: the directory cannot be made or written.
        """
        self.close()
        from .event_encoder import EventEncoder
        from .event_messages import EventMessages

        self._encoder = EventEncoder(header, EventMessages(self.name))
        self._started = False
        try:
            self._begin(self._encoder)
        except (OSError, ValueError) as error:
            self._encoder = None
            raise cannot_write(self.logdir, error, self.name) from error

    def write(self, record: Record) -> None:
        encoder = self._encoder
        if encoder is None:
            raise SinkError(f"{self.name} is not open: it takes no records", self.name)
        wall_time = time.time() if record.time is None else record.time
        own = {record.spelled(key): value for key, value in record.values().items()}
        values = {**own, **record.health, **self.counters}
        if self._descriptor is None:
            self._begin(encoder)
        before = b"" if self._started else self._start(encoder, wall_time, record.global_step)
        self._append(before + encoder.record(values, wall_time, record.global_step))
        self._started = True
        self.precision_losses += encoder.losses

    def flush(self) -> None:
        """Bring every event to the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._encoder = None
            self._let_go()

    def _begin(self, encoder: EventEncoder) -> None:
        self.logdir.mkdir(parents=True, exist_ok=True)
        self._descriptor, path = _new_event_file(self.logdir)
        try:
            self._append(encoder.opening())
        except BaseException:
            # A disk that stays full would otherwise get an empty file for every record.
            with suppress(OSError):
                path.unlink()
            raise

    def _start(self, encoder: EventEncoder, wall_time: float, first: int) -> bytes:
        if self._purge_step == "never":
            return encoder.header(wall_time, first)
        step = first if self._purge_step == "first" else self._purge_step
        return encoder.start(wall_time, step) + encoder.header(wall_time, step)

    def _append(self, data: bytes) -> None:
        if self._descriptor is None:
            raise SinkError(f"{self.name} has no file", self.name)
        try:
            write_whole(self._descriptor, data)
        except BaseException:
            # Readers stop at a torn event, so what follows goes into a new file.
            self._let_go()
            raise

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _new_event_file(logdir: Path) -> tuple[int, Path]:
    """A file whose name comes after those of all others: TensorBoard reads them in that order."""
    second = max(int(time.time()), _latest(logdir) + 1)
    stem = f"events.out.tfevents.{second:010d}.{socket.gethostname()}.{os.getpid()}"
    number = 0
    while True:
        path = logdir / f"{stem}.{number:04d}"
        try:
            return create_file(path), path
        except FileExistsError:
            number += 1


def _latest(logdir: Path) -> int:
    """The second in the name of the latest event file there, 0 where there is none."""
    marks = (path.name.partition(MARK)[2].partition(".")[0] for path in logdir.iterdir())
    return max((int(mark) for mark in marks if SECOND.fullmatch(mark)), default=0)
