"""An evaluation is of the whole set: each image once, whichever rank had it."""

import math
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.reducers import RolloutEvaluation
from coordexp_metrics.rollouts import (
    DetectedObject,
    ImageObjects,
    RolloutFacts,
    mean_average_precision,
)
from coordexp_metrics.sinks import MemorySink
from coordexp_metrics.window import Window
from tests.rollouts.scenes import box, samples
from tests.window.grid import Grid, Recorder, group_of

WORLD = 3
DOCUMENTED = {
    "rollout/precision", "rollout/recall", "rollout/f1", "eval_rollout/pred_objects",
    "eval_rollout/gt_objects", "eval_rollout/matched", "eval_rollout/fp", "eval_rollout/fn",
    "rollout/parse_truncated_rate", "rollout/parse_dropped_invalid",
    "rollout/parse_dropped_ambiguous", "rollout/sample_valid_pred_rate",
    "rollout/sample_any_match_rate", "rollout/matched_maskiou_mean",
}  # fmt: skip
DETECTION = {"eval_rollout/mAP", "eval_rollout/coco_eval_ok"}
MONITOR = {
    "rollout/desc_pairs_total", "rollout/desc_exact_acc_on_matched",
    "eval_rollout/desc_sem_enabled", "rollout/desc_sem_acc_on_matched",
    "rollout/desc_sem_sim_mean", "rollout/desc_sem_sim_count",
}  # fmt: skip


@pytest.fixture(scope="module")
def grid():
    with Grid(WORLD) as ranks:
        yield ranks


def alone(batches, **options):
    evaluation = RolloutEvaluation(Window(CATALOGUE, group="local"), **options)
    for batch in batches:
        evaluation.add(batch)
    return evaluation, evaluation.close(global_step=5)


def on_ranks(rank, shares, **options):
    """One evaluation over ``len(shares)`` ranks; ``shares[rank]`` is a list of batches."""
    group = group_of(WORLD, len(shares))
    if rank >= len(shares):
        return None
    with Recorder() as recorder:
        evaluation = RolloutEvaluation(Window(CATALOGUE, group=group, timeout=20), **options)
        bound = len(recorder.calls)
        for batch in shares[rank]:
            evaluation.add(batch)
        payload = evaluation.close(global_step=5)
    return payload.to_dict(), evaluation.duplicates, recorder.calls[bound:]


def detecting(rank, shares):
    return on_ranks(rank, shares, detection="bbox")


def same(found, wanted):
    """Whole numbers and mAP to the bit, sums of floats to their last digits."""
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        exact = isinstance(value, int) or key in DETECTION
        assert found[key] == value if exact else math.isclose(found[key], value, rel_tol=1e-12), key


def test_R126_the_payload_holds_the_documented_keys_and_no_others():
    """No loss (R124), no bbox_* or segm_* (R130), no key of training."""
    _, payload = alone([samples(1)], detection="bbox")
    assert set(payload.metrics) == DOCUMENTED | DETECTION | MONITOR
    assert payload.mode == "eval"
    assert {CATALOGUE[key].eval_key.split("/")[0] for key in payload.metrics} == {"eval_rollout"}


def test_R131_without_descriptions_compared_their_keys_are_absent():
    batch = [
        (image, RolloutFacts(gt_objects=2, pred_objects=2, matched=1)) for image, _ in samples(1)
    ]
    _, payload = alone([batch])
    assert not MONITOR & set(payload.metrics)


def test_R127_without_detection_there_is_no_mAP_and_no_coco_eval_ok():
    _, payload = alone([samples(1)])
    assert not DETECTION & set(payload.metrics)


