"""A few telling numbers, one line a record, in plain text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from ..contract.catalogue import Catalogue
from ..contract.errors import safe_text
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink

__all__ = ["ConsoleSink", "TELLING"]

TELLING = (
    "loss",
    "coord_diag/loss",
    "token_acc",
    "coord_token_acc",
    "rollout/f1",
    "rollout/precision",
    "rollout/recall",
    "eval_rollout/mAP",
    "grad_norm",
    "learning_rate",
)


class ConsoleSink(Sink):
    """Prints a line for each record.

    Args:
        stream: where to print; None for whatever ``sys.stderr`` is at the time.
        keys: what to print where it is present, in any spelling that the catalogue knows.
        every: print each so-manieth training record; evaluations are always printed.

    >>> from coordexp_metrics import MetricsRegistry
    >>> with MetricsRegistry(sinks=[ConsoleSink(sys.stdout)]) as registry:
    ...     report = registry.emit(
    ...         {"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.25}})
    step 7 train  loss 1.25
    """

    def __init__(
        self, stream: TextIO | None = None, keys: Sequence[str] = TELLING, every: int = 1
    ) -> None:
        if every < 1:
            raise ValueError(f"every counts records from 1; got {every!r}")
        self._stream = stream
        self._keys = tuple(keys)
        self._every = every
        self._seen = 0
        self._catalogue: Catalogue | None = None

    def open(self, header: Header) -> None:
        self._catalogue = header.catalogue

    def write(self, record: Record) -> None:
        due = record.mode != "train" or self._seen % self._every == 0
        self._seen += record.mode == "train"
        if due:
            print(self._line(record), file=self._stream or sys.stderr, flush=True)

    def _line(self, record: Record) -> str:
        where = f"step {record.global_step} {record.mode}"
        if record.dataset is not None:
            where += f" {safe_text(record.dataset)}"
        return "  ".join([where, *self._cells(record)])

    def _cells(self, record: Record) -> Iterator[str]:
        values = record.values()
        for key in self._keys:
            name = self._name(key, record)
            if name in values:
                yield f"{name} {values[name]:.6g}"

    def _name(self, key: str, record: Record) -> str:
        found = self._catalogue.resolve(key) if self._catalogue is not None else None
        if found is not None:
            return found.metric.key_in(record.mode)
        return f"eval_{key}" if record.mode == "eval" else key
