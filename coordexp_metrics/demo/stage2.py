"""Stage 2: the detector learns from its own rollouts, every other step.

Channel-A reads the truth (A1), then the truth with its own coordinates in it (A2). Channel-B rolls
out, matches, and trains on what it missed. Which losses a token carries is read from the library's
table, which atoms there are from the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from coordexp_metrics import CATALOGUE, MetricsRegistry, Payload, resolve_pipeline
from coordexp_metrics.contract.weights import effective_weights
from coordexp_metrics.demo.coordjson import COORD_IDS, FIRST_COORD, Batch, pictures
from coordexp_metrics.demo.objective import SIGMA, Supervised, terms
from coordexp_metrics.demo.report import say
from coordexp_metrics.demo.rollouts import Rollout
from coordexp_metrics.reducers import (
    CoordDiagnostics,
    LogitsReducer,
    ObjectiveAtoms,
    RolloutEvaluation,
    RolloutReducer,
    Stage2Telemetry,
)
from coordexp_metrics.reducers.stage2.atoms import Channel
from coordexp_metrics.rollouts import BresenhamSchedule, ImageObjects
from coordexp_metrics.rollouts.masks import Span, build_masks
from coordexp_metrics.window import Window

if TYPE_CHECKING:
    from coordexp_metrics.demo.run import Training

__all__ = ["STAGE2_PIPELINE", "SelfPlay"]

VARIANT: Literal["stage2_two_channel"] = "stage2_two_channel"
B_RATIO, PASSES = 0.5, 2
LEARNING_RATE, CAPACITY, EVALUATED = 3e-5, 384, 64
COORD_CONFIG = {"soft_ce_weight": 0.1, "w1_weight": 1.0, "coord_gate_weight": 1.0}
STAGE2_PIPELINE = resolve_pipeline(
    {
        "custom.trainer_variant": VARIANT,
        "objective": [{"name": "token_ce"}, {"name": "coord_reg", "config": COORD_CONFIG}],
        "diagnostics": ["coord_diag"],
    }
)
WEIGHTS = effective_weights(STAGE2_PIPELINE, PASSES)


class SelfPlay:
    """Optimizer steps that alternate between the truth and the detector's own rollouts."""

    def __init__(self, registry: MetricsRegistry, training: Training) -> None:
        self.registry, self.training, self.detector = registry, training, training.detector
        self.schedule = BresenhamSchedule(B_RATIO)
        self.window = Window(CATALOGUE)
        self.evaluation = RolloutEvaluation(Window(CATALOGUE), detection="bbox")
        self.telemetry = Stage2Telemetry(
            self.window,
            RolloutReducer(do_sample=False, temperature=0.0, variant=VARIANT),
            ObjectiveAtoms.of(STAGE2_PIPELINE, PASSES),
            CoordDiagnostics(LogitsReducer(COORD_IDS, target_sigma=SIGMA), n_softctx_iter=PASSES),
            self.schedule,
        )
        self.optimizer = torch.optim.AdamW(self.detector.parameters(), lr=LEARNING_RATE)

    def run(self, first: int, steps: int) -> Iterator[Payload]:
        """The evaluations before and after ``steps`` optimizer steps."""
        yield self.evaluate(first)
        for index in range(steps):
            self.registry.emit(self.step(first + index + 1, self.schedule.channel(index)))
        yield self.evaluate(first + steps)

    def step(self, global_step: int, channel: Channel) -> Payload:
        """One optimizer step of one micro-batch; its payload has the keys of its channel alone."""
        passes = list(self._truth() if channel == "A" else self._rollouts())
        weight = sum(supervised_tokens(batch) for _, batch, _ in passes)
        atoms: dict[str, Tensor] = {}
        for iteration, (names, batch, logits) in enumerate(passes):
            atoms |= atom_sums(names, batch, logits)
            self.telemetry.coord_diag(
                logits.detach(), batch.labels, channel=channel, iteration=iteration
            )
        loss = torch.stack(list(atoms.values())).sum()
        (loss / weight).backward()  # type: ignore[no-untyped-call]
        told = {name: value.detach() for name, value in atoms.items()}
        self.telemetry.objective(channel, told, weight=weight, loss=loss.detach())
        self.telemetry.micro_step(samples=passes[0][1].num_samples)
        self.telemetry.end_step(channel)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.window.close(mode="train", global_step=global_step)

    def _truth(self) -> Iterator[tuple[dict[str, str], Batch, Tensor]]:
        """A1 on the truth, then A2 on the truth with the coordinates that A1 expects."""
        batch = Batch.of(self.training.draw(), self.training.per_row)
        logits = self.detector(batch)
        yield {"struct_ce": "A1_text", "desc_ce": "A1_text"}, batch, logits
        own = logits[:, :-1, FIRST_COORD:].argmax(dim=-1) + FIRST_COORD
        ids = batch.ids.clone()
        ids[:, 1:] = own.where(batch.labels[:, 1:] >= FIRST_COORD, ids[:, 1:])
        spans = batch.spans.where(batch.spans == Span.NONE, int(Span.SELF_CONTEXT))
        again = replace(batch, ids=ids, spans=spans)
        yield {"coord": "A2_coord"}, again, self.detector(again)

    def _rollouts(self) -> Iterator[tuple[dict[str, str], Batch, Tensor]]:
        scenes, say_ = self.training.draw(), self.telemetry
        with say_.generate():
            generated = self.detector.eval().answer(pictures(scenes))
            self.detector.train()
        with say_.parse_match():
            rollouts = [Rollout.of(*one) for one in zip(scenes, generated, strict=True)]
        with say_.teacher_encode():
            lessons = [rollout.lesson() for rollout in rollouts]
            batch = Batch.packed(pictures(scenes), lessons, self.training.per_row)
        say_.rollouts([r.facts(lesson) for r, lesson in zip(rollouts, lessons, strict=True)])
        for row in range(len(batch.ids)):
            tokens = int((batch.labels[row] >= 0).sum())
            say_.pack(tokens=tokens, capacity=CAPACITY, segments=self.training.per_row, buffer=0)
        names = {"struct_ce": "B_rollout_text", "desc_ce": "B_rollout_text", "coord": "B_coord"}
        yield names, batch, self.detector(batch)

    def evaluate(self, global_step: int) -> Payload:
        """Roll out the held-out scenes, match them, and say F1 and mAP."""
        scenes = self.training.held_out[:EVALUATED]
        generated = self.detector.eval().answer(pictures(scenes))
        self.detector.train()
        rollouts = [Rollout.of(*one) for one in zip(scenes, generated, strict=True)]
        self.evaluation.add(
            (ImageObjects(image, r.parsed.objects, r.truth), r.facts())
            for image, r in enumerate(rollouts)
        )
        payload = self.evaluation.close(global_step)
        self.registry.emit(payload)
        found = payload.metrics
        say(
            f"step {global_step:4d}   F1 {found.get('rollout/f1', 0):6.3f}"
            f"   mAP {found.get('eval_rollout/mAP', 0):6.3f}"
        )
        return payload


