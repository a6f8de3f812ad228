"""Records kept in a list, for tests and notebooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from ..contract.record import Record
from .base import Sink

__all__ = ["MemorySink"]


class MemorySink(Sink):
    """Keeps every record.

    >>> from coordexp_metrics import MetricsRegistry
    >>> memory = MemorySink()
    >>> with MetricsRegistry(sinks=[memory]) as registry:
    ...     report = registry.emit(
    ...         {"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.25}})
    >>> memory.records[0].metrics
    {'loss': 1.25}
    """

    instant: ClassVar[bool] = True

    def __init__(self) -> None:
        self._records: list[Record] = []
        self._settle: Callable[[], None] | None = None

    @property
    def records(self) -> list[Record]:
        """The records of everything that was emitted so far; waits for them, at most a second."""
        if self._settle is not None:
            self._settle()
        return self._records

    def attached(self, settle: Callable[[], None]) -> None:
        self._settle = settle

    def write(self, record: Record) -> None:
        self._records.append(record)
