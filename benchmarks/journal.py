"""What a line of the journal costs, against ``json.dumps``; and how fast records come back.

Prints microseconds a record of 150 numbers, and ratios, measured interleaved in one process.
"""

from __future__ import annotations

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from coordexp_metrics import CATALOGUE, read
from coordexp_metrics.audit.recovery import recover
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink, encode
from coordexp_metrics.sinks.files import Disk

KEYS = 150
ROUNDS = 400
RECORDS = 2000


def record(seq: int) -> Record:
    """A full step: long keys, doubles of seventeen digits, some counts."""
    chance = random.Random(seq)
    names = list(CATALOGUE)[:KEYS]
    metrics: dict[str, float] = {
        name: chance.randrange(10**6) if at % 8 == 7 else chance.lognormvariate(0, 3)
        for at, name in enumerate(names)
    }
    return Record("train", seq, metrics, seq=seq, time=time.time(), monotonic=time.monotonic())


def microseconds(call: Callable[[], object]) -> float:
    """Of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def plain_line(given: Record) -> bytes:
    """The same line from the standard library, as most trainers write it."""
    row = {
        "seq": given.seq,
        "schema_version": 1,
        "mode": given.mode,
        "global_step": given.global_step,
        "time": given.time,
        "monotonic": given.monotonic,
        "metrics": given.metrics,
    }
    return json.dumps(row).encode() + b"\n"


def without_orjson(given: Record) -> bytes:
    """The line where orjson is not installed."""
    found, encode.orjson = encode.orjson, None  # type: ignore[assignment]
    try:
        return encode.record_line(given)
    finally:
        encode.orjson = found


class Unsynced(Disk):
    """A disk that syncs at once, for the cost of everything else."""

    def sync(self, descriptor: int) -> None:
        """Nothing to do."""


def lines() -> None:
    """Encoding alone."""
    ways = {"json.dumps": plain_line, "with orjson": encode.record_line, "without": without_orjson}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for seq in range(ROUNDS):
        given = record(seq)
        for name, way in ways.items():
            way(given)
            taken[name].append(microseconds(lambda way=way, given=given: way(given)))  # type: ignore[misc]
    p50 = {name: statistics.median(times) for name, times in taken.items()}
    size = len(encode.record_line(record(0)))
    print(f"a line of {KEYS} numbers, {size} bytes, p50 (target with orjson: 5 x)")
    for name in ways:
        print(f"  {name:32s} {p50[name]:8.1f} us {p50['json.dumps'] / p50[name]:8.1f} x")


def writes(directory: Path) -> None:
    """Lines to a file: ours, and ``json.dumps`` with a flush a record."""
    ours = JsonlSink(directory / "ours.jsonl", disk=Unsynced())
    synced = JsonlSink(directory / "synced.jsonl")
    for sink in (ours, synced):
        sink.open(Header(CATALOGUE))
    theirs = (directory / "theirs.log").open("wb")
    taken: dict[str, list[float]] = {"json, flushed": [], "unsynced": [], "synced": []}

    def plain(given: Record) -> None:
        theirs.write(plain_line(given))
        theirs.flush()

    for seq in range(RECORDS):
        given = record(seq)
        taken["json, flushed"].append(microseconds(lambda given=given: plain(given)))  # type: ignore[misc]
        taken["unsynced"].append(microseconds(lambda given=given: ours.write(given)))  # type: ignore[misc]
        taken["synced"].append(microseconds(lambda given=given: synced.write(given)))  # type: ignore[misc]
    print("a record to the file, p50 and mean")
    for name, times in taken.items():
        middle, mean = statistics.median(times), statistics.fmean(times)
        ratio = statistics.fmean(taken["json, flushed"]) / mean
        print(f"  {name:32s} {middle:8.1f} us {mean:8.1f} us {ratio:8.1f} x")
    for sink in (ours, synced):
        sink.close()
    theirs.close()
    (directory / "theirs.log").unlink()
    (directory / "synced.jsonl").unlink()


def reads(directory: Path) -> None:
    """The whole journal back, checked line by line."""
    size = (directory / "ours.jsonl").stat().st_size
    found = microseconds(lambda: sum(1 for _ in read(directory / "ours.jsonl"))) / 1e6
    merged = microseconds(lambda: sum(1 for _ in recover([str(directory)]).lines())) / 1e6
    print(f"reading {RECORDS} records               {size / found / 1e6:8.1f} MB/s")
    print(f"recovering {RECORDS} records            {size / merged / 1e6:8.1f} MB/s")


def main() -> None:
    """Print the tables."""
    lines()
    with tempfile.TemporaryDirectory() as directory:
        writes(Path(directory))
        reads(Path(directory))


if __name__ == "__main__":
    main()
