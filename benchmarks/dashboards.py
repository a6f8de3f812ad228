"""What a record costs a dashboard's sink, against the calls that a trainer would make by hand.

TensorBoard: one record of 150 scalars against ``SummaryWriter.add_scalar`` 150 times, both until
the event file holds them, and against its caller's side alone. With and without C for the
checksum. W&B: ``WandbSink.write`` against ``run.log`` of the same row, offline.
"""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable

from torch.utils.tensorboard import SummaryWriter

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import TensorBoardSink, event_encoder
from coordexp_metrics.sinks.crc32c import installed

KEYS = 150
STEPS = 100
A_RECORD_TAKES = 20


def timed(call: Callable[[], object], repeat: int = 1) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat * 1e6


def opened(*, fast: bool) -> TensorBoardSink:
    """A sink in a directory of its own, that has seen every key."""
    event_encoder.installed = installed if fast else lambda: None
    sink = TensorBoardSink(tempfile.mkdtemp())
    sink.open(Header(CATALOGUE))
    sink.write(record(0))
    return sink


def record(step: int) -> Record:
    """A record of declared keys."""
    keys = [key for key, metric in CATALOGUE.items() if not metric.internal][:KEYS]
    return Record("train", step, {key: i / 7 + step for i, key in enumerate(keys)}, time=1e9)


def main() -> None:
    """Print the table."""
    writer = SummaryWriter(tempfile.mkdtemp(), max_queue=10**6, flush_secs=10**6)
    ours = {"numpy": opened(fast=False), "C": opened(fast=True)}
    times: dict[str, list[float]] = {"caller": [], "file": [], **{name: [] for name in ours}}
    gc.disable()
    for step in range(100, 100 + STEPS):
        row = record(step)

        def by_hand(row: Record = row) -> None:
            for key, value in row.metrics.items():
                writer.add_scalar(key, value, row.global_step)

        start = time.perf_counter()
        by_hand()
        times["caller"].append((time.perf_counter() - start) * 1e6)
        writer.flush()
        times["file"].append((time.perf_counter() - start) * 1e6)
        for name, sink in ours.items():
            times[name].append(timed(lambda sink=sink, row=row: sink.write(row), A_RECORD_TAKES))
    gc.enable()
    p50 = {name: statistics.median(found) for name, found in times.items()}
    print(f"scalars a record                      {len(record(0).metrics)}")
    print(f"add_scalar x {KEYS}, its caller          {p50['caller']:9.1f} us")
    print(f"add_scalar x {KEYS}, until written       {p50['file']:9.1f} us")
    for name in ours:
        print(f"one record, checksum in {name:12s}  {p50[name]:9.1f} us")
        print(f"    against the caller of add_scalar  {p50['caller'] / p50[name]:9.1f} x")
        print(f"    against add_scalar until written  {p50['file'] / p50[name]:9.1f} x  (target 8)")


if __name__ == "__main__":
    main()
