"""The training loop: observe every micro-batch, close the window once a step, emit the payload.

In the words of the library, one optimizer step is

    window.observe(key, *statistic)                    # a sum and its weight, never a mean
    payload = window.close(mode="train", global_step=step)
    registry.emit(payload)                             # validated, then on to every sink

and everything else here is an ordinary training run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coordexp_metrics import CATALOGUE, MetricsRegistry, Payload, PipelineIdentity
from coordexp_metrics.demo.coordjson import COORD_IDS, Batch
from coordexp_metrics.demo.detector import Detector
from coordexp_metrics.demo.objective import SIGMA, WEIGHTS, Normaliser, Supervised, terms
from coordexp_metrics.demo.report import LOG, STAGE2, closing, learned, say
from coordexp_metrics.demo.scenes import Digits, Scene
from coordexp_metrics.demo.stage2 import STAGE2_PIPELINE, SelfPlay
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.sinks import JsonlSink, TensorBoardSink, WandbSink
from coordexp_metrics.sinks.base import Sink
from coordexp_metrics.window import Window

MICRO_BATCHES, SCENES, PACK = 2, 16, 4
PEAK_LEARNING_RATE, WARM_UP = 1.5e-3, 20

PIPELINE = PipelineIdentity(
    objective=("base_ce", {"name": "coord_soft_ce_w1", **WEIGHTS}),
    diagnostics=("token_types", "coord_monitor"),
)

Answerer = Callable[[Batch], Tensor]


def main(
    out: Path,
    steps: int = 300,
    seed: int = 0,
    wandb: bool = True,
    evaluate_every: int = 50,
    packed: bool = False,
    stage2_steps: int = 24,
) -> int:
    """Train, log to `out`, report, and validate what was logged; 0 if the log is clean."""
    torch.set_num_threads(1)  # a step is small: threads that wait for one another cost more
    out = own_folder(out)
    began = time.monotonic()
    with ExitStack() as stack:
        run = stack.enter_context(offline_run(out)) if wandb else None
        options: dict[str, Any] = {"parameters": WEIGHTS, "run": {"seed": seed}}
        with MetricsRegistry(sinks_in(out, run), pipeline=PIPELINE, **options) as registry:
            training = Training(registry, steps, seed, per_row=PACK if packed else 1)
            evaluations = list(training.run(evaluate_every))
        say(f"trained {steps} steps in {time.monotonic() - began:.0f} s")
        say(training.parity())
        if stage2_steps:
            stage2 = sinks_in(out / STAGE2, run)
            with MetricsRegistry(stage2, pipeline=STAGE2_PIPELINE, **options) as registry:
                before, after = SelfPlay(registry, training).run(steps, stage2_steps)
            say(learned(before, after))
    first, last = evaluations[0], evaluations[-1]
    return closing(out, training.detector, training.chance(), first, last)


def sinks_in(out: Path, run: Any = None) -> list[Sink]:
    """A durable log, TensorBoard, and W&B where there is a run."""
    sinks: list[Sink] = [JsonlSink(out / LOG), TensorBoardSink(out / "tb")]
    return [*sinks, WandbSink(run)] if run is not None else sinks


def own_folder(out: Path) -> Path:
    """A run has a folder to itself: `out`, or `out-2`, ... where a log is already."""
    names = chain([out.name], (f"{out.name}-{number}" for number in count(2)))
    folder = next(folder for folder in map(out.with_name, names) if not (folder / LOG).exists())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def offline_run(out: Path) -> Any:
    """The run is the user's to begin and to finish: the sink only logs to it."""
    import wandb

    quiet = wandb.Settings(x_disable_meta=True, x_disable_stats=True, save_code=False, silent=True)
    return wandb.init(project="coordexp-metrics-demo", mode="offline", dir=str(out), settings=quiet)


def logits_reducer() -> LogitsReducer:
    """Reads the logits for the window, under the weights of the objective."""
    soft_ce, w1, ce, gate = WEIGHTS.values()
    return LogitsReducer(
        COORD_IDS,
        target_sigma=SIGMA,
        soft_ce_weight=soft_ce,
        w1_weight=w1,
        ce_weight=ce,
        gate_weight=gate,
    )


