"""What the integration costs a step of a Hugging Face trainer, as a share of that step.

Plain and metered runs of the same model alternate in one process; the medians of their step times
are compared, with the logits reducer left out and with it. The cost is a constant for each logged
step, so it is told for a step of a few milliseconds and for one of tens.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

sys.path.insert(0, str(Path(__file__).parents[1]))

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.integrations import TrainerMetrics
from coordexp_metrics.integrations.transformers import with_metrics
from coordexp_metrics.sinks import JsonlSink
from tests.integrations import tiny
from tests.integrations.test_transformers import arguments

STEPS, ROUNDS, BATCH = 60, 3, 8
MODELS = {"2 layers of 32": (32, 2), "6 layers of 384": (384, 6)}


class Clock(TrainerCallback):
    """The time between the ends of two steps."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()

    def on_log(self, *_: Any, **__: Any) -> None:
        self.steps.append(time.perf_counter() - self.began)


def seconds(out: Path, kind: str, width: int, depth: int) -> float:
    """The median step of one run."""
    options = {"per_device_train_batch_size": BATCH, "max_steps": STEPS}
    common = {
        "model": tiny.model(width=width, depth=depth),
        "args": arguments(out, **options),
        "callbacks": [clock := Clock()],
    }
    if kind == "plain":
        trainer = Trainer(train_dataset=tiny.Samples(64, typed=False), **common)
        trainer.train()
        return statistics.median(clock.steps[10:])
    registry = MetricsRegistry([JsonlSink(out / "metrics.jsonl")], on_violation="count")
    metrics = TrainerMetrics(registry, tiny.reducer() if kind == "reducer" else None)
    data = {"train_dataset": tiny.Samples(64), "data_collator": tiny.collate}
    trainer = with_metrics(Trainer)(metrics=metrics, **data, **common)
    trainer.train()
    registry.close()
    return statistics.median(clock.steps[10:])


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    for name, (width, depth) in MODELS.items():
        compare(name, width, depth)


def compare(name: str, width: int, depth: int) -> None:
    """One model, plain and metered in turn."""
    kinds = ("plain", "metered", "reducer")
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            found[kind].append(seconds(Path(tempfile.mkdtemp()), kind, width, depth))
    plain = statistics.median(found["plain"])
    print(f"{name}: a plain step takes {plain * 1e3:.2f} ms")
    for kind, what in (("metered", "without the reducer"), ("reducer", "with the reducer")):
        pairs = list(zip(found[kind], found["plain"], strict=True))
        share = statistics.median(ours / theirs for ours, theirs in pairs) - 1
        more = statistics.median(ours - theirs for ours, theirs in pairs)
        print(f"    {what:20s} {more * 1e3:+6.2f} ms, {share:+6.1%} of a step")


if __name__ == "__main__":
    main()
