"""Records kept in a list, for tests and notebooks."""

from __future__ import annotations

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

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)