class Training:
    """A detector, its optimizer, and one window that is closed after each step.

    With ``per_row`` above 1, a row holds that many answers; no metric can tell.
    """

    def __init__(self, registry: MetricsRegistry, steps: int, seed: int, per_row: int = 1) -> None:
        torch.manual_seed(seed)
        self.per_row = per_row
        self.registry, self.steps = registry, steps
        self.window = Window(CATALOGUE)
        self.reducer = logits_reducer()
        self.detector = Detector()
        self.optimizer = torch.optim.AdamW(self.detector.parameters(), lr=PEAK_LEARNING_RATE)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._learning_rate)
        self.digits, self.rng = Digits(held_out=False), np.random.default_rng(seed)
        self.held_out = Digits(held_out=True).scenes(128, np.random.default_rng(seed))

    def _learning_rate(self, step: int) -> float:
        return min((step + 1) / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * step / self.steps))

    def run(self, evaluate_every: int) -> Iterator[Payload]:
        """The evaluations, the first of them before anything is learned."""
        yield self.evaluate(0)
        for step in range(1, self.steps + 1):
            self.registry.emit(self.step(step))
            if step % evaluate_every == 0 or step == self.steps:
                yield self.evaluate(step)

    def step(self, global_step: int) -> Payload:
        """One optimizer step: its micro-batches fold into one window, and so into one payload."""
        batches = [Batch.of(self.draw(), self.per_row) for _ in range(MICRO_BATCHES)]
        for share in self.shares(self.detector, batches):
            share.backward()  # type: ignore[no-untyped-call]
        self.observe_step(global_step, batches)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return self.window.close(mode="train", global_step=global_step)

    def draw(self) -> list[Scene]:
        """The scenes of one micro-batch."""
        return self.digits.scenes(SCENES, self.rng)

    def shares(self, answer: Answerer, batches: Sequence[Batch]) -> Iterator[Tensor]:
        """Each micro-batch's share of the objective; the window has seen it when it comes."""
        normaliser = Normaliser.of(batches)
        for batch in batches:
            logits = answer(batch)
            share = normaliser.share(terms(Supervised.of(logits, batch)))
            self.window.observe("loss", share, 1 / len(batches))
            self.reducer.observe(
                self.window, logits, batch.labels, batch.token_types, batch.num_samples
            )
            yield share

    def observe_step(self, global_step: int, batches: Sequence[Batch]) -> None:
        """What a trainer knows besides its logits; an epoch is a scene for every digit."""
        scenes = sum(batch.num_samples for batch in batches)
        norm = torch.nn.utils.clip_grad_norm_(self.detector.parameters(), 1.0)
        self.window.observe("grad_norm", norm, 1)
        self.window.observe("learning_rate", self.schedule.get_last_lr()[0])
        self.window.observe("epoch", global_step * scenes / len(self.digits.images))
        self.window.observe("train/samples_total", scenes)
        self.window.observe("train/micro_steps", len(batches))

    def evaluate(self, global_step: int) -> Payload:
        """The held-out scenes through the same statistics, emitted as an evaluation."""
        payload = self.measure(self.detector.eval(), global_step, self.per_row)
        self.detector.train()
        self.registry.emit(payload)
        found = payload.metrics
        error = found["coord_diag/expected_bin_mae"]
        say(f"step {global_step:4d}   eval loss {found['loss']:6.3f}   error {error:6.1f} bins")
        return payload

    def chance(self) -> Payload:
        """What an answer at random scores; measured the same way, emitted nowhere."""
        vocabulary = self.detector.head().shape[0]
        return self.measure(lambda batch: 1e-3 * torch.randn(*batch.ids.shape, vocabulary), 0)

    def parity(self) -> str:
        """The held-out scenes padded and packed: one set of metrics, the same counts."""
        detector = self.detector.eval()
        padded, packed = (self.measure(detector, 0, rows).metrics for rows in (1, PACK))
        counts = [key for key in padded if CATALOGUE[key].kind == "total"]
        worst = max(abs(padded[key] - packed[key]) / abs(padded[key] or 1) for key in padded)
        same = padded.keys() == packed.keys() and all(padded[k] == packed[k] for k in counts)
        verdict = "the same" if same else "NOT the same"
        return (
            f"held-out scenes packed {PACK} a row: {len(packed)} metrics, counts {verdict}, "
            f"values within {worst:.0e}"
        )

    @torch.no_grad()
    def measure(self, answer: Answerer, global_step: int, per_row: int = 1) -> Payload:
        """One window over all held-out scenes."""
        halves = self.held_out[:64], self.held_out[64:]
        for _ in self.shares(answer, [Batch.of(scenes, per_row) for scenes in halves]):
            pass
        return self.window.close(mode="eval", global_step=global_step)
