"""What ``emit`` costs its caller, against pydantic and jsonschema validating the same payloads.

Prints microseconds a step for 150 keys, and the ratio, measured interleaved in one process.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jsonschema

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.contract.kinds import Flag, Mean, Observed, Quantile
from coordexp_metrics.contract.payload_model import PayloadModel
from coordexp_metrics.generate.schemas import payload_schema
from coordexp_metrics.sinks import MemorySink
from coordexp_metrics.window import Window

KEYS = 150
STEPS = 2000
REFERENCE_EVERY = 100
BEFORE_THE_LAW = {
    "coord_diag/gate": 0.9,
    "loss": 12.5,
    "rollout/valid_pred_objects_total": 9,
    "rollout/gt_objects_total": 9,
    "rollout/matched_for_supervision": 3,
    "stage2_ab/channel_b/strict_drop/N_drop_invalid": 6,
    "rollout/_samples": 8,
    "stage2/raw_rollouts": 8,
    "rollout/decode_non_beam_count": 8,
    "rollout/decode_beam_count": 0,
    "rollout/gen_new_tokens_total": 4,
    "rollout/gen_new_tokens_mean": 0.5,
}


def metrics() -> dict[str, float]:
    """One full step of a run, from a window, so that every law holds."""
    window = Window(CATALOGUE)
    for key, metric in CATALOGUE.items():
        if not isinstance(metric, Observed):
            continue
        value = BEFORE_THE_LAW.get(key, 0.5 if isinstance(metric, Mean) else 1)
        if isinstance(metric, Mean):
            window.observe(metric, value, 1)
        elif isinstance(metric, Quantile):
            window.observe(metric, [1.0])
        else:
            window.observe(key, 1 if isinstance(metric, Flag) else value)
    found = window.close(mode="train", global_step=0).metrics
    return dict(list(found.items())[:KEYS])


def timed(call: Callable[[], object]) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e6


def main() -> None:
    """Print the table."""
    row = metrics()
    registry = MetricsRegistry(sinks=[MemorySink()], on_violation="count")
    validator = jsonschema.Draft202012Validator(payload_schema(CATALOGUE))
    ours, theirs = [], []
    gc.disable()
    for step in range(STEPS):
        payload: dict[str, Any] = {
            "schema_version": 1,
            "mode": "train",
            "global_step": step,
            "metrics": dict(row),
        }
        ours.append(timed(lambda given=payload: registry.emit(given)))  # type: ignore[misc]
        if step % REFERENCE_EVERY == 0:
            theirs.append(timed(lambda given=payload: PayloadModel.model_validate(given)))  # type: ignore[misc]
            theirs[-1] += timed(lambda given=payload: validator.validate(given))  # type: ignore[misc]
    gc.enable()
    p50, reference = statistics.median(ours), statistics.median(theirs)
    print(f"keys a step                  {len(row)}")
    print(f"violations reported          {json.dumps(registry.report()['violations'])}")
    print(f"emit, p50                    {p50:8.1f} us   (target: at most 60)")
    print(f"emit, p99                    {sorted(ours)[int(len(ours) * 0.99)]:8.1f} us")
    print(f"pydantic + jsonschema, p50   {reference:8.1f} us")
    print(f"ratio                        {reference / p50:8.1f} x")


if __name__ == "__main__":
    main()
