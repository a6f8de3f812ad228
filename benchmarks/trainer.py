"""What the integration costs a step of a Hugging Face trainer, as a share of that step.

A plain trainer and metered ones, of the same model on the same data, take turns of some steps each
in one process, so that whatever else the machine does meets all of them. A turn is timed whole: the
callbacks, the data, and what the threads of the sinks take from the interpreter.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from threading import Semaphore, Thread
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

KINDS = ("plain", "metered", "with the reducer")
BATCH = 8


class Turns(TrainerCallback):
    """One trainer's turns: it waits for its own, and times them."""

    def __init__(self, mine: Semaphore, following: Semaphore, length: int) -> None:
        self.mine, self.following, self.length = mine, following, length
        self.seconds: list[float] = []
        self.began = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % self.length == 0:
            if state.global_step:
                self.hand_over()
            self.mine.acquire()
            self.began = time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.hand_over()

    def hand_over(self) -> None:
        """End a turn."""
        self.seconds.append(time.perf_counter() - self.began)
        self.following.release()


def without_extras(rows: list[Any]) -> dict[str, Any]:
    """The same batch for a trainer that knows no token types."""
    batch = tiny.collate(rows)
    return {key: batch[key] for key in ("input_ids", "attention_mask", "labels")}


def trainer(kind: str, turns: Turns, registry: MetricsRegistry, **options: Any) -> Trainer:
    """The trainer of one kind; all see the same batches."""
    shape = {key: options.pop(key) for key in ("width", "depth")}
    common: dict[str, Any] = {
        "model": tiny.model(**shape),
        "args": arguments(Path(tempfile.mkdtemp()), per_device_train_batch_size=BATCH, **options),
        "callbacks": [turns],
        "train_dataset": tiny.Samples(64),
    }
    if kind == "plain":
        return Trainer(data_collator=without_extras, **common)
    metrics = TrainerMetrics(registry, tiny.reducer() if kind == "with the reducer" else None)
    return with_metrics(Trainer)(metrics=metrics, data_collator=tiny.collate, **common)


def measure(length: int, rounds: int, **options: Any) -> dict[str, list[float]]:
    """Seconds of each turn of each kind, the first turn left out."""
    semaphores = [Semaphore(0) for _ in KINDS]
    turns = [
        Turns(mine, following, length)
        for mine, following in zip(semaphores, [*semaphores[1:], semaphores[0]], strict=True)
    ]
    log = Path(tempfile.mkdtemp()) / "metrics.jsonl"
    steps = length * (rounds + 1)
    with closing(MetricsRegistry([JsonlSink(log)], on_violation="count")) as registry:
        threads = [
            Thread(target=trainer(kind, turn, registry, max_steps=steps, **options).train)
            for kind, turn in zip(KINDS, turns, strict=True)
        ]
        for thread in threads:
            thread.start()
        semaphores[0].release()
        for thread in threads:
            thread.join()
    return {kind: turn.seconds[1:] for kind, turn in zip(KINDS, turns, strict=True)}


def compare(name: str, length: int, rounds: int, logging_steps: int, **shape: int) -> None:
    """Print one model's rows."""
    found = measure(length, rounds, logging_steps=logging_steps, **shape)
    plain = found["plain"]
    print(
        f"{name}, logged every {logging_steps}: "
        f"a plain step takes {statistics.median(plain) / length * 1e3:.2f} ms"
    )
    for kind in KINDS[1:]:
        pairs = list(zip(found[kind], plain, strict=True))
        share = statistics.median(ours / theirs for ours, theirs in pairs) - 1
        more = statistics.median(ours - theirs for ours, theirs in pairs) / length
        print(f"    {kind:18s} {more * 1e3:+6.2f} ms, {share:+6.1%} of a step")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each trainer")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for logging_steps in (1, 10):
        compare("2 layers of 32", 50, rounds, logging_steps, width=32, depth=2)
        compare("6 layers of 384", 10, rounds, logging_steps, width=384, depth=6)


if __name__ == "__main__":
    main()
