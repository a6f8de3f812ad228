"""Facts of rollouts to metrics: every key as worked out by hand, whatever way they come."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.check import Checker
from coordexp_metrics.contract.errors import DeclarationError, ObservationError
from coordexp_metrics.reducers import RolloutReducer
from coordexp_metrics.rollouts import RolloutFacts
from coordexp_metrics.window import Window
from tests.reducers.rollout_facts import (
    BUCKETS,
    EVAL_KEYS,
    NAMES,
    Oracle,
    batches,
    close,
    columns_of,
    facts_of,
    ragged_batches,
    without,
)

TWO = "stage2_two_channel"
MANY = [facts_of(seed) for seed in range(64)]


def payload_of(pieces, mode="train", **options):
    """The payload of one window that saw ``pieces``."""
    reducer, window = RolloutReducer(variant=TWO, **options), Window(CATALOGUE, group="local")
    for piece in pieces:
        reducer.observe(window, piece)
    return window.close(mode=mode, global_step=1)


def metrics_of(pieces, mode="train", **options):
    metrics = payload_of(pieces, mode, **options).metrics
    return {key: value for key, value in metrics.items() if not key.startswith("contract/")}


def assert_as_worked_out(found, expected):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert close(key, found[key], value), (key, found[key], value)


@settings(max_examples=100, deadline=None)
@given(samples=batches | ragged_batches)
def test_every_metric_is_what_plain_loops_make_of_the_facts(samples):
    """Totals, rates, means, quantiles and flags, with facts that some samples do not know."""
    oracle = Oracle(samples, two_channel=True)
    assert_as_worked_out(metrics_of([samples]), oracle.metrics())


@settings(max_examples=60, deadline=None)
@given(samples=batches | ragged_batches)
def test_evaluation_has_its_own_names(samples):
    """The same facts, closed in eval mode, are the documented keys of evaluation and no others."""
    oracle = Oracle(samples, two_channel=True)
    found = metrics_of([samples], mode="eval")
    assert_as_worked_out(found, oracle.metrics("eval"))
    assert RolloutReducer(mode="eval").compute(samples).keys() <= EVAL_KEYS | {
        "contract/rollout_facts_missing_total"
    }


@settings(max_examples=60, deadline=None)
@given(samples=batches | ragged_batches, mode=st.sampled_from(["train", "eval"]))
def test_no_payload_breaks_a_law(samples, mode):
    """Every formula, inequality and bound of the catalogue holds on what the reducer makes."""
    metrics = payload_of([samples], mode, do_sample=True, temperature=0.7, top_p=0.9).metrics
    violations = Checker(CATALOGUE).check(metrics, mode)
    hints = {violation for violation in violations if violation.code == "law.weak"}
    assert set(violations) == hints
    if all(sample.decode_mode and sample.dropped_by_reason for sample in samples):
        told = {s.dropped_invalid is None or s.pred_objects is None for s in samples}
        assert not hints or told != {False}


@settings(max_examples=60, deadline=None)
@given(samples=batches)
def test_no_payload_of_whole_facts_earns_even_a_hint(samples):
    """The weak laws hold too where everything is known."""
    assert Checker(CATALOGUE).check(payload_of([samples]).metrics, "train") == []


@settings(max_examples=60, deadline=None)
@given(samples=ragged_batches, data=st.data())
def test_any_cut_and_any_order_give_the_same_bits(samples, data):
    """Micro-batches, packs and their order change nothing, whatever some samples do not know."""
    order = data.draw(st.permutations(samples))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(order)), max_size=4)))
    pieces = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    assert payload_of(pieces) == payload_of([samples])


CONVERSIONS = {
    "lists": list,
    "arrays": np.array,
    "tensors": torch.tensor,
    "small ints": lambda column: torch.tensor(
        column, dtype=torch.int32 if type(column[0]) is int else None
    ),
    "doubles": lambda column: torch.tensor(
        column, dtype=torch.float64 if type(column[0]) is float else None
    ),
}


@pytest.mark.parametrize("kind", CONVERSIONS)
@settings(max_examples=40, deadline=None)
@given(samples=batches.filter(bool))
def test_columns_and_objects_are_one_definition(kind, samples):
    """Lists, numpy arrays and tensors give what the samples give, bit for bit."""
    columns = columns_of(samples, CONVERSIONS[kind])
    assert payload_of([columns]) == payload_of([samples])
    rows = [{name: getattr(sample, name) for name in NAMES} for sample in samples]
    assert payload_of([rows]) == payload_of([samples])


@pytest.mark.parametrize("tensors", [False, True])
@settings(max_examples=40, deadline=None)
@given(samples=batches.filter(bool), data=st.data())
def test_a_mask_says_which_members_of_a_column_are_known(tensors, samples, data):
    """``(column, mask)`` is what None is in an object."""
    name = data.draw(st.sampled_from([n for n in NAMES if n != "dropped_by_reason"]))
    mask = [True, *data.draw(st.lists(st.booleans(), min_size=len(samples), max_size=len(samples)))]
    mask = mask[: len(samples)]
    convert = torch.tensor if tensors else np.array
    columns = columns_of(samples, convert)
    if name == "decode_mode":
        column = convert([sample.decode_mode == "beam" for sample in samples])
    else:
        column = columns[name]
    columns[name] = (column, convert(mask))
    rows = [s if known else without(s, name) for s, known in zip(samples, mask, strict=True)]
    if name == "dropped_invalid":  # unknown drops leave empty reasons unknown
        rows = [r for r in rows if r.dropped_by_reason or r.dropped_invalid is not None]
        if len(rows) != len(samples):
            return
    assert payload_of([columns]) == payload_of([rows])


@pytest.mark.parametrize("empty", [[], (), {}, {"matched": []}, {"matched": np.array([], int)}])
def test_a_step_without_rollouts_observes_nothing(empty):
    """No rollout, no key; the knobs neither."""
    assert payload_of([empty], do_sample=True, temperature=1.0, top_p=1.0, top_k=5).metrics == {}


def test_what_nobody_measured_is_absent_and_an_observed_zero_is_not():
    """None is no 0."""
    assert metrics_of([[RolloutFacts()]]) == {"stage2/raw_rollouts": 1}
    zero = metrics_of([[RolloutFacts(gt_objects=0, pred_objects=0, matched=0)]])
    assert zero["rollout/matched_for_supervision"] == zero["rollout/fn_total"] == 0
    assert not {"rollout/precision", "rollout/recall", "rollout/f1"} & zero.keys()
    missed = metrics_of([[RolloutFacts(gt_objects=2, pred_objects=3, matched=0)]])
    assert missed["rollout/f1"] == missed["rollout/precision"] == 0.0


def test_a_sample_that_does_not_know_all_its_objects_is_in_none_of_their_numbers():
    """Numerator and denominator leave together, and the report says how many left."""
    whole = RolloutFacts(gt_objects=2, pred_objects=2, matched=1, dropped_invalid=1)
    unlabelled = RolloutFacts(pred_objects=50, dropped_invalid=7, truncated=True)
    reducer = RolloutReducer()
    metrics = reducer.compute([whole, unlabelled])
    assert metrics["rollout/precision"] == 0.5
    assert metrics["rollout/parse_dropped_invalid"] == 1
    assert metrics["rollout/parse_truncated_rate"] == 1.0
    assert metrics["contract/rollout_facts_missing_total"] == 1
    report = reducer.report()
    assert report.missing == {"objects": 1}
    assert report.unknown == {"gt_objects": 1, "matched": 1, "truncated": 1}


def test_a_trainer_says_what_its_samples_must_know():
    """Predictions alone count where nothing is matched; what is always measured can be required."""
    samples = [RolloutFacts(pred_objects=3, dropped_invalid=1, dropped_ambiguous=0)]
    assert "rollout/valid_pred_objects_total" not in RolloutReducer().compute(samples)
    found = RolloutReducer(required=("pred_objects",)).compute(samples)
    assert found["rollout/parse_obj_valid_frac"] == 0.75
    assert "rollout/gt_objects_total" not in found
    careful = RolloutReducer(required=("pred_objects", "dropped_invalid"))
    found = careful.compute([*samples, RolloutFacts(pred_objects=9)])
    assert found["rollout/parse_obj_valid_frac"] == 0.75


def test_description_keys_are_honest():
    """Absent without the monitor; without a model, enabled is 0 and nothing is called similar."""
    plain = RolloutFacts(desc_pairs=4, desc_exact=2)
    embedded = RolloutFacts(
        desc_pairs=4, desc_exact=1, desc_semantic=3, desc_sim_sum=2.0, desc_sim_count=4
    )
    assert RolloutReducer(desc_monitor=False).compute([embedded]) == {}
    found = RolloutReducer().compute([plain])
    assert found == {
        "rollout/desc_pairs_total": 4,
        "rollout/desc_exact_acc_on_matched": 0.5,
        "rollout/desc_sem_enabled": 0,
    }
    mixed = RolloutReducer().compute([plain, embedded])
    assert mixed["rollout/desc_sem_enabled"] == 1
    assert mixed["rollout/desc_sem_acc_on_matched"] == 5 / 8
    assert RolloutReducer(mode="eval").compute([plain, embedded])[
        "eval_rollout/desc_sem_enabled"
    ] == 0  # fmt: skip


def test_the_knobs_are_observed_where_something_was_generated():
    """The sampling in effect stands beside the counts, one value a key."""
    found = RolloutReducer(False, 0.0, 0.95, 50).compute([RolloutFacts(decode_mode="greedy")])
    assert found == {
        "rollout/do_sample": 0,
        "rollout/temperature": 0.0,
        "rollout/top_p": 0.95,
        "rollout/top_k": 50,
        "rollout/decode_non_beam_count": 1,
        "rollout/decode_beam_count": 0,
    }


def test_one_variant_counts_what_channel_b_drops():
    """The strict-drop, closure and invalid counters belong to the two-channel trainer."""
    aligned = RolloutReducer().compute(MANY)
    assert not [key for key in aligned if key.startswith("stage2")]
    assert [key for key in RolloutReducer(variant=TWO).compute(MANY) if key.startswith("stage2")]


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([{"machted": 1}], "did you mean 'matched'"),
        ({"gt_object": [1]}, "did you mean 'gt_objects'"),
        ([3], r"samples\[0\] must be RolloutFacts or a mapping"),
        (RolloutFacts(matched=1), "must be a sequence of facts"),
        ("abc", "must be a sequence of facts"),
        (7, "must be a sequence of facts"),
        ({"matched": [1, 2], "excluded": [1]}, "must be equally long"),
        ({"matched": 3}, r"must be a column of shape \[N\]"),
        ({"matched": torch.ones(2, 2)}, r"must be a column of shape \[N\]"),
        ({"dropped_by_reason": {"x": [1], "y": [1]}}, "second column of reasons"),
        ({"matched": [1], 3: [1]}, "is none of RolloutFacts"),
    ],
)
def test_what_cannot_be_read_at_all_is_an_error_that_says_the_way_out(samples, said):
    """A misspelt fact, a column of another length, a sample that is none."""
    with pytest.raises(ObservationError, match=said):
        RolloutReducer().compute(samples)


@pytest.mark.parametrize(
    "arguments",
    [
        {"variant": "stage3"},
        {"mode": "test"},
        {"required": ("matchd",)},
        {"temperature": math.nan},
        {"top_p": "0.9"},
    ],
)
def test_an_argument_that_cannot_be_right_is_refused(arguments):
    """The error names the argument."""
    (name,) = arguments
    with pytest.raises(DeclarationError, match=name):
        RolloutReducer(**arguments)


def test_thousands_of_objects_and_thousands_of_samples():
    """Counts stay exact where they are large."""
    samples = [RolloutFacts(gt_objects=10**9, pred_objects=10**9, matched=10**9 - 1)] * 3000
    found = RolloutReducer().compute(samples)
    assert found["rollout/matched_for_supervision"] == 3000 * (10**9 - 1)
    assert found["rollout/fn_total"] == 3000


def test_a_reason_that_has_no_column_is_zero_beside_one_that_has():
    """Columns of reasons are a table: what is not in it did not happen."""
    reducer = RolloutReducer(variant=TWO)
    found = reducer.compute({"dropped_by_reason": {"missing_desc": [1, 2], "brand_new": [0, 4]}})
    reasons = {k.rpartition("/")[2]: v for k, v in found.items() if "/reason/" in k}
    assert reasons == dict.fromkeys(BUCKETS, 0) | {"missing_desc": 3, "other": 4}
