"""How fast a finished log is read and checked, and in how much memory.

A log of 256 MB like that of a real run: strings among the numbers, a leaked key, carried keys, and
laws that do not hold. Each measurement is a process of its own, so its peak memory is its own. The
line of 1 GiB costs no disk: it is a hole in a file.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

MEGABYTES = 256
MEASURE = """
import resource, sys, time
from coordexp_metrics.audit.live_check import live_check
from coordexp_metrics.audit.readers import quick, read
from coordexp_metrics.audit.validate import validate
what, path = sys.argv[1:]
if what.endswith("without orjson"):
    quick.orjson = None
before = time.process_time()
records = read(path)
if what.startswith("read"):
    count = sum(1 for _ in records)
else:
    check = validate if what.startswith("validate") else live_check
    count = check(records).statistics["records"]
spent = time.process_time() - before
print(count, spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def row(step: int, draw: random.Random) -> dict[str, object]:
    """A record as a trainer writes it; every second step runs a rollout."""
    from coordexp_metrics import CATALOGUE

    ran = step % 2
    metrics: dict[str, object] = {"loss": round(draw.random(), 8)}
    for key, metric in CATALOGUE.items():
        wanted = "train" in metric.modes and "stage2_two_channel" in metric.emitted_by
        if not wanted or metric.internal or (key.startswith(("rollout/", "time/")) and not ran):
            continue
        metrics[key] = draw.randrange(1, 500) if metric.whole else round(draw.random(), 8)
    for key, metric in CATALOGUE.items():
        if key in metrics and metric.formula is not None:
            numbers = {name: float(str(value)) for name, value in metrics.items()}
            found = metric.formula.evaluate(numbers)
            metrics[key] = metrics[key] if found is None else round(found, 8)
    metrics |= {"stage2/channel_b": float(ran), "rollout/_samples": 5.0}
    metrics |= {f"snapshot/kept/{number}": round(draw.random(), 8) for number in range(60)}
    metrics |= {"global_step/max_steps": f"{step}/9000000", "percentage": "1.00%"}
    return metrics | {"elapsed_time": "1m 3s", "remaining_time": "2h 5m"}


def write_log(path: Path) -> None:
    """A file of MEGABYTES; a few hundred rows are drawn, and differ in their steps."""
    draw = random.Random(0)
    rows = [json.dumps(row(step, draw)) for step in range(400)]
    step = size = 0
    with path.open("w") as file:
        while size < MEGABYTES * 1_000_000:
            line = rows[step % 400].replace(f'"{step % 400}/', f'"{step}/') + "\n"
            size += file.write(line)
            step += 1


def write_hole(path: Path) -> None:
    """A line of 1 GiB between two records."""
    with path.open("wb") as file:
        file.write(b'{"loss": 0.5, "step": 1}\n{"blob": "')
        file.seek(1 << 30, os.SEEK_CUR)
        file.write(b'"}\n{"loss": 0.5, "step": 2}\n')


def measure(what: str, path: Path) -> None:
    """Print the speed and the peak memory of one process."""
    command = [sys.executable, "-c", MEASURE, what, str(path)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count, seconds, peak = map(float, out.split())
    speed = path.stat().st_size / 1e6 / seconds
    print(f"{what:28} {speed:7.0f} MB/s a core   {peak:5.0f} MiB peak   {count:.0f} records")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        log, hole = Path(place) / "metrics.jsonl", Path(place) / "hole.jsonl"
        write_log(log)
        print(f"a log of {log.stat().st_size / 1e6:.0f} MB (target: 60 MB/s a core, 256 MiB)")
        for what in ("read", "validate", "live-check"):
            measure(what, log)
            measure(f"{what} without orjson", log)
        write_hole(hole)
        print("a line of 1 GiB")
        for what in ("read", "live-check"):
            measure(what, hole)


if __name__ == "__main__":
    main()
