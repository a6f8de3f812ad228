"""Every number agrees with plain float64, whatever the shapes, strides, ties and scales."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics.reducers import LogitsReducer
from tests.reducers.cases import SCALES, cases, examples, make
from tests.reducers.reference import reference, rows_of

P90 = "coord_diag/expected_bin_abs_err_p90"
EXACT = ("_count", "_tokens", "_frac", "_acc", "_top5", "_total", "_samples")
MANY = settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def assert_equal(found, expected, rel=1e-5):
    found = {key: value for key, value in found.items() if key != P90}
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        exact = key.endswith(EXACT) or "/flip_" in key
        assert found[key] == pytest.approx(
            value, rel=1e-14 if exact else rel, abs=1e-9, nan_ok=True
        ), key


def check(case, types=True, rel=1e-5, **settings):
    token_types = case.types if types else None
    weights = settings.pop("weights", (1.0, 1.0, 0.5, 1.0))
    names = {"target_sigma": "sigma", "target_truncate": "truncate", "log_top5": "top5"}
    names |= {"coord_monitor_mass": "mass"}
    soft_ce, w1, ce, gate = weights
    reducer = LogitsReducer(
        case.ids, soft_ce_weight=soft_ce, w1_weight=w1, ce_weight=ce, gate_weight=gate, **settings
    )
    expected = reference(
        case.logits,
        case.labels,
        token_types,
        ids=case.ids,
        weights=weights,
        **{names.get(name, name): value for name, value in settings.items()},
    )
    expected["coord_diag/enabled"] = float(settings.get("enabled", True))
    assert_equal(reducer.compute(case.logits, case.labels, token_types), expected, rel)


@MANY
@given(case=cases(), types=st.booleans())
def test_any_batch(case, types, place):
    check(case, types)


@MANY
@given(
    case=cases(dtypes=(torch.bfloat16, torch.float16, torch.float64), scales=("plain", "tied")),
)
def test_N06_other_precisions_are_read_as_what_they_hold(case, place):
    check(case)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [32_767, 32_768, 70_001])
def test_a_large_vocabulary_is_read_in_tiles(scale, size, place):
    for layout in ("contiguous", "scattered"):
        check(make(1, 7, size, 300, scale=scale, layout=layout, coord=0.5), target_sigma=4.0)


@MANY
@given(
    case=cases(scales=("plain", "extreme", "masked")),
    temperature=st.sampled_from([1e-38, 1e-3, 0.7, 1.9, 1e3]),
)
def test_N07_any_temperature(case, temperature, place):
    check(case, temperature=temperature)


@settings(max_examples=examples(40), deadline=None)
@given(
    case=cases(scales=("plain",)),
    sigma=st.sampled_from([1e-3, 0.5, 2.0, 500.0]),
    truncate=st.none() | st.integers(0, 9) | st.just(2.5),
    enabled=st.booleans(),
    weights=st.tuples(*[st.sampled_from([0.0, 0.5, 2.0])] * 4),
    top5=st.booleans(),
    mass=st.booleans(),
)
def test_any_settings(case, sigma, truncate, enabled, weights, top5, mass):
    check(
        case,
        target_sigma=sigma,
        target_truncate=truncate,
        enabled=enabled,
        weights=weights,
        log_top5=top5,
        coord_monitor_mass=mass,
    )


def test_a_row_that_is_nearly_certain_keeps_its_loss():
    """A loss of 1e-9 is not what float32 leaves of 1 + 1e-9."""
    logits = torch.zeros(1, 2, 1000)
    logits[0, 0, 7] = 27.6
    found = LogitsReducer([900, 901]).compute(logits, torch.tensor([[0, 7]]))
    expected = 999 * np.exp(-float(logits[0, 0, 7]))
    assert found["base_ce/loss"] == pytest.approx(expected, rel=2e-6, abs=0)


@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_coordinates_that_are_masked_leave_the_text_as_it_is(shift, place):
    """Without a probability they have no scale, however far the other logits are from 0."""
    case = make(1, 6, 60, 9, supervised=1.0, coord=0.0)
    case.logits += shift
    case.logits[..., case.ids] = -torch.inf
    check(case)


def test_the_gate_keeps_its_digits_where_all_mass_is_inside():
    logits = torch.zeros(1, 2, 1000)
    logits[0, 0, 900:] = 30.0
    labels = torch.tensor([[0, 950]])
    found = LogitsReducer(range(900, 1000)).compute(logits, labels)
    expected = 9 * np.exp(-30.0)
    assert found["coord_diag/gate"] == pytest.approx(expected, rel=2e-6, abs=0)


@pytest.mark.parametrize("layout", ["contiguous", "permuted"])
def test_the_p90_of_the_error_is_exact_to_its_bin(layout, place):
    case = make(4, 60, 700, 200, layout=layout, coord=0.6)
    found = LogitsReducer(case.ids).compute(case.logits, case.labels, case.types)[P90]
    rows, _ = rows_of(case.logits, case.labels, case.types, case.ids, 1.0, 2.0, None)
    expected = np.quantile([row["error"] for row in rows if row["coord"]], 0.9)
    assert found == pytest.approx(expected, abs=0.26)


def test_ties_are_stable():
    """Of equal logits the earlier id ranks first: top 1 is argmax's first index."""
    logits = torch.zeros(1, 2, 700)
    reducer = LogitsReducer([699])
    for label, top1, top5 in (
        (0, 1.0, 1.0),
        (1, 0.0, 1.0),
        (4, 0.0, 1.0),
        (5, 0.0, 0.0),
        (600, 0, 0),
    ):
        found = reducer.compute(logits, torch.tensor([[-100, label]]))
        assert (found["token_acc"], found["token_acc_top5"]) == (top1, top5)


