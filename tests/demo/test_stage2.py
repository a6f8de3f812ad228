"""Stage 2 of the demo: rollouts become lessons, and each channel logs its own keys."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.demo import run, stage2
from coordexp_metrics.demo.coordjson import FIRST_COORD, IDS, encode
from coordexp_metrics.demo.rollouts import Rollout
from coordexp_metrics.demo.scenes import Scene
from coordexp_metrics.rollouts.masks import Span
from coordexp_metrics.sinks import MemorySink


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def scene(*boxes: tuple[int, int, int, int]) -> Scene:
    image = np.zeros((64, 64), np.float32)
    return Scene(image, tuple((digit, box) for digit, box in enumerate(boxes)))


NEAR, TRUE, MISSED, STRAY = (
    (110, 100, 300, 300),
    (100, 100, 300, 300),
    (600, 600, 900, 900),
    (10, 800, 50, 900),
)


def test_a_lesson_keeps_what_matches_and_appends_what_was_missed() -> None:
    """The prefix is the rollout's own; its matched coordinates are to become the truth's."""
    asked = scene(TRUE, MISSED)
    answered = Rollout.of(asked, encode(scene(NEAR, STRAY)))
    lesson = answered.lesson()
    coords = lesson.ids >= FIRST_COORD
    read = (lesson.ids[coords] - FIRST_COORD).view(-1, 4).tolist()
    assert read == [list(NEAR), list(STRAY), list(MISSED)]
    wanted = (lesson.labels[coords] - FIRST_COORD).view(-1, 4).tolist()
    assert wanted == [list(TRUE), list(STRAY), list(MISSED)]
    spans = lesson.spans[coords].view(-1, 4)[:, 0].tolist()
    assert spans == [Span.MATCHED_PREFIX, Span.FP_PREFIX, Span.FN_INJECTED]
    assert lesson.spans[-2:].tolist() == [Span.CLOSURE] * 2


def test_the_facts_of_a_lesson_are_counted_from_it() -> None:
    asked = scene(TRUE, MISSED)
    answered = Rollout.of(asked, encode(scene(NEAR, STRAY)))
    facts = answered.facts(answered.lesson())
    assert (facts.gt_objects, facts.pred_objects, facts.matched) == (2, 2, 1)
    assert (facts.fn_appended, facts.excluded, facts.prefix_coord_targets) == (1, 0, 4)
    assert facts.gen_new_tokens == len(encode(scene(NEAR, STRAY)))
    appended = 1 + 1 + 1 + 7 + 2  # its opening, "one", its box, ], the close and the end
    assert facts.append_len == facts.tail_tokens == appended


def test_a_match_whose_word_has_no_tokens_is_excluded_and_appended() -> None:
    asked = scene(TRUE)
    tokens = encode(scene(TRUE))
    piece = tokens.index(IDS["zer"])
    tokens[piece : piece + 2] = [IDS["o"], IDS["zer"]]  # "ozer", which wraps into no piece
    answered = Rollout.of(asked, tokens)
    facts = answered.facts(answered.lesson())
    assert (facts.matched, facts.excluded, facts.fn_appended) == (0, 1, 1)


def test_a_rollout_of_nothing_is_completed_from_the_truth() -> None:
    answered = Rollout.of(scene(TRUE), [IDS["<|im_end|>"]])
    facts = answered.facts(answered.lesson())
    assert (facts.invalid_rollout, facts.pred_objects, facts.fn_appended) == (True, 0, 1)


@pytest.fixture(scope="module")
def played() -> MemorySink:
    """Four steps of a small Stage 2, every law of the contract enforced."""
    torch.set_num_threads(1)
    sink = MemorySink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "SCENES", 4)
        patch.setattr(stage2, "EVALUATED", 4)
        training = run.Training(MetricsRegistry(), steps=4, seed=0, per_row=2)
        list(training.run(evaluate_every=4))
        with MetricsRegistry([sink], on_violation="raise") as registry:
            list(stage2.SelfPlay(registry, training).run(first=4, steps=4))
    return sink


def test_the_channels_alternate_by_schedule(played: MemorySink) -> None:
    steps = [r.metrics for r in played.records if r.mode == "train"]
    assert [step["stage2/channel_b"] for step in steps] == [0, 1, 0, 1]
    assert [step["stage2_ab/b_ratio_realized"] for step in steps] == [0, 1 / 2, 1 / 3, 2 / 4]
    assert [step["train/samples_seen"] for step in steps] == [4, 8, 12, 16]


def test_a_step_without_rollouts_has_no_key_of_rollouts(played: MemorySink) -> None:
    for record in played.records:
        if record.mode == "train":
            ran = bool(record.metrics["stage2/channel_b"])
            assert any(key.startswith("rollout/") for key in record.metrics) == ran
            assert ("time/rollout_generate_s" in record.metrics) == ran
            assert ("coord_diag/A2/coord_tokens_total" in record.metrics) == (not ran)


def test_the_atoms_of_a_step_add_up_to_its_loss(played: MemorySink) -> None:
    for record in played.records:
        if record.mode == "train":
            atoms = sum(v for key, v in record.metrics.items() if key.startswith("loss/"))
            assert atoms == pytest.approx(record.metrics["loss"], rel=1e-5)


def test_an_evaluation_says_f1_and_map(played: MemorySink) -> None:
    evaluated = [r.metrics for r in played.records if r.mode == "eval"]
    assert len(evaluated) == 2
    for metrics in evaluated:
        assert metrics["eval_rollout/coco_eval_ok"] == 1
        assert {"eval_rollout/f1", "eval_rollout/mAP"} <= set(metrics)
        assert "eval_loss" not in metrics
