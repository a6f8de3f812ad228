"""What sinks cost the thread that trains: with a journal and its spool, and with a sink that hangs.

Prints microseconds a step for 150 host keys, and ratios, measured interleaved in one process: a
registry whose sinks are healthy, and one of whose sinks waits for ever at the end of a FIFO.
"""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emit import metrics

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink
from coordexp_metrics.sinks.base import Sink

STEPS = 12000
BLOCK = 50
REST = 0.02  # seconds for the sinks after each block
CLOSE_TIMEOUT = 2.0


class ToFifo(Sink):
    """Opens a FIFO at the first record, which waits until somebody reads: for ever."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)

    def write(self, record: Record) -> None:
        self._path.open("w").close()


class Timed(JsonlSink):
    """A journal that notes how long after its emit each record is in the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.lags: list[float] = []

    def write(self, record: Record) -> None:
        super().write(record)
        if record.monotonic is not None:
            self.lags.append(time.monotonic() - record.monotonic)


class Away(Sink):
    """Takes a record and forgets it."""

    def write(self, record: Record) -> None:
        return


def timed(call: Callable[[], object]) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def train(registry: MetricsRegistry, row: dict[str, float], steps: range) -> list[float]:
    """What each step's emit took."""
    took = []
    for step in steps:
        payload: dict[str, Any] = {
            "schema_version": 1,
            "mode": "train",
            "global_step": step,
            "metrics": dict(row),
        }
        took.append(timed(lambda given=payload: registry.emit(given)))  # type: ignore[misc]
    time.sleep(REST)
    return took


def at(took: list[float], share: float) -> float:
    """The quantile of ``took`` at ``share``."""
    return sorted(took)[int(len(took) * share)]


def say(name: str, took: list[float], target: str = "") -> None:
    """One line of the table."""
    p50, p99, p999 = statistics.median(took), at(took, 0.99), at(took, 0.999)
    print(f"{name:28s} p50 {p50:7.1f}   p99 {p99:7.1f}   p99.9 {p999:7.1f} us   {target}")


def main() -> None:
    """Print the table."""
    row = metrics()
    print(f"keys a step                  {len(row)}")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        registries = {
            "memory that nobody keeps": MetricsRegistry([Away()], on_violation="count"),
            "journal and spool": MetricsRegistry(
                [journal := Timed(place / "a.jsonl"), Away()], on_violation="count"
            ),
            "journal, spool, a hung sink": MetricsRegistry(
                [JsonlSink(place / "b.jsonl"), ToFifo(place / "fifo")], on_violation="count"
            ),
        }
        took: dict[str, list[float]] = {name: [] for name in registries}
        gc.collect()
        gc.freeze()
        for start in range(0, STEPS, BLOCK):
            for name, registry in registries.items():
                took[name] += train(registry, row, range(start, start + BLOCK))
        for name, figures in took.items():
            say(name, figures, "(target: p50 at most 10)" if name == "journal and spool" else "")
        healthy, hung = took["journal and spool"], took["journal, spool, a hung sink"]
        for share in (0.5, 0.99, 0.999):
            print(f"hung / healthy at {share:<10} {at(hung, share) / at(healthy, share):8.2f} x")
        lags = [1e3 * at(journal.lags, share) for share in (0.5, 0.99)]
        print("from emit to the file: p50 {:.0f} ms, p99 {:.0f} ms (target: 100)".format(*lags))
        for name, registry in registries.items():
            start_of_close = time.perf_counter()
            report = registry.close(CLOSE_TIMEOUT)
            closing = time.perf_counter() - start_of_close
            print(f"close, {name:28s} {closing:6.2f} s of {CLOSE_TIMEOUT}, {report.complete}")
            for sink in report.sinks:
                print(f"    {sink.sink:12s} {sink.delivered} delivered, {sink.pending} pending,"
                      f" dropped {sink.dropped}")  # fmt: skip


if __name__ == "__main__":
    main()