def test_R126_counts_are_sums_and_rates_are_ratios_of_sums():
    batch = samples(3)
    metrics = alone([batch])[1].metrics
    facts = [one for _, one in batch]
    matched, found, truth = (
        sum(getattr(one, name) for one in facts)
        for name in ("matched", "pred_objects", "gt_objects")
    )
    assert metrics["eval_rollout/matched"] == matched
    assert metrics["eval_rollout/fp"] == found - matched
    assert metrics["eval_rollout/fn"] == truth - matched
    assert math.isclose(metrics["rollout/precision"], matched / found)
    assert math.isclose(metrics["rollout/recall"], matched / truth)
    assert math.isclose(metrics["rollout/f1"], 2 * matched / (found + truth))
    assert math.isclose(
        metrics["rollout/matched_maskiou_mean"], math.fsum(f.maskiou_sum for f in facts) / matched
    )


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_R127_mAP_is_that_of_all_images(iou_type):
    batch = samples(4, polygons=0.4)
    metrics = alone([batch[:3], batch[3:]], detection=iou_type)[1].metrics
    assert metrics["eval_rollout/mAP"] == mean_average_precision([i for i, _ in batch], iou_type)
    assert metrics["eval_rollout/coco_eval_ok"] == 1.0


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_L1_any_cut_into_batches_gives_the_same(data):
    batch = samples(data.draw(st.integers(0, 9)), images=8)
    order = data.draw(st.permutations(batch))
    cut = data.draw(st.integers(0, len(order)))
    same(
        alone([order[:cut], [], order[cut:]], detection="bbox")[1].metrics,
        alone([batch], detection="bbox")[1].metrics,
    )


def dealt(batch, size, seed):
    """The batch over ``size`` ranks: as samplers deal, unevenly, or with an empty rank."""
    if seed % 3 == 0:
        return [[batch[rank::size]] for rank in range(size)]
    if seed % 3 == 1:
        return [[batch[1:]], *([batch[:1]] if rank == size - 1 else [] for rank in range(1, size))]
    return [[], *([batch[rank :: size - 1][:2], batch[rank :: size - 1][2:]]
                  for rank in range(size - 1))]  # fmt: skip


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_L1_any_cut_over_ranks_gives_the_payload_of_one_process(grid, size, seed):
    """Uneven ranks, a rank without images, equal scores: real processes, all of one answer."""
    batch = samples(seed, polygons=0.3, scored=seed != 1)
    wanted = dict(alone([batch], detection="bbox")[1].metrics)
    answers = grid.run(detecting, dealt(batch, size, seed))[:size]
    first = answers[0][0]
    same(first["metrics"], wanted)
    assert first["coverage"]["scope"] == "global"
    assert all(answer[0] == first for answer in answers)


@pytest.mark.parametrize("size", [2, 3])
def test_R126_an_image_that_a_sampler_gave_twice_counts_once(grid, size):
    batch = samples(6)
    wanted = dict(alone([batch], detection="bbox")[1].metrics)
    shares = [[batch[rank::size]] for rank in range(size)]
    shares[-1].append(batch[:2])  # what the first ranks have
    shares[0].append([batch[0]])  # what this rank has
    answers = grid.run(detecting, shares)[:size]
    assert [duplicates for _, duplicates, _ in answers] == [1] + [0] * (size - 2) + [2]
    same(answers[0][0]["metrics"], wanted)


def test_R126_of_an_image_that_came_twice_the_first_counts():
    truth = [box(0, 0, 500, 500)]
    good = (ImageObjects(1, truth, truth), RolloutFacts(gt_objects=1, pred_objects=1, matched=1))
    bad = (ImageObjects(1, [], truth), RolloutFacts(gt_objects=1, pred_objects=0, matched=0))
    for batches, recall in (([[good, bad]], 1.0), ([[bad], [good]], 0.0)):
        evaluation, payload = alone(batches, detection="bbox")
        assert payload.metrics["rollout/recall"] == recall
        assert round(payload.metrics["eval_rollout/mAP"], 9) == recall
        assert evaluation.duplicates == 1


def test_R01_three_collectives_whatever_the_data(grid):
    """Two for the images, one to close, on the window's own group."""
    kinds = set()
    for shares in ([[samples(1)], [], []], [[], [], []], [[samples(2)], [samples(3)], [[]]]):
        for _, _, calls in grid.run(detecting, shares):
            assert all(group == "own group" for _, group, _ in calls)
            kinds.add(tuple(name for name, _, _ in calls))
    assert kinds == {("all_gather", "all_gather", "all_gather")}


