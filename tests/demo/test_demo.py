"""The demo learns, repeats itself by seed, and logs what it says it logs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.demo import run, stage2
from coordexp_metrics.demo.coordjson import FIRST_COORD, WORDS, Batch, decode, encode
from coordexp_metrics.demo.detector import Detector
from coordexp_metrics.demo.objective import WEIGHTS
from coordexp_metrics.demo.scenes import BINS, CANVAS, Digits, Scene
from coordexp_metrics.rollouts import parse_rollout
from coordexp_metrics.sinks import MemorySink
from coordexp_metrics.token_types.codes import COORD, IGNORE, UNSUPERVISED


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """As in the demo itself: threads that wait for one another are slow on a busy machine."""
    torch.set_num_threads(1)


def scenes(seed: int = 0, count: int = 32) -> list[Scene]:
    return Digits(held_out=False).scenes(count, np.random.default_rng(seed))


def test_scenes_repeat_by_seed() -> None:
    """The same seed gives the same pictures and boxes, another seed gives others."""
    first, again, other = scenes(0), scenes(0), scenes(1)
    assert [scene.objects for scene in first] == [scene.objects for scene in again]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert [scene.objects for scene in first] != [scene.objects for scene in other]


def test_held_out_digits_are_never_trained_on() -> None:
    train, held_out = Digits(held_out=False), Digits(held_out=True)
    assert len(train.images) + len(held_out.images) == 1797
    assert len(held_out.images) == 360


def test_boxes_enclose_the_ink_tightly() -> None:
    """All ink lies in some box, and no box can lose its outermost row or column of pixels."""
    for scene in scenes():
        outside = scene.image.copy()
        for _, box in scene.objects:
            assert all(0 <= k < BINS for k in box)
            x1, y1, x2, y2 = (-(-k * CANVAS // BINS) for k in box)
            ink = scene.image[y1:y2, x1:x2]
            assert all(edge.any() for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]))
            outside[y1:y2, x1:x2] = 0
        assert not outside.any()


def test_types_agree_with_ids() -> None:
    """A supervised token is typed COORD exactly when its id is a coordinate; the rest is IGNORE."""
    batch = Batch.of(scenes())
    supervised = batch.labels != UNSUPERVISED
    assert ((batch.token_types == COORD) == ((batch.ids >= FIRST_COORD) & supervised)).all()
    assert ((batch.token_types == IGNORE) == ~supervised).all()
    assert (batch.labels[supervised] == batch.ids[supervised]).all()


def test_an_answer_is_json_but_for_its_coordinates_and_reads_back() -> None:
    for scene in scenes():
        text = decode(encode(scene))
        plain = json.loads(text.replace("<|coord_", "").replace("|>", ""))
        assert len(plain["objects"]) == len(scene.objects)
        read_back = [(thing.desc, thing.points) for thing in parse_rollout(text).objects]
        assert read_back == [(WORDS[digit], box) for digit, box in scene.objects]


def trained(seed: int, steps: int = 12, per_row: int = 1) -> MemorySink:
    sink = MemorySink()
    with MetricsRegistry([sink], on_violation="raise", parameters=WEIGHTS) as registry:
        for _ in run.Training(registry, steps, seed, per_row).run(evaluate_every=steps):
            pass
    return sink


def test_loss_falls_and_a_seed_repeats_every_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SCENES", 8)
    records = trained(seed=3).records
    losses = [record.metrics["loss"] for record in records if record.mode == "train"]
    assert sum(losses[-3:]) < 0.9 * sum(losses[:3])
    assert [r.metrics for r in trained(seed=3).records] == [r.metrics for r in records]


def test_packed_training_logs_what_padded_training_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four answers a row: the same keys, the same counts, and the same training."""
    monkeypatch.setattr(run, "SCENES", 8)
    for padded, packed in zip(
        trained(0, steps=3).records, trained(0, steps=3, per_row=4).records, strict=True
    ):
        assert padded.metrics.keys() == packed.metrics.keys()
        assert packed.metrics == pytest.approx(padded.metrics, rel=2e-3, abs=2e-3)
        for key in padded.metrics:
            if CATALOGUE[key].kind == "total":
                assert packed.metrics[key] == padded.metrics[key], key


def test_a_packed_answer_sees_its_own_image_and_its_own_past() -> None:
    """Another image, or other text, elsewhere in the row does not change an answer's logits."""
    torch.manual_seed(0)
    detector, asked = Detector().eval(), scenes(count=4)
    alone = [detector(Batch.of([scene])) for scene in asked]
    row = detector(Batch.of(asked, per_row=4))
    assert row.shape[0] == 1
    torch.testing.assert_close(row, torch.cat(alone, dim=1), rtol=1e-4, atol=1e-5)


def test_scenes_that_do_not_fill_their_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="3 answers do not fill rows of 2"):
        Batch.of(scenes(count=3), per_row=2)


def test_the_terms_of_a_step_add_up_to_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The objective is normalised over the step, so it is the sum of the two means it logs."""
    monkeypatch.setattr(run, "SCENES", 4)
    for record in trained(seed=0, steps=2).records:
        prefix = "eval_" if record.mode == "eval" else ""
        parts = (record.metrics[f"{prefix}{name}/loss"] for name in ("base_ce", "coord_diag"))
        assert record.metrics[f"{prefix}loss"] == pytest.approx(sum(parts), rel=1e-5)


def test_main_leaves_a_clean_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SCENES", 4)
    monkeypatch.setattr(stage2, "EVALUATED", 4)
    assert run.main(tmp_path, steps=4, wandb=False, evaluate_every=2, stage2_steps=2) == 0
    for folder, steps, evaluations in ((tmp_path, 4, 3), (tmp_path / "stage2", 2, 2)):
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        modes = [json.loads(line).get("mode") for line in lines]
        assert (modes.count("train"), modes.count("eval")) == (steps, evaluations)
        assert list((folder / "tb").iterdir())


def test_a_second_run_has_a_folder_to_itself(tmp_path: Path) -> None:
    """Two runs in one event directory would be one zigzag curve."""
    first = run.own_folder(tmp_path / "demo")
    assert run.own_folder(tmp_path / "demo") == first
    (first / run.LOG).touch()
    assert run.own_folder(tmp_path / "demo") == tmp_path / "demo-2"
