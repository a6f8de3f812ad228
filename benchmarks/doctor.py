"""How fast a log is examined, and in how much memory; reading alone beside it.

python benchmarks/doctor.py [MB]
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from coordexp_metrics import read
from coordexp_metrics.audit.doctor import examine

KEYS = 200


def write(path: Path, size: int) -> None:
    """A log of two hundred keys: a third counts, a third means, a third sparse."""
    rng, step = random.Random(0), 0
    with path.open("w") as file:
        while file.tell() < size:
            step += 1
            row: dict[str, float] = {"step": step, "loss": rng.random()}
            for n in range(KEYS):
                if n % 3 == 0:
                    row[f"family{n % 7}/things{n}_total"] = rng.randint(0, 500)
                elif n % 3 == 1:
                    row[f"family{n % 7}/value{n}_mean"] = round(rng.random(), 8)
                elif step % 2:
                    row[f"family{n % 7}/part{n}_frac"] = round(rng.random(), 8)
            file.write(json.dumps(row) + "\n")


def timed(what: str, megabytes: float, work: object) -> float:
    """Seconds of ``work``, said as a rate."""
    began = time.perf_counter()
    work()  # type: ignore[operator]
    seconds = time.perf_counter() - began
    print(f"{what:28}{seconds:8.2f} s {megabytes / seconds:8.1f} MB/s")
    return seconds


def main() -> None:
    megabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 64.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        write(path, int(megabytes * 1e6))
        reading = timed("reading alone", megabytes, lambda: sum(1 for _ in read(path)))
        examining = timed("reading and examining", megabytes, lambda: examine(read(path)))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"examining costs {examining / reading:.1f} x reading; at most {peak:.0f} MiB")


if __name__ == "__main__":
    main()
