"""Matching is the cheapest assignment of what overlaps, whatever the objects are."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics.rollouts import (
    DescriptionMonitor,
    DetectedObject,
    match_objects,
    rollout_facts,
)
from coordexp_metrics.rollouts.canvas import areas, boxes, draw, nearest, outline, overlap
from coordexp_metrics.rollouts.objects import ObjectMatch, ParsedRollout
from tests.rollouts import by_pairs

few = settings(max_examples=60, deadline=None)
coordinates = st.integers(0, 999)


def box(x1, y1, x2, y2, desc="cat"):
    return DetectedObject("bbox_2d", [x1, y1, x2, y2], desc)


@st.composite
def usual_boxes(draw):
    """Boxes on a coarse grid, so that overlaps and ties are frequent."""
    x, y = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    return box(x * 100, y * 100, x * 100 + draw(st.integers(1, 4)) * 70, y * 100 + 250)


polygons = st.lists(coordinates, min_size=6, max_size=14).map(
    lambda points: DetectedObject("poly", points[: len(points) // 2 * 2])
)
objects = st.one_of(usual_boxes(), polygons)
numbers = st.one_of(
    coordinates,
    st.sampled_from([math.nan, math.inf, -math.inf, -1e308, 1e308, 10**400, -7, 1003, 0.5]),
)
strange = st.builds(
    DetectedObject,
    st.sampled_from(["bbox_2d", "poly"]),
    st.one_of(st.lists(numbers, max_size=9), st.lists(coordinates, min_size=4, max_size=4)),
)
costs = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 1.0, 3.0, 1e12, math.inf])


def random_objects(n, rng, polygons=0.3):
    found = []
    for _ in range(n):
        x, y = rng.randint(0, 950), rng.randint(0, 950)
        w, h = rng.randint(1, 220), rng.randint(1, 220)
        if rng.random() < polygons:
            points = [c for _ in range(rng.randint(3, 8))
                      for c in (x + rng.randint(0, w), y + rng.randint(0, h))]  # fmt: skip
            found.append(DetectedObject("poly", points))
        else:
            found.append(box(x, y, min(x + w, 999), min(y + h, 999)))
    return found


@few
@given(
    st.lists(objects, max_size=4),
    st.lists(objects, max_size=4),
    st.sampled_from([0.0, 0.1, 0.3, 0.7]),
    st.integers(1, 5),
    costs,
    costs,
)
def test_R100_the_total_cost_is_the_least_of_all_assignments(
    predictions, truths, gate, top_k, fp_cost, fn_cost
):
    found = match_objects(predictions, truths, gate, top_k, 64, fp_cost, fn_cost)
    sizes = len(predictions), len(truths)
    ious = by_pairs.allowed(predictions, truths, gate, top_k, 64)
    assert set(found.pairs) <= set(ious)
    assert list(found.maskious) == [ious[pair] for pair in found.pairs]
    if math.isinf(fp_cost + fn_cost) or fp_cost + fn_cost > 100:
        fp_cost = fn_cost = 100.0  # for exact sums: it is as decisive
    paid = by_pairs.cost(found.pairs, ious, sizes, fp_cost, fn_cost)
    assert math.isclose(
        paid, by_pairs.brute_force(ious, sizes, fp_cost, fn_cost), rel_tol=1e-12, abs_tol=1e-12
    )
    assert math.isclose(
        paid, by_pairs.with_dummies(ious, sizes, fp_cost, fn_cost), rel_tol=1e-12, abs_tol=1e-12
    )


@few
@given(st.lists(st.one_of(strange, objects), max_size=6), st.lists(strange, max_size=6))
def test_R100_any_object_is_matched_or_left_over_and_nothing_raises(predictions, truths):
    for gate in (0.0, 0.3):
        found = match_objects(predictions, truths, gate=gate, resolution=64)
        hit, met = [i for i, _ in found.pairs], [j for _, j in found.pairs]
        assert sorted(hit + list(found.fp)) == list(range(len(predictions)))
        assert sorted(met + list(found.fn)) == list(range(len(truths)))
        assert found.candidate_pairs == len(predictions) * min(10, len(truths))
        assert 0 <= found.gating_rejections <= found.candidate_pairs - len(found.pairs)
        assert all(gate <= iou <= 1 and outline(predictions[i]) and outline(truths[j])
                   for (i, j), iou in zip(found.pairs, found.maskious, strict=True))  # fmt: skip
        assert found.maskiou_sum == math.fsum(found.maskious)


@pytest.mark.parametrize("top_k", [1, 3, 40])
def test_R100_batched_overlaps_are_those_of_one_pair_after_the_other_bit_for_bit(top_k):
    rng = random.Random(top_k)
    predictions, truths = random_objects(30, rng), random_objects(35, rng)
    predictions += [box(500, 500, 100, 100), DetectedObject("poly", [math.nan] * 6)]
    wanted = by_pairs.judged(predictions, truths, top_k, 128)
    mine, theirs = list(map(outline, predictions)), list(map(outline, truths))
    candidates = nearest(boxes(mine), boxes(theirs), top_k)
    ious = overlap(draw(mine, 128), draw(theirs, 128), candidates)
    places = [(i, int(j)) for i, row in enumerate(candidates) for j in row]
    assert dict(zip(places, ious.ravel().tolist(), strict=True)) == wanted


def test_R100_a_rejection_is_a_candidate_below_the_gate():
    rng = random.Random(5)
    predictions, truths = random_objects(20, rng), random_objects(20, rng)
    for gate in (0.0, 0.2, 0.5, 1.0):
        wanted = sum(iou < gate for iou in by_pairs.judged(predictions, truths, 7, 256).values())
        assert match_objects(predictions, truths, gate, top_k=7).gating_rejections == wanted


def test_R100_candidates_of_equal_overlap_are_the_nearest_then_the_first():
    """The ranking is by box IoU, then centre distance, then index: (-IoU, distance, index)."""
    prediction = outline(box(400, 400, 500, 500))
    truths = [box(0, 0, 50, 50), box(520, 400, 620, 500), box(280, 400, 380, 500),
              box(450, 400, 550, 500), box(700, 700, 800, 800)]  # fmt: skip
    mine, theirs = boxes([prediction]), boxes(map(outline, truths))
    found = [set(nearest(mine, theirs, k)[0].tolist()) for k in range(1, 7)]
    ranked = [3, 1, 2, 4, 0]
    assert found == [set(ranked[:k]) for k in range(1, 7)]


def test_R100_what_cannot_be_drawn_is_the_last_candidate():
    truths = [None, outline(box(900, 900, 990, 990)), None]
    mine, theirs = boxes([outline(box(0, 0, 9, 9))]), boxes(truths)
    assert nearest(mine, theirs, 1).tolist() == [[1]]
    assert nearest(mine, theirs, 2).tolist() == [[0, 1]]


def test_R100_the_ranking_does_not_depend_on_how_many_rows_are_ranked_at_a_time(monkeypatch):
    rng = random.Random(1)
    a, b = (boxes(map(outline, random_objects(40, rng))) for _ in "ab")
    whole = nearest(a, b, 6)
    monkeypatch.setattr("coordexp_metrics.rollouts.canvas.ROWS", 100)
    assert np.array_equal(nearest(a, b, 6), whole)


def test_R100_asking_for_some_pairs_or_for_all_gives_the_same_overlaps(monkeypatch):
    rng = random.Random(4)
    things = random_objects(40, rng)
    outlines = list(map(outline, things))
    masks, candidates = draw(outlines, 128), nearest(boxes(outlines), boxes(outlines), 3)
    whole = overlap(masks, masks, candidates)
    monkeypatch.setattr("coordexp_metrics.rollouts.canvas.DENSE", 0)
    assert np.array_equal(overlap(masks, masks, candidates), whole)


def test_R100_a_better_total_may_leave_a_best_pair():
    """Greedy pairing would take (0, 0) and leave the other prediction with nothing."""
    truths = [box(100, 100, 300, 300), box(100, 240, 300, 440)]
    predictions = [box(100, 140, 300, 340), box(100, 40, 300, 240)]
    found = match_objects(predictions, truths, gate=0.3)
    assert found.pairs == ((0, 1), (1, 0))


def test_R100_a_pair_below_the_gate_is_two_errors():
    found = match_objects([box(0, 0, 100, 100)], [box(80, 80, 180, 180)])
    assert (found.pairs, found.fp, found.fn, found.gating_rejections) == ((), (0,), (0,), 1)


def test_R100_at_gate_zero_only_what_can_be_drawn_is_paired():
    apart = match_objects([box(0, 0, 10, 10)], [box(500, 500, 600, 600)], gate=0.0)
    assert apart.pairs == ((0, 0),)
    assert match_objects([box(10, 10, 10, 10)], [box(0, 0, 99, 99)], gate=0.0).pairs == ()


@pytest.mark.parametrize(
    "thing",
    [
        box(500, 500, 500, 500),
        box(600, 100, 400, 300),
        box(400, 300, 600, 100),
        box(math.nan, 100, 600, 300),
        box(-math.inf, 100, math.inf, 300),
        DetectedObject("poly", [1, 1, 500, 500, 900, 900]),
        DetectedObject("poly", [1, 1, 500, 1, 500]),
        DetectedObject("poly", [1, 1, 500, 1, 500, 500, 900]),
        DetectedObject("poly", []),
        DetectedObject("bbox_2d", [1, 2, 3]),
        box(10**400, 0, 10**401, 10),
    ],
)
def test_R102_geometry_without_area_overlaps_nothing_not_even_itself(thing):
    found = match_objects([thing], [thing, box(0, 0, 999, 999)])
    assert found.pairs == ()
    assert found.gating_rejections == found.candidate_pairs == 2


def test_R102_points_outside_are_moved_to_the_edge():
    inside = box(0, 100, 999, 600)
    found = match_objects([box(-300, 100, 5000, 600)], [inside])
    assert found.maskious == (1.0,)


def test_R102_a_polygon_may_cross_itself():
    bow = DetectedObject("poly", [100, 100, 900, 900, 900, 100, 100, 900])
    found = match_objects([bow], [bow])
    assert found.maskious == (1.0,)
    assert 0 < int(areas(draw([outline(bow)], 256))[0]) < 256 * 256 / 2


def test_R102_bins_are_not_rounded_to_pixels_before_they_are_drawn():
    """Bin 500 of a canvas of 16 is pixel 7.507; rounded to 8 it would cover one column more."""
    (half,) = draw([outline(box(0, 0, 500, 999))], 16)
    assert int(areas([half])[0]) == by_pairs.area(box(0, 0, 500, 999), 16) == 8 * 15


def test_R100_empty_lists_are_no_candidates():
    assert match_objects([], []) == ObjectMatch((), (), (), 0, 0.0, 0, ())
    assert match_objects([box(0, 0, 9, 9)], []).fp == (0,)
    assert match_objects([], [box(0, 0, 9, 9)] * 2).fn == (0, 1)


def test_R100_equal_input_gives_equal_pairs():
    same = [box(100, 100, 300, 300)] * 6
    first = match_objects(same, same)
    assert len(first.pairs) == 6
    assert all(match_objects(same, same) == first for _ in range(5))


def test_R100_thousands_of_objects_are_matched():
    rng = random.Random(0)
    truths = random_objects(2000, rng)
    found = match_objects(truths[:1500], truths)
    drawn = [i for i in range(1500) if by_pairs.area(truths[i], 256)]
    assert len(found.pairs) >= 0.98 * len(drawn)


@pytest.mark.parametrize(
    "settings_",
    [
        {"gate": -0.1}, {"gate": 1.1}, {"gate": math.nan}, {"top_k": 0}, {"top_k": 2.5},
        {"resolution": 1}, {"resolution": 100_000}, {"fp_cost": -1.0}, {"fn_cost": math.nan},
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(settings_):
    (name,) = settings_
    with pytest.raises(ValueError, match=name):
        match_objects([box(0, 0, 9, 9)], [box(0, 0, 9, 9)], **settings_)


def test_R101_facts_of_a_sample_come_from_its_parse_and_its_match():
    truths = [box(0, 0, 100, 100), box(200, 200, 300, 300), box(500, 500, 600, 600)]
    match = match_objects([truths[1], box(700, 0, 900, 90)], truths)
    parsed = ParsedRollout((truths[1], truths[1]), 2, {"other": 2}, 1, truncated=True)
    facts = rollout_facts(parsed, match, excluded=1, gen_new_tokens=5, fn_appended=2)
    assert (facts.gt_objects, facts.pred_objects, facts.matched, facts.excluded) == (3, 2, 0, 1)
    assert (facts.dropped_invalid, facts.dropped_ambiguous, facts.truncated) == (2, 1, True)
    assert (facts.candidate_pairs, facts.gating_rejections) == (6, 5)
    assert (facts.maskiou_sum, facts.maskiou_count) == (1.0, 1)
    assert (facts.gen_new_tokens, facts.fn_appended, facts.prompt_len) == (5, 2, None)


def test_R101_a_fact_that_nobody_knows_is_none():
    facts = rollout_facts(None, match_objects([], []))
    assert facts.truncated is facts.dropped_invalid is facts.invalid_rollout is None
    assert rollout_facts(ParsedRollout(), None).gt_objects is None


def test_R101_compared_descriptions_are_facts_too():
    truths = [box(0, 0, 100, 100, "Cat"), box(200, 200, 300, 300, "dog")]
    match = match_objects(truths, truths)
    found = DescriptionMonitor().compare(truths[::-1], truths, match.pairs)
    facts = rollout_facts(None, match, found, prompt_len=9)
    assert (facts.desc_pairs, facts.desc_exact, facts.desc_semantic) == (2, 0, None)
    assert (facts.matched, facts.prompt_len) == (2, 9)


def test_R101_no_more_pairs_are_excluded_than_there_are():
    with pytest.raises(ValueError, match="2 pairs cannot be excluded of 1"):
        rollout_facts(None, match_objects([box(0, 0, 99, 99)], [box(0, 0, 99, 99)]), excluded=2)
    with pytest.raises(TypeError):
        rollout_facts(None, None, colour=3)
