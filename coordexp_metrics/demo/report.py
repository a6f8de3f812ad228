"""What the demo tells its user: what was learned, against chance, and where to look."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coordexp_metrics import CATALOGUE, Payload, read
from coordexp_metrics.audit.validate import validate
from coordexp_metrics.demo.coordjson import WORDS, decode, pictures
from coordexp_metrics.demo.detector import Detector
from coordexp_metrics.demo.scenes import Digits, Scene
from coordexp_metrics.rollouts import DetectedObject, parse_rollout

LOG = "metrics.jsonl"
STAGE2 = "stage2"
TELLING = (
    "loss",
    "coord_diag/expected_bin_mae",
    "coord_diag/acc_top5",
    "token_acc",
    "desc_token_acc",
)


def say(line: str) -> None:
    """The demo's only way to speak."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def closing(out: Path, detector: Detector, chance: Payload, first: Payload, last: Payload) -> int:
    """Say what the run came to, and return the exit code of validating its log."""
    say(f"\n{'':36}{'start':>10}{'end':>10}{'chance':>10}")
    for key in TELLING:
        values = (payload.metrics[key] for payload in (first, last, chance))
        say(f"{CATALOGUE[key].eval_key:36}" + "".join(f"{value:10.3f}" for value in values))
    say(f"\n{digits_found(detector)}")
    say_where_to_look(out)
    return max(validated(log) for log in sorted(out.glob(f"**/{LOG}")))


def learned(before: Payload, after: Payload) -> str:
    """What the rollouts taught: the same held-out scenes before and after."""
    keys = ("rollout/f1", "eval_rollout/mAP", "rollout/matched_maskiou_mean")
    lines = [
        f"{CATALOGUE[key].eval_key:36}"
        + "".join(f"{payload.metrics.get(key, 0.0):10.3f}" for payload in (before, after))
        for key in keys
    ]
    return "\n".join([f"\n{'':36}{'before':>10}{'after':>10}", *lines])


def say_where_to_look(out: Path) -> None:
    """Each sink's own way in."""
    say(f"\nevery number     {out / LOG}")
    say(f"curves           tensorboard --logdir {out / 'tb'}")
    for run in sorted((out / "wandb").glob("offline-run-*"))[-1:]:
        say(f"weights & biases wandb sync {run}")
    say("any key          coordexp-metrics explain eval_coord_diag/expected_bin_mae\n")


def validated(log: Path) -> int:
    """What `coordexp-metrics validate` says of the log, and its exit code."""
    report = validate(read(log))
    for finding in report.findings:
        say(f"{finding.path}:{finding.line}: {finding.rule} {finding.message}")
    where = log.relative_to(log.parents[1])
    records, findings = report.statistics["records"], len(report.findings)
    say(f"{where}: {records} records validated, {findings} findings")
    return report.exit_code()


def digits_found(detector: Detector, scenes: int = 64) -> str:
    """Greedy answers to held-out scenes, against what stands in them."""
    asked = Digits(held_out=True).scenes(scenes, np.random.default_rng(2))
    answers = [
        parse_rollout(decode(ids)).objects for ids in detector.eval().answer(pictures(asked))
    ]
    boxes, named = np.sum(
        [found(scene, answer) for scene, answer in zip(asked, answers, strict=True)], axis=0
    )
    there = sum(len(scene.objects) for scene in asked)
    return (
        f"{scenes} held-out scenes read: {boxes} of {there} digits boxed, {named} named right too"
    )


def found(scene: Scene, answer: Sequence[DetectedObject]) -> tuple[int, int]:
    """Digits that a predicted box covers at IoU 0.5, and those of them that its word names."""
    covering = [
        [WORDS[digit] == guess.desc for guess in answer if overlap(box, guess.points) >= 0.5]
        for digit, box in scene.objects
    ]
    return sum(map(bool, covering)), sum(map(any, covering))


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def area(box: Sequence[float]) -> float:
    """Square bins; a box that is inside out has none."""
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)
