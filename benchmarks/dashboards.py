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
from functools import partial

import wandb
from torch.utils.tensorboard import SummaryWriter

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import TensorBoardSink, WandbSink, event_encoder
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


def opened(place: str, *, fast: bool) -> TensorBoardSink:
    """A sink in a directory of its own, that has seen every key."""
    event_encoder.installed = installed if fast else lambda: None
    sink = TensorBoardSink(f"{place}/{fast}")
    sink.open(Header(CATALOGUE))
    sink.write(record(0))
    return sink


def record(step: int) -> Record:
    """A record of declared keys."""
    keys = [key for key, metric in CATALOGUE.items() if not metric.internal][:KEYS]
    return Record("train", step, {key: i / 7 + step for i, key in enumerate(keys)}, time=1e9)


def tensorboard(place: str) -> None:
    """One record against 150 scalars by hand, in turns."""
    writer = SummaryWriter(f"{place}/by_hand", max_queue=10**6, flush_secs=10**6)
    ours = {"numpy": opened(place, fast=False), "C": opened(place, fast=True)}
    times: dict[str, list[float]] = {"caller": [], "file": [], **{name: [] for name in ours}}
    for step in range(100, 100 + STEPS):
        row = record(step)
        start = time.perf_counter()
        for key, value in row.metrics.items():
            writer.add_scalar(key, value, row.global_step)
        times["caller"].append((time.perf_counter() - start) * 1e6)
        writer.flush()
        times["file"].append((time.perf_counter() - start) * 1e6)
        for name, sink in ours.items():
            times[name].append(timed(partial(sink.write, row), A_RECORD_TAKES))
    p50 = {name: statistics.median(found) for name, found in times.items()}
    print(f"add_scalar x {KEYS}, its caller          {p50['caller']:9.1f} us")
    print(f"add_scalar x {KEYS}, until written       {p50['file']:9.1f} us")
    for name in ours:
        print(f"one record, checksum in {name:12s}  {p50[name]:9.1f} us  (target 8 x)")
        print(f"    against the caller of add_scalar  {p50['caller'] / p50[name]:9.1f} x")
        print(f"    against add_scalar until written  {p50['file'] / p50[name]:9.1f} x")


def weights_and_biases(place: str) -> None:
    """``WandbSink.write`` against ``run.log`` of the same row, in turns."""
    quiet = wandb.Settings(x_disable_meta=True, silent=True, console="off")
    run = wandb.init(mode="offline", dir=place, project="benchmark", settings=quiet)
    sink = WandbSink(run)
    sink.open(Header(CATALOGUE))
    sink.write(record(0))
    times: dict[str, list[float]] = {"ours": [], "by hand": []}
    for step in range(STEPS):
        row = record(step)
        calls = {
            "ours": partial(sink.write, row),
            "by hand": partial(run.log, {**row.metrics, "global_step": step}),
        }
        # The service lags behind, and the second call of two may wait for it.
        for name in sorted(calls, reverse=step % 2 == 1):
            times[name].append(timed(calls[name]))
    run.finish()
    print(f"WandbSink.write                       {statistics.median(times['ours']):9.1f} us")
    print(f"run.log of the same row               {statistics.median(times['by hand']):9.1f} us")


def main() -> None:
    """Print the tables."""
    print(f"values a record                       {len(record(0).metrics)}")
    gc.disable()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        tensorboard(place)
        weights_and_biases(place)
    gc.enable()


if __name__ == "__main__":
    main()