def test_A22_a_rank_without_the_embedding_model_withholds_what_needs_it(grid):
    """The flag is the minimum over ranks, and the semantic keys are absent where it is 0."""
    batch = samples(7)
    bare = [
        (image, RolloutFacts(gt_objects=facts.gt_objects, pred_objects=facts.pred_objects,
                             matched=facts.matched, desc_pairs=facts.desc_pairs,
                             desc_exact=facts.desc_exact))
        for image, facts in batch[6:]
    ]  # fmt: skip
    metrics = grid.run(on_ranks, [[batch[:6]], [bare], []])[0][0]["metrics"]
    assert metrics["eval_rollout/desc_sem_enabled"] == 0
    assert "rollout/desc_exact_acc_on_matched" in metrics
    assert not [key for key in metrics if "desc_sem_acc" in key or "desc_sem_sim" in key]
    whole = grid.run(on_ranks, [[batch[:6]], [batch[6:]], []])[0][0]["metrics"]
    assert whole["eval_rollout/desc_sem_enabled"] == 1
    assert whole.keys() >= MONITOR


def without_coco_on(rank, broken, shares, **options):
    """``broken`` has no backend installed."""
    gone = dict.fromkeys(("pycocotools", "pycocotools.coco", "faster_coco_eval"))
    before = {name: sys.modules.get(name) for name in gone}
    if rank in broken:
        sys.modules.update(gone)
    try:
        return on_ranks(rank, shares, detection="bbox", **options)
    finally:
        sys.modules.update({name: module for name, module in before.items() if module})


@pytest.mark.parametrize("broken", [[0], [1], [0, 1, 2]])
def test_R128_where_COCO_fails_on_a_rank_mAP_is_absent_and_the_flag_is_0(grid, broken):
    shares = [[samples(rank)] for rank in range(WORLD)]
    for answer in grid.run(without_coco_on, broken, shares):
        metrics = answer[0]["metrics"]
        assert metrics["eval_rollout/coco_eval_ok"] == 0
        assert "eval_rollout/mAP" not in metrics
        assert metrics.keys() >= DOCUMENTED, "the rest is untouched"