def supervised_tokens(batch: Batch) -> int:
    """Tokens that some loss reads."""
    return sum(int(mask.sum()) for mask in masks_of(batch).values())


def masks_of(batch: Batch) -> dict[str, Tensor]:
    """Which next tokens carry which loss, ``[B, S - 1]``, by the table of the contract."""
    masks = build_masks(batch.token_types[:, 1:].numpy(), batch.spans[:, 1:].numpy())
    found = {"struct_ce": masks.struct_ce, "desc_ce": masks.desc_ce, "coord": masks.coord}
    return {name: torch.from_numpy(mask) for name, mask in found.items()}


def atom_sums(names: dict[str, str], batch: Batch, logits: Tensor) -> dict[str, Tensor]:
    """What each atom of a pass contributes: weighted, summed over the tokens that carry it."""
    masks, targets, rows = masks_of(batch), batch.labels[:, 1:], logits[:, :-1]
    sums: dict[str, Tensor] = {}
    for name, forward in names.items():
        there = masks[name]
        if name != "coord":
            paid = cross_entropy(rows[there], targets[there], reduction="sum")
            sums[f"loss/{forward}/{name}"] = WEIGHTS[f"loss/{forward}/{name}"] * paid
            continue
        types = batch.token_types[:, 1:][there]
        coord = terms(Supervised(rows[there], targets[there], types))
        parts = {"coord_soft_ce": coord.soft_ce, "coord_w1": coord.w1, "coord_gate": coord.gate}
        for atom, paid in parts.items():
            sums[f"loss/{forward}/{atom}"] = WEIGHTS[f"loss/{forward}/{atom}"] * paid.sum()
    return sums
