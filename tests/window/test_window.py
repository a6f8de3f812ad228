"""Observations fold as they come, in any order; ratios are born at the close."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, MetricsRegistry, ObservationError, UnknownKeyError
from coordexp_metrics.contract.kinds import Observed
from coordexp_metrics.sinks import MemorySink
from coordexp_metrics.window import Window, observing
from tests.small import SMALL, Diag, Forward, Knobs, Objective, Progress, Rollout

NUMBERS = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6)
OBSERVATIONS = {
    "loss": st.tuples(NUMBERS, st.integers(0, 100)),
    "diag/B/p_gt_mean": st.tuples(NUMBERS, st.integers(0, 100)),
    "rollout/matched": st.tuples(st.integers(0, 10**12)),
    "rollout/pred_total": st.tuples(st.integers(0, 10**12)),
    "knob/temperature": st.tuples(st.sampled_from([0.0, 0.7])),
    "knob/active": st.tuples(st.integers(0, 1)),
    "knob/everywhere": st.tuples(st.integers(0, 1)),
    "knob/peak": st.tuples(NUMBERS),
    "knob/low": st.tuples(NUMBERS),
    "knob/length_p90": st.tuples(st.lists(st.integers(0, 10**7), max_size=4)),
    "knob/generate_s": st.tuples(st.integers(0, 1000)),
    "train/samples_total": st.tuples(st.integers(0, 100)),
}
ONE = st.sampled_from(sorted(OBSERVATIONS)).flatmap(
    lambda key: OBSERVATIONS[key].map(lambda statistics: (key, *statistics))
)


def metrics_of(observations, catalogue=SMALL, mode="train"):
    window = Window(catalogue)
    for observation in observations:
        window.observe(*observation)
    return dict(window.close(mode=mode, global_step=1).metrics)


def as_tensors(observation):
    key, *statistics = observation
    return key, *(torch.tensor(x, dtype=torch.float64) for x in statistics)


@given(observations=st.lists(ONE, max_size=12), data=st.data())
def test_order_does_not_count(observations, data):
    shuffled = data.draw(st.permutations(observations))
    one, other = metrics_of(observations), metrics_of(shuffled)
    assert one.keys() == other.keys()
    scale = sum(abs(s) for o in observations for s in o[1:] if isinstance(s, (int, float)))
    for key, value in one.items():
        assert value == pytest.approx(other[key], rel=1e-12, abs=1e-12 * scale)
        if isinstance(value, int):
            assert value == other[key]


@given(observations=st.lists(ONE, max_size=10))
def test_tensors_and_numbers_give_the_same(observations):
    numbers, tensors = metrics_of(observations), metrics_of(map(as_tensors, observations))
    half = metrics_of([o if i % 2 else as_tensors(o) for i, o in enumerate(observations)])
    assert numbers.keys() == tensors.keys() == half.keys()
    for key, value in numbers.items():
        assert value == pytest.approx(tensors[key], rel=1e-12, abs=1e-6)
        assert value == pytest.approx(half[key], rel=1e-12, abs=1e-6)


def test_sums_travel_and_ratios_are_born_at_the_end():
    """One micro-batch of 1 token and one of 3: the mean is over 4 tokens, not over 2 batches."""
    found = metrics_of([("diag/B/p_gt_mean", 1.0, 1), ("diag/B/p_gt_mean", 0.0, 3)])
    assert found == {"diag/B/p_gt_mean": 0.25}


def test_rates_and_formulas_come_from_the_folded_totals():
    batches = [(1, 1, 4), (2, 9, 4)]
    observations = [
        observation
        for matched, pred, truth in batches
        for observation in (
            (Rollout.matched, matched),
            (Rollout.pred_total, pred),
            (Rollout.gt_total, truth),
            (Rollout._samples, 2),
        )
    ]
    assert metrics_of(observations) == {
        "rollout/matched": 3,
        "rollout/pred_total": 10,
        "rollout/gt_total": 8,
        "rollout/precision": 0.3,
        "rollout/recall": 0.375,
        "rollout/f1": 6 / 18,
        "rollout/missed_total": 5,
    }


def test_what_nobody_observed_is_absent_and_an_observed_zero_is_not():
    assert metrics_of([]) == {}
    assert metrics_of([(Rollout.matched, 0)]) == {"rollout/matched": 0}
    assert metrics_of([(Diag(Forward.ROLLOUT).p_gt_mean, 0.0, 0)]) == {}


def test_a_type_without_tokens_has_fraction_zero_and_no_count():
    counts = {"desc_token_count": 0, "format_token_count": 3, "coord_token_count": 1}
    assert metrics_of(counts.items(), CATALOGUE) == {
        "format_token_count": 3,
        "coord_token_count": 1,
        "desc_token_frac": 0.0,
        "format_token_frac": 0.75,
        "coord_token_frac": 0.25,
    }


def test_integers_stay_exact():
    assert (
        metrics_of([(Rollout.matched, 2**53), (Rollout.matched, 1)])["rollout/matched"] == 2**53 + 1
    )


def test_no_internal_key_leaves():
    assert metrics_of([(Rollout._samples, 3)]) == {}


def test_a_disagreement_is_withheld():
    assert metrics_of([(Knobs.temperature, 0.7), (Knobs.temperature, 0.7)]) == {
        "knob/temperature": 0.7
    }
    assert metrics_of([(Knobs.temperature, 0.7), (Knobs.temperature, 0.35)]) == {}


@pytest.mark.parametrize("make", [float, torch.tensor])
def test_a_nonfinite_objective_says_so(make):
    window = Window(SMALL)
    window.observe(Objective.loss, make(float("nan")), 4)
    window.observe(Objective.loss, 1.0, 4)
    payload = window.close(mode="train", global_step=1)
    assert payload.nonfinite == {"loss": "nan"}
    assert payload.metrics == {}


@pytest.mark.parametrize("make", [float, torch.tensor])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_nonfinite_monitor_is_withheld_with_its_weight_and_counted(make, bad):
    window = Window(CATALOGUE)
    monitor = CATALOGUE["coord_diag/B/p_gt_mean"]
    window.observe("coord_diag/B/p_gt_mean", make(bad), 100)
    window.observe("coord_diag/B/p_gt_mean", make(1.0), 4)
    payload = window.close(mode="train", global_step=1)
    assert payload.metrics == {monitor.key: 0.25, "contract/withheld_total": 1}
    assert window.withheld == {monitor.key: 1}


@pytest.mark.parametrize("make", [list, torch.tensor, np.array])
def test_nonfinite_members_of_a_quantile_are_left_out(make):
    window = Window(SMALL)
    if make is np.array:
        window.observe(Knobs.length_p90, list(np.array([4.0, float("nan")])))
    else:
        window.observe(Knobs.length_p90, make([4.0, float("nan")]))
    payload = window.close(mode="train", global_step=1)
    assert payload.metrics["knob/length_p90"] == 4
    assert window.withheld == {"knob/length_p90": 1}


def test_weights_leave_rows_out_without_a_gather():
    window = Window(SMALL)
    window.observe(Knobs.length_p90, torch.tensor([4.0, 90.0]), torch.tensor([1, 0]))
    assert window.close(mode="train", global_step=1).metrics["knob/length_p90"] == 4


@given(st.lists(st.integers(0, 10**7) | st.floats(0, 1e6), min_size=1, max_size=40))
def test_quantiles_on_the_device_are_those_of_the_host(values):
    host = metrics_of([(Knobs.length_p90, values)])
    device = metrics_of([(Knobs.length_p90, torch.tensor(values, dtype=torch.float64))])
    assert host == device
    assert host["knob/length_p90"] <= host["knob/length_p99"]


def test_cumulative_keys_grow_by_each_train_window():
    window = Window(SMALL)
    seen = []
    for mode in ("train", "eval", "train"):
        window.observe(Progress.samples_total, 4)
        seen.append(window.close(mode=mode, global_step=1).metrics.get("train/samples_seen"))
    assert seen == [4, None, 8]


def test_a_close_empties_the_window():
    window = Window(SMALL)
    window.observe(Rollout.matched, 3)
    window.close(mode="train", global_step=1)
    payload = window.close(mode="train", global_step=2)
    assert (payload.metrics, payload.global_step) == ({}, 2)
    assert payload.coverage == {"world_size": 1, "missing_ranks": [], "steps": 1, "scope": "global"}


def test_gradients_and_graphs_are_left_alone():
    logits = torch.randn(8, requires_grad=True)
    window = Window(SMALL)
    window.observe(Objective.loss, logits.sum(), 8)
    window.observe(Knobs.length_p90, logits.abs())
    assert all(not state.requires_grad for state in window._observations.tensors.values())
    logits.sum().backward()
    assert torch.equal(logits.grad, torch.ones(8))


def test_a_view_does_not_keep_its_storage():
    big = torch.ones(100_000)
    window = Window(SMALL)
    window.observe(Objective.loss, big[0], 1)
    assert all(
        state.untyped_storage().nbytes() <= 64 for state in window._observations.tensors.values()
    )


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ((Rollout.precision, 0.5), "observe rollout/matched, rollout/pred_total"),
        (("rollout/f1", 0.5), "is computed, not observed"),
        (("train/samples_seen", 3), "is computed, not observed"),
        ((Objective.loss, 1.0), "a weighted sum and a weight"),
        ((Rollout.matched, 1, 2), "one number"),
        ((Rollout.matched, "3"), "not a number"),
        ((Rollout.matched, True), "declare it as a flag"),
        ((Rollout.matched, torch.ones(2)), "0-d tensor"),
        ((Rollout.matched, None), "not a number"),
        ((Knobs.length_p90, 3), "a sequence of numbers"),
        ((Knobs.length_p90, "abc"), "a sequence of numbers"),
    ],
)
def test_what_cannot_be_observed_says_what_can(call, what):
    with pytest.raises(ObservationError, match=what):
        Window(SMALL).observe(*call)


def test_an_unknown_key_is_an_error_here():
    with pytest.raises(UnknownKeyError, match="did you mean 'rollout/matched'"):
        Window(SMALL).observe("rollout/mached", 1)


@pytest.mark.parametrize("wrong", [{"group": "x"}, {"lag": 2}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=r"group is None|lag is 0"):
        Window(SMALL, **wrong)


def test_evaluation_totals_feed_the_documented_keys():
    window = Window(CATALOGUE)
    for key, count in [
        ("gt_objects_total", 8),
        ("valid_pred_objects_total", 6),
        ("matched_for_supervision", 3),
    ]:
        window.observe(f"rollout/{key}", count)
    with MetricsRegistry(sinks=[memory := MemorySink()], on_violation="raise") as registry:
        registry.emit(window.close(mode="eval", global_step=1))
    assert memory.records[0].metrics == {
        "eval_rollout/gt_objects": 8,
        "eval_rollout/pred_objects": 6,
        "eval_rollout/matched": 3,
        "eval_rollout/fp": 3,
        "eval_rollout/fn": 5,
        "eval_rollout/precision": 0.5,
        "eval_rollout/recall": 0.375,
        "eval_rollout/f1": 6 / 14,
    }


@given(st.data())
def test_every_observed_metric_of_the_contract_passes_its_own_checks(data):
    """Whatever is observed, derived metrics satisfy their formulas, so emit finds no broken law."""
    window = Window(CATALOGUE)
    for key, metric in CATALOGUE.items():
        if isinstance(metric, Observed) and metric.kind == "total" and data.draw(st.booleans()):
            window.observe(key, data.draw(st.integers(0, 50)))
    registry = MetricsRegistry(on_violation="count")
    registry.emit(window.close(mode="train", global_step=1))
    for example in registry.report()["examples"]:
        assert "is its formula" not in example["message"]


def test_a_window_of_numbers_needs_no_torch():
    code = (
        "import sys\n"
        "from coordexp_metrics import CATALOGUE\n"
        "from coordexp_metrics.window import Window\n"
        "w = Window(CATALOGUE); w.observe('loss', 3.0, 2)\n"
        "assert w.close(mode='train', global_step=1).metrics == {'loss': 1.5}\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_window_on_a_device_takes_numbers_there():
    window = Window(SMALL, device="cpu")
    window.observe(Objective.loss, 3.0, 2)
    assert list(window._observations.tensors) == ["loss"]
    assert window.close(mode="train", global_step=1).metrics == {"loss": 1.5}


def bulk(metrics, observations):
    """The states of many metrics as one tensor."""
    states = [metric.reduction.lift(*values) for metric, values in observations]
    assert [metric for metric, _ in observations] == list(metrics)
    return torch.tensor([slot for state in states for slot in state], dtype=torch.float64)


def test_many_sums_at_once_are_many_observations():
    """One tensor of states folds as its metrics would one by one, and beside them."""
    alone, together = Window(SMALL, group="local"), Window(SMALL, group="local")
    metrics = (Rollout.matched, Diag(Forward.ROLLOUT).p_gt_mean, Diag(Forward.ROLLOUT).error_p90)
    for k in (1, 2, 3):
        observations = [
            (metrics[0], (k,)),
            (metrics[1], (0.5 * k, k)),
            (metrics[2], ([0.25 * k, 90.0],)),
        ]
        for metric, values in observations:
            alone.observe(metric, *values)
        if k == 2:
            for metric, values in observations:
                together.observe(metric, *values)
        else:
            together.observe_sums(metrics, bulk(metrics, observations))
    together.observe_sums(metrics[:1], torch.tensor([5.0, 1.0], dtype=torch.float64))
    alone.observe(metrics[0], 5)
    one, other = (w.close(mode="train", global_step=1).metrics for w in (alone, together))
    assert one == other
    assert other["rollout/matched"] == 11
    assert not together.close(mode="train", global_step=2).metrics


def test_many_sums_keep_what_is_not_finite():
    window = Window(SMALL, group="local")
    window.observe_sums((Objective.loss,), torch.tensor([math.nan, 3.0], dtype=torch.float64))
    assert window.close(mode="train", global_step=1).nonfinite == {"loss": "nan"}


def test_many_sums_survive_a_checkpoint():
    window, other = Window(SMALL, group="local"), Window(SMALL, group="local")
    window.observe_sums((Rollout.matched,), torch.tensor([5.0, 1.0], dtype=torch.float64))
    other.load_state_dict(window.state_dict())
    assert other.close(mode="train", global_step=1).metrics["rollout/matched"] == 5


@pytest.mark.parametrize(
    ("metrics", "states", "says"),
    [
        ((Rollout.matched,), torch.zeros(3), "must have the shape"),
        ((Rollout.matched,), torch.zeros(1, 2), "must have the shape"),
        ((Knobs.peak,), torch.zeros(1), "is no sum"),
        ((Rollout.precision,), torch.zeros(2), "is computed, not observed"),
    ],
)
def test_many_sums_that_do_not_fit_are_refused(metrics, states, says):
    window = Window(SMALL, group="local")
    with pytest.raises(ObservationError, match=says):
        window.observe_sums(metrics, states)
    assert not window.close(mode="train", global_step=1).metrics


def test_a_tensor_counts_as_it_was_when_it_was_observed():
    """Trainers write into their losses."""
    window, loss = Window(SMALL), torch.tensor(3.0, dtype=torch.float64)
    window.observe(Objective.loss, loss, 1)
    loss.zero_()
    assert window.close(mode="train", global_step=1).metrics == {"loss": 3.0}


def test_many_micro_batches_of_one_step_are_not_all_kept(monkeypatch):
    monkeypatch.setattr(observing, "MANY", 3)
    window, most = Window(SMALL), 0
    for value in range(8):
        window.observe(Objective.loss, torch.tensor(float(value)), 1)
        most = max(most, len(window._observations._late.tensors))
    assert most == 2
    assert window.close(mode="train", global_step=1).metrics == {"loss": 3.5}


def test_a_tensor_that_is_no_real_number_is_refused_and_nothing_of_it_stays():
    window = Window(SMALL)
    for wrong in (torch.ones(2), torch.tensor(1j)):
        with pytest.raises(ObservationError, match="0-d tensor"):
            window.observe(Objective.loss, torch.tensor(5.0), wrong)
    window.observe(Objective.loss, torch.tensor(3.0), 1)
    assert window.close(mode="train", global_step=1).metrics == {"loss": 3.0}