def test_A27_where_COCO_fails_mAP_is_zero_by_option_only(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    options = {"detection": "bbox", "backend": "faster-coco-eval"}
    evaluation, payload = alone([samples(1)], **options)
    assert "eval_rollout/mAP" not in payload.metrics
    assert "faster-coco-eval" in evaluation.failure
    assert evaluation.failure in caplog.text
    _, payload = alone([samples(1)], map_on_failure="zero", **options)
    assert payload.metrics["eval_rollout/mAP"] == 0.0
    assert payload.metrics["eval_rollout/coco_eval_ok"] == 0


def test_R128_broken_objects_are_no_exception():
    broken = [DetectedObject("bbox_2d", None), DetectedObject("circle", [1]), box(9, 9, 1, 1)]
    batch = [
        (ImageObjects(0, broken, broken), RolloutFacts(gt_objects=3, pred_objects=3, matched=0))
    ]
    _, payload = alone([batch], detection="segm")
    assert payload.metrics["eval_rollout/mAP"] == 0.0
    assert payload.metrics["eval_rollout/coco_eval_ok"] == 1


def test_R127_without_ground_truth_mAP_is_absent_and_COCO_is_fine():
    batch = [
        (
            ImageObjects(0, [box(0, 0, 9, 9)], []),
            RolloutFacts(gt_objects=0, pred_objects=1, matched=0),
        )
    ]
    metrics = alone([batch], detection="bbox")[1].metrics
    assert "eval_rollout/mAP" not in metrics
    assert metrics["eval_rollout/coco_eval_ok"] == 1
    assert "rollout/recall" not in metrics, "A19: nothing to find"


def test_R126_an_evaluation_without_images_observes_nothing(grid):
    assert dict(alone([])[1].metrics) == {}
    assert grid.run(on_ranks, [[], [], []])[0][0]["metrics"] == {}


def test_R126_the_next_evaluation_starts_empty():
    evaluation, first = alone([samples(1)], detection="bbox")
    evaluation.add(samples(1))
    assert dict(evaluation.close(global_step=9).metrics) == dict(first.metrics)
    assert dict(evaluation.close(global_step=10).metrics) == {"eval_rollout/coco_eval_ok": 1}


def test_R132_the_best_checkpoint_is_chosen_by_rollout_f1():
    """``metric_for_best_model: rollout/f1`` is looked up as ``eval_rollout/f1``."""
    payload = alone([samples(1)], detection="bbox")[1]
    sink = MemorySink()
    with MetricsRegistry(sinks=[sink], on_violation="raise") as registry:
        report = registry.emit(payload)
        registry.flush()
    assert not report.dropped
    (record,) = sink.records
    assert record.metrics["eval_rollout/f1"] == payload.metrics["rollout/f1"]
    assert record.metrics["eval_rollout/mAP"] == payload.metrics["eval_rollout/mAP"]
    assert CATALOGUE["rollout/f1"].better == "higher"
    assert all(key.startswith("eval_rollout/") for key in record.metrics)
    assert not [key for key in record.metrics if "loss" in key]


def late(rank, wait):
    """Rank 1 comes after the group gave up."""
    window = Window(CATALOGUE, timeout=1.5)
    if rank == 1:
        time.sleep(wait)
    evaluation = RolloutEvaluation(window, detection="bbox")
    evaluation.add(samples(rank))
    started = time.monotonic()
    payload = evaluation.close(global_step=5)
    return payload.to_dict(), time.monotonic() - started


def test_R04_a_late_rank_costs_the_timeout_once_and_nothing_is_lost():
    """What is of one rank alone is spelled local/, its mAP included."""
    with Grid(2) as ranks:
        answers = ranks.run(late, 3.0)
    for rank, (payload, took) in enumerate(answers):
        assert took < 3
        wanted = alone([samples(rank)], detection="bbox")[1].metrics
        assert payload["coverage"]["scope"] == "local"
        same(payload["metrics"], {f"local/{key}": value for key, value in wanted.items()})


def out_of_step(rank):
    window = Window(CATALOGUE, timeout=1.5)
    window.observe("token_acc", 1.0, 1)
    if rank == 0:
        return window.gather(b"hello"), window.close(mode="eval", global_step=1).coverage
    return None, window.close(mode="eval", global_step=1).coverage


def test_R01_a_rank_that_gathers_while_another_closes_is_no_wrong_number():
    with Grid(2) as ranks:
        (heard, one), (_, other) = ranks.run(out_of_step)
    assert heard.messages == [b"hello"]
    assert one["scope"] == other["scope"] == "local"


def gather(rank, messages, lag):
    window = Window(CATALOGUE, timeout=20, lag=lag)
    window.observe("token_acc", 1.0, 1)
    window.close(mode="train", global_step=1)
    heard = window.gather(messages[rank])
    return heard.messages, heard.own, threading.active_count()


@pytest.mark.parametrize("lag", [0, 1])
def test_R01_messages_of_any_length_reach_every_rank(grid, lag):
    for messages in ([b"", b"", b""], [b"\0a\0", b"", bytes(range(256)) * 999]):
        for rank, (heard, own, _) in enumerate(grid.run(gather, messages, lag)):
            assert (heard, own) == (messages, rank)


def test_an_evaluation_is_not_read_a_close_late():
    with pytest.raises(ValueError, match="lag=0"):
        RolloutEvaluation(Window(CATALOGUE, group="local", lag=1))


@pytest.mark.parametrize("option", [{"detection": "keypoints"}, {"map_on_failure": "nan"}])
def test_an_argument_out_of_range_is_named(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        RolloutEvaluation(Window(CATALOGUE, group="local"), **option)
