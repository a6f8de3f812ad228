"""What ``emit`` costs its caller, against pydantic and jsonschema validating the same payloads.

Prints microseconds a step for 150 keys, and the ratio, measured interleaved in one process.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import time
from collections.abc import Callable

import jsonschema

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.contract.payload_model import PayloadModel
from coordexp_metrics.generate.schemas import payload_schema
from coordexp_metrics.sinks import MemorySink

KEYS = 150
STEPS = 2000
ROUNDS_OF_REFERENCE = 20


def payloads() -> list[dict[str, object]]:
    """Steps of one run: the same keys, other values, nothing to complain about."""
    keys = [
        metric.key
        for metric in CATALOGUE.values()
        if not metric.internal and "train" in metric.modes and metric.formula is None
    ]
    keys += [m.key for m in CATALOGUE.values() if m.formula is not None and not m.internal]
    values = dict.fromkeys(keys[:KEYS], 0)
    numbers = random.Random(0)
    floats = [key for key in values if not CATALOGUE[key].whole and CATALOGUE[key].kind == "mean"]
    rows = []
    for step in range(STEPS):
        row: dict[str, float] = dict(values)
        row |= dict.fromkeys(floats, numbers.random() / 2)
        rows.append({"schema_version": 1, "mode": "train", "global_step": step, "metrics": row})
    return rows


def timed(call: Callable[[], object]) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def main() -> None:
    """Print the table."""
    rows = payloads()
    registry = MetricsRegistry(sinks=[MemorySink()], on_violation="count")
    validator = jsonschema.Draft202012Validator(payload_schema(CATALOGUE))
    ours, theirs = [], []
    gc.disable()
    for step, row in enumerate(rows):
        ours.append(timed(lambda row=row: registry.emit(row)))  # type: ignore[misc]
        if step % (STEPS // ROUNDS_OF_REFERENCE) == 0:
            theirs.append(
                timed(lambda row=row: (PayloadModel.model_validate(row), validator.validate(row)))  # type: ignore[misc]
            )
    gc.enable()
    p50 = statistics.median(ours)
    reference = statistics.median(theirs)
    print(f"keys a step                        {len(rows[0]['metrics'])}")  # type: ignore[arg-type]
    print(f"laws checked a step                {len(CATALOGUE.all_laws)} declared")
    print(f"violations reported                {json.dumps(registry.report()['violations'])}")
    print(f"emit, p50                          {p50:8.1f} us   (target: at most 60)")
    print(f"emit, p99                          {sorted(ours)[int(len(ours) * 0.99)]:8.1f} us")
    print(f"pydantic + jsonschema, p50         {reference:8.1f} us")
    print(f"ratio                              {reference / p50:8.1f} x")


if __name__ == "__main__":
    main()