@pytest.mark.parametrize("ties", [0, 3, 4, 5, 9])
@pytest.mark.parametrize("above", [0, 1])
def test_ties_in_earlier_blocks_rank_first_and_in_later_blocks_last(ties, above):
    """The label opens a block, so only the blocks before it can outrank it."""
    label = 10 * 256
    logits = torch.full((1, 2, 20 * 256), -1.0)
    logits[0, 0, [label, *range(label + 256, 20 * 256, 256)]] = 0.0
    logits[0, 0, [256 * k + 7 for k in range(ties)]] = 0.0
    logits[0, 0, 5000 : 5000 + above] = 1.0
    found = LogitsReducer([1]).compute(logits, torch.tensor([[-100, label]]))
    assert found["token_acc"] == (ties + above == 0)
    assert found["token_acc_top5"] == (ties + above < 5)


@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_a_capped_mass_reads_tokens_equally_far_apart(most, place):
    case = make(2, 30, 50, 10, coord=0.5)
    capped = LogitsReducer(case.ids, coord_monitor_mass_max_tokens=most)
    found = capped.compute(case.logits, case.labels)
    rows, _ = rows_of(case.logits, case.labels, None, case.ids, 1.0, 2.0, None)
    chosen = rows[:: max(1, -(-len(rows) // most))]
    assert len(chosen) <= most
    for coord, name in ((True, "coord"), (False, "text")):
        masses = [row["mass"] for row in chosen if row["coord"] == coord]
        key = f"coord_monitor/coord_vocab_mass_at_gt_{name}"
        assert found.get(key) == (pytest.approx(np.mean(masses)) if masses else None)


def test_only_what_a_forward_pass_shows(place):
    """With a provenance only its own family is observed, and by the same definitions."""
    from coordexp_metrics import CATALOGUE
    from coordexp_metrics.window import Window

    case = make(2, 20, 300, 40, coord=0.5)
    reducer, window = LogitsReducer(case.ids), Window(CATALOGUE, group="local")
    reducer.observe(window, case.logits, case.labels, case.types, provenance="A2")
    found = window.close(mode="train", global_step=1).metrics
    bare = reducer.compute(case.logits, case.labels)
    names = {"coord_tokens": "coord_tokens_total", "coord_vocab_mass": "coord_vocab_mass_mean"}
    kept = ("acc_top5", "p_gt_mean", "margin_mean", "expected_bin_mae", P90.rpartition("/")[2])
    expected = {
        f"coord_diag/A2/{names.get(name, name)}": bare[f"coord_diag/{name}"]
        for name in (*names, *kept)
    }
    assert found == pytest.approx(expected, rel=1e-12)


def test_an_unknown_provenance_is_an_error():
    from coordexp_metrics import CATALOGUE
    from coordexp_metrics.window import Window

    with pytest.raises(ValueError, match="C"):
        LogitsReducer([0]).observe(
            Window(CATALOGUE, group="local"),
            torch.zeros(1, 2, 3),
            torch.zeros(1, 2).long(),
            provenance="C",
        )


def test_samples_are_what_the_caller_says():
    case = make(2, 9, 60, 6)
    reducer = LogitsReducer(case.ids)
    found = reducer.compute(case.logits, case.labels, num_samples=5)
    expected = reference(case.logits, case.labels, ids=case.ids, num_samples=5)
    assert found["pack/num_samples"] == 5
    key = "stage1/total_loss_per_sample_est"
    assert found[key] == pytest.approx(expected[key], rel=1e-6)
