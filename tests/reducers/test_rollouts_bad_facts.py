"""Facts that cannot be right: the sample leaves their group and is named; no step stops."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.check import Checker
from coordexp_metrics.contract.errors import ObservationError
from coordexp_metrics.reducers import RolloutReducer
from coordexp_metrics.rollouts import RolloutFacts
from coordexp_metrics.window import Window
from tests.reducers.rollout_facts import (
    NAMES,
    PARTS,
    Oracle,
    close,
    columns_of,
    facts_of,
    seeds,
    without,
)

GOOD = [facts_of(seed) for seed in range(20)]
FULL = replace(
    GOOD[0],
    gt_objects=9,
    pred_objects=8,
    matched=5,
    excluded=1,
    fn_appended=3,
    candidate_pairs=20,
    gating_rejections=4,
    maskiou_sum=4.5,
    maskiou_count=6,
    tail_tokens=10,
    tail_tokens_ignored=2,
    desc_pairs=6,
    desc_exact=3,
    desc_semantic=4,
    desc_sim_sum=3.0,
    desc_sim_count=5,
    invalid_rollout=False,
    dropped_invalid=1,
    dropped_by_reason={"other": 1},
)
COUNTS = [
    name
    for name in NAMES
    if type(getattr(FULL, name)) is int and name not in {"dropped_by_reason", "decode_mode"}
]
FLAGS = ["truncated", "invalid_rollout", "closure_dropped"]
BESIDE_OBJECTS = {"dropped_invalid", "dropped_ambiguous", *PARTS["supervision"]}
CONTRADICTIONS = [
    ("objects", {"matched": 10}, "matched is at most gt_objects"),
    ("objects", {"pred_objects": 4}, "matched is at most pred_objects"),
    ("excluded", {"excluded": 5}, "matched + excluded is at most gt_objects"),
    ("excluded", {"excluded": 4}, "matched + excluded is at most pred_objects"),
    ("fn_appended", {"fn_appended": 10}, "fn_appended is at most gt_objects"),
    ("gate", {"gating_rejections": 21}, "gating_rejections is at most candidate_pairs"),
    ("maskiou", {"maskiou_count": 10}, "maskiou_count is at most gt_objects"),
    ("maskiou", {"maskiou_count": 9}, "maskiou_count is at most pred_objects"),
    ("maskiou", {"maskiou_sum": 6.1}, "maskiou_sum is between 0 and 1"),
    ("maskiou", {"maskiou_sum": -0.1}, "maskiou_sum is between 0 and 1"),
    ("tail", {"tail_tokens_ignored": 11}, "tail_tokens_ignored is at most tail_tokens"),
    ("desc", {"desc_pairs": 10}, "desc_pairs is at most gt_objects"),
    ("desc", {"desc_pairs": 9}, "desc_pairs is at most pred_objects"),
    ("desc", {"desc_exact": 7}, "desc_exact is at most desc_pairs"),
    ("desc_semantic", {"desc_semantic": 2}, "desc_exact is at most desc_semantic"),
    ("desc_semantic", {"desc_semantic": 7}, "desc_semantic is at most desc_pairs"),
    ("desc_sim", {"desc_sim_count": 7}, "desc_sim_count is at most desc_pairs"),
    ("desc_sim", {"desc_sim_sum": 5.1}, "desc_sim_sum is between -1 and 1"),
    ("desc_sim", {"desc_sim_sum": -5.1}, "desc_sim_sum is between -1 and 1"),
    ("invalid_rollout", {"invalid_rollout": True}, "an invalid rollout has no pred_objects"),
]
GROUP_FACTS = {
    **{name: (name,) for name in NAMES},
    **PARTS,
    "desc": PARTS["desc"] + PARTS["embeddings"],
    "desc_sim": ("desc_sim_sum", "desc_sim_count"),
    "objects": PARTS["objects"] + tuple(sorted(BESIDE_OBJECTS)),
}


def payload_of(reducer, samples, mode="train"):
    window = Window(CATALOGUE, group="local")
    reducer.observe(window, samples)
    return window.close(mode=mode, global_step=1)


def group_of(name):
    for group in ("objects", "gate", "maskiou", "tail", "desc"):
        if name in PARTS[group]:
            return group
    return "desc_sim" if name in {"desc_sim_sum", "desc_sim_count"} else name


def cleaned(metrics):
    return {key: value for key, value in metrics.items() if not key.startswith("contract/")}


def assert_left_out(bad, group, said, place=7):
    """The bad sample is in every key but those of its group, and the report names it."""
    samples = [*GOOD[:place], bad, *GOOD[place:]]
    reducer = RolloutReducer()
    metrics = payload_of(reducer, samples).metrics
    expected = Oracle([*GOOD, without(bad, *GROUP_FACTS[group])]).metrics()
    found = cleaned(metrics)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert close(key, found[key], value), (key, found[key], value)
    assert metrics["contract/rollout_facts_wrong_total"] == 1
    assert "contract/rollout_facts_missing_total" not in metrics
    report = reducer.report()
    assert report.wrong == {group: 1}
    (example,) = report.examples
    assert example.startswith(f"call 1, sample {place}: ")
    assert said in example


@pytest.mark.parametrize(("group", "changes", "said"), CONTRADICTIONS)
def test_facts_that_contradict_each_other_leave_together(group, changes, said):
    """The sample leaves the numbers of that group alone, and the sentence says what is wrong."""
    assert_left_out(replace(FULL, **changes), group, said)


@pytest.mark.parametrize(
    "value", [-1, True, 2.0, 2.5, math.nan, math.inf, "3", [1], 2**54, 10**400]
)
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_is_a_whole_number_and_nothing_else(name, value):
    """Negative, a bool, a float, a string, or more than a float64 counts by one."""
    assert_left_out(replace(FULL, **{name: value}), group_of(name), f"{name} is no value")


@pytest.mark.parametrize("value", [2, -1, 0.5, "yes", math.nan])
@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_a_bool(name, value):
    """Or 0 or 1."""
    assert_left_out(replace(FULL, **{name: value}), name, f"{name} is no value")
    assert payload_of(RolloutReducer(), [replace(FULL, **{name: 1})]) == payload_of(
        RolloutReducer(), [replace(FULL, **{name: True})]
    ) or name == "invalid_rollout"  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "1.0", True, 10**400])
@pytest.mark.parametrize("name", ["maskiou_sum", "desc_sim_sum"])
def test_an_amount_is_a_finite_number(name, value):
    """A NaN of one pair never reaches the mean of the others."""
    assert_left_out(replace(FULL, **{name: value}), group_of(name), f"{name} is no value")


@pytest.mark.parametrize("value", [3, True, 1.0, ["beam"]])
def test_a_decode_mode_is_a_string(value):
    """What it was called is not guessed."""
    assert_left_out(replace(FULL, decode_mode=value), "decode_mode", "decode_mode is no value")


@pytest.mark.parametrize("value", [-1, 1.5, "2", True])
def test_a_count_of_a_reason_is_a_count(value):
    """The one reason leaves; the others of the sample stay."""
    reducer = RolloutReducer(variant="stage2_two_channel")
    bad = replace(FULL, dropped_by_reason={"missing_desc": value, "brand_new": 1, "other": 2})
    metrics = payload_of(reducer, [bad, FULL]).metrics
    base = "stage2_ab/channel_b/strict_drop/reason"
    assert metrics[f"{base}/missing_desc"] == 0
    assert metrics[f"{base}/other"] == 4
    assert reducer.report().wrong == {"reason/missing_desc": 1}


def test_reasons_that_are_no_table_are_wrong_and_not_fatal():
    """Whatever stands there."""
    reducer = RolloutReducer(variant="stage2_two_channel")
    metrics = payload_of(reducer, [replace(FULL, dropped_by_reason=["missing_desc"])]).metrics
    assert metrics["contract/rollout_facts_wrong_total"] == 6
    assert "stage2_ab/channel_b/strict_drop/reason/other" not in metrics


def test_reasons_that_do_not_add_up_earn_a_hint():
    """Buckets are an open vocabulary: the sum is checked by the catalogue, as a weak law."""
    bad = replace(FULL, dropped_invalid=7)
    reducer = RolloutReducer(variant="stage2_two_channel")
    (hint,) = Checker(CATALOGUE).check(payload_of(reducer, [bad]).metrics, "train")
    assert hint.code == "law.weak"


ANYTHING = st.one_of(
    st.none(),
    st.integers(-3, 12),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.text(max_size=3),
    st.just([]),
    st.just(np.int64(3)),
    st.just(np.float32(0.5)),
    st.just(np.bool_(True)),
)


@settings(max_examples=100, deadline=None)
@given(
    samples=st.lists(
        st.builds(
            lambda seed, changes: replace(facts_of(seed), **changes),
            seeds,
            st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=4),
        ),
        max_size=6,
    ),
    mode=st.sampled_from(["train", "eval"]),
)
def test_whatever_the_facts_are_no_step_stops_and_no_law_breaks(samples, mode):
    """Any value in any fact: an answer that the catalogue accepts, the rest counted."""
    reducer = RolloutReducer(variant="stage2_two_channel")
    payload = payload_of(reducer, samples, mode)
    assert not payload.nonfinite
    violations = Checker(CATALOGUE).check(payload.metrics, mode)
    assert {violation.code for violation in violations} <= {"law.weak"}
    report = reducer.report()
    counted = payload.metrics.get("contract/rollout_facts_wrong_total", 0)
    assert sum(report.wrong.values()) == counted
    assert bool(report.examples) == bool(report.wrong)


@pytest.mark.parametrize("convert", [np.array, torch.tensor])
@pytest.mark.parametrize(("group", "changes", "said"), CONTRADICTIONS)
def test_columns_leave_out_what_objects_leave_out(group, changes, said, convert):
    """The same samples as arrays and as tensors: the same payload, the same counts."""
    samples = [*GOOD[:3], replace(FULL, **changes), *GOOD[3:]]
    by_object, by_column = RolloutReducer(), RolloutReducer()
    expected = payload_of(by_object, samples)
    assert payload_of(by_column, columns_of(samples, convert)) == expected
    assert by_column.report().wrong == by_object.report().wrong == {group: 1}
    assert by_column.report().examples[0].startswith("call 1, sample 3: ")


@pytest.mark.parametrize("convert", [np.array, torch.tensor])
def test_a_column_of_another_dtype_is_wrong_as_a_whole(convert):
    """Counts of floats or bools, amounts of bools, flags of floats."""
    reducer = RolloutReducer()
    columns = {
        "matched": convert([1.0, 2.0]),
        "gen_new_tokens": convert([True, False]),
        "truncated": convert([0.0, 1.0]),
        "maskiou_sum": convert([True, True]),
        "maskiou_count": convert([1, 1]),
        "excluded": convert([-1, 2**60]),
    }
    metrics = payload_of(reducer, columns).metrics
    assert metrics["contract/rollout_facts_wrong_total"] == 10
    wrong = ("objects", "gen_new_tokens", "truncated", "maskiou", "excluded")
    assert reducer.report().wrong == dict.fromkeys(wrong, 2) | {}
    assert not any(metrics[key] for key in metrics if key.startswith("rollout/"))


def test_the_first_wrong_sample_of_a_device_is_named_when_asked():
    """Call and sample, by group: nothing was read while training."""
    reducer = RolloutReducer()
    for matched in ([0, 1], [1, 9, 9], [9]):
        payload_of(
            reducer,
            {
                "gt_objects": torch.tensor([1] * len(matched)),
                "pred_objects": torch.tensor([1] * len(matched)),
                "matched": torch.tensor(matched),
            },
        )
    report = reducer.report()
    assert report.samples == 6
    assert report.wrong == {"objects": 3}
    assert report.examples == ("call 2, sample 1: facts of 'objects' that cannot be right",)


@pytest.mark.parametrize("convert", [None, np.array, torch.tensor])
def test_strict_raises_where_something_is_wrong(convert):
    """The error names the sample and what contradicts what."""
    samples = [GOOD[1], replace(FULL, matched=10)]
    samples = columns_of(samples, convert) if convert else samples
    with pytest.raises(ObservationError, match=r"samples\[1\].*matched = 10, gt_objects = 9"):
        RolloutReducer(strict=True).compute(samples)
    RolloutReducer(strict=True).compute(GOOD)


def test_a_flood_is_counted_in_full_and_named_in_part(caplog):
    """Twenty examples, twenty lines of the log, and every sample in the count."""
    caplog.set_level(logging.WARNING)
    reducer = RolloutReducer()
    for _ in range(3):
        reducer.compute([RolloutFacts(matched=-1)] * 50)
    report = reducer.report()
    assert (report.samples, report.wrong) == (150, {"objects": 150})
    assert len(report.examples) == len(caplog.records) == 20
    assert "left out: call 1, sample 0: matched is no value" in caplog.text
