"""What is wrong in a batch is left out, counted and named; it is never clamped and never hidden."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, DeclarationError, ObservationError
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.window import Window
from tests.reducers.cases import examples, make
from tests.reducers.test_agreement import check

NONFINITE = "contract/nonfinite_rows_total"
OUT_OF_RANGE = "contract/labels_out_of_range_total"
DROPPED = "contract/token_types_dropped_total"
TYPED = [f"{name}_token_frac" for name in ("desc", "coord", "format")]
IN_LOSS = {
    "base_ce/loss",
    "coord_diag/soft_ce",
    "coord_diag/w1",
    "coord_diag/gate",
    "coord_diag/loss",
}
BROKEN = {
    "nan": lambda row: row.fill_(math.nan),
    "one nan": lambda row: row[3:4].fill_(math.nan),
    "all -inf": lambda row: row.fill_(-math.inf),
    "one +inf": lambda row: row[5:6].fill_(math.inf),
    "mixed": lambda row: row[:3].copy_(torch.tensor([math.nan, math.inf, -math.inf])),
}


def closed(case, reducer=None, **changes):
    reducer = reducer or LogitsReducer(case.ids)
    window = Window(CATALOGUE, group="local")
    arguments = {"logits": case.logits, "labels": case.labels, "token_types": case.types}
    reducer.observe(window, **(arguments | changes))
    return window.close(mode="train", global_step=1)


@pytest.mark.parametrize("kind", BROKEN)
def test_N08_a_row_that_is_not_finite_is_counted_and_in_no_monitor(kind, place):
    case = make(3, 12, 90, 20, supervised=1.0, coord=0.5)
    whole = closed(case)
    for b, s in ((0, 4), (1, 2), (1, 3), (2, 9)):
        BROKEN[kind](case.logits[b, s])
    without = case.labels.clone()
    for b, s in ((0, 4), (1, 2), (1, 3), (2, 9)):
        without[b, s + 1] = -100
    broken, expected = closed(case), closed(case, labels=without)
    assert broken.metrics[NONFINITE] == 4
    assert NONFINITE not in whole.metrics
    touched = {key for key in broken.nonfinite if "_per_sample" not in key}
    assert touched <= IN_LOSS
    for key, value in expected.metrics.items():
        if key not in broken.nonfinite:
            assert broken.metrics[key] == pytest.approx(value, rel=1e-12), key


@pytest.mark.parametrize("kind", BROKEN)
def test_N08_a_term_of_the_loss_is_not_finite_for_the_window(kind, place):
    """Law 3: what made the loss NaN is not averaged away, whatever else the window saw."""
    case = make(2, 12, 90, 20, supervised=1.0, coord=0.5)
    coord, text = torch.isin(case.labels, torch.tensor(case.ids)), case.labels >= 0
    for mask, keys in (
        (coord, IN_LOSS - {"base_ce/loss"}),
        (text & ~coord, {"base_ce/loss"}),
    ):
        b, s = next((b, s) for b, s in mask.nonzero().tolist() if s)
        broken = case.logits.clone()
        BROKEN[kind](broken[b, s - 1])
        window, reducer = Window(CATALOGUE, group="local"), LogitsReducer(case.ids)
        reducer.observe(window, case.logits, case.labels)
        reducer.observe(window, broken, case.labels)
        payload = window.close(mode="train", global_step=1)
        assert {key for key in payload.nonfinite if "_per_sample" not in key} == keys
        ablation = closed(case, LogitsReducer(case.ids, enabled=False), logits=broken)
        assert not ablation.nonfinite


def test_N08_no_probability_at_the_target(place):
    """Elsewhere −∞ is a probability of zero; at the target the row has no loss."""
    case = make(1, 4, 30, 5, supervised=1.0)
    whole = closed(case).metrics
    unused = next(i for i in range(30) if i not in case.labels and i not in case.ids)
    case.logits[..., unused] = -math.inf
    assert closed(case).metrics.keys() == whole.keys()
    case.logits[0, 1, case.labels[0, 2]] = -math.inf
    payload = closed(case)
    assert payload.metrics[NONFINITE] == 1
    assert payload.metrics["token_count"] == 2
    assert payload.nonfinite


def test_N08_nothing_but_broken_rows(place):
    """The population is empty for monitors; a loss over it is still not a number."""
    case = make(1, 6, 30, 5, supervised=1.0)
    payload = closed(case, logits=torch.full_like(case.logits, math.nan))
    assert "token_acc" not in payload.metrics
    assert payload.nonfinite["base_ce/loss"] == "nan"


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), share=st.floats(0, 1))
def test_N08_any_rows_broken_any_way(seed, share, place):
    case = make(2, 6, 40, 7, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    kinds = list(BROKEN.values())
    for b, s in (torch.rand(2, 6, generator=generator) < share).nonzero().tolist():
        kinds[int(torch.randint(0, len(kinds), (1,), generator=generator))](case.logits[b, s])
    check(case)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16])
@pytest.mark.parametrize("wrong", [90, 91, 32_000, -1, -99, -101])
def test_T03_a_label_out_of_range_is_masked_and_counted(wrong, dtype, place):
    case = make(2, 10, 90, 20, supervised=1.0)
    without = case.labels.clone()
    without[0, 3] = without[1, 7] = -100
    expected = closed(case, labels=without).metrics
    case.labels[0, 3] = case.labels[1, 7] = wrong
    found = closed(case, labels=case.labels.to(dtype)).metrics
    assert found == {**expected, OUT_OF_RANGE: 2}


def types_that_do_not_fit(case):
    unknown = case.types.clone()
    unknown[case.labels >= 0] = 7
    shifted = torch.roll(case.types, 1, 1)
    return {
        "shape": case.types[:, :-1],
        "rank": case.types.flatten(),
        "dtype": case.types.float(),
        "bool": case.types > 0,
        "list": case.types.tolist(),
        "unknown id": unknown,
        "shifted": shifted,
        "one ahead": torch.roll(case.types, -1, 1),
    }


@pytest.mark.parametrize("why", types_that_do_not_fit(make(1, 3, 9, 2)))
def test_T04_types_that_do_not_fit_are_dropped_for_the_batch(why, place):
    case = make(2, 40, 90, 20, supervised=1.0, coord=0.4)
    untyped = closed(case, token_types=None).metrics
    found = closed(case, token_types=types_that_do_not_fit(case)[why]).metrics
    assert found == {**untyped, DROPPED: 1}


def test_T04_a_dropped_batch_leaves_the_types_of_the_others(place):
    case, reducer = make(2, 40, 90, 20, supervised=1.0), None
    reducer = LogitsReducer(case.ids)
    window = Window(CATALOGUE, group="local")
    reducer.observe(window, case.logits, case.labels, case.types)
    reducer.observe(window, case.logits, case.labels, torch.roll(case.types, 1, 1))
    found = window.close(mode="train", global_step=1).metrics
    alone = closed(case).metrics
    assert found[DROPPED] == 1
    assert found["token_count"] == 2 * alone["token_count"]
    assert {k: found[k] for k in TYPED} == {k: alone[k] for k in TYPED}


def test_T04_types_at_positions_that_are_not_supervised_do_not_matter(place):
    case = make(2, 20, 90, 20, supervised=0.5)
    types = torch.where(case.labels == -100, 55, case.types)
    types[:, 0] = 99
    assert closed(case, token_types=types).metrics == closed(case).metrics


def test_T04_all_ignored(place):
    case = make(2, 20, 90, 20, coord=0.0)
    found = closed(case, token_types=torch.full_like(case.types, -1)).metrics
    assert found["token_acc"] >= 0
    assert not {*TYPED, "text_token_acc", "desc_token_acc", DROPPED} & found.keys()


def test_N09_nothing_supervised(place):
    case = make(2, 20, 90, 20, supervised=0.0)
    found = closed(case).metrics
    assert found == {"coord_diag/enabled": 1.0, "pack/num_samples": 2}


@pytest.mark.parametrize("missing", ["desc", "format", "coord"])
def test_N09_a_type_without_tokens_has_the_fraction_zero_and_nothing_else(missing, place):
    case = make(2, 30, 90, 20, coord=0.0 if missing == "coord" else 0.4)
    codes = {"desc": 1, "format": 3}
    if missing != "coord":
        other = {"desc": 3, "format": 1}[missing]
        case.types[case.types == codes[missing]] = other
    found = closed(case).metrics
    names = (f"{missing}_token", f"{missing}_entropy")
    assert [key for key in found if key.startswith(names)] == [f"{missing}_token_frac"]
    assert found[f"{missing}_token_frac"] == 0.0
    if missing == "coord":
        assert not [key for key in found if key.endswith("gt_coord") or "coord_to_noncoord" in key]
        assert "coord_diag/loss" not in found
        assert "coord_diag/coord_tokens" not in found


@pytest.mark.parametrize("shape", [(0, 5, 9), (2, 0, 9), (2, 1, 9), (1, 4, 1), (2, 5, 3)])
def test_T05_degenerate_shapes(shape, place):
    check(make(*shape, 1, supervised=1.0))


@pytest.mark.parametrize(
    ("logits", "labels", "argument"),
    [
        (torch.zeros(4, 9), torch.zeros(4).long(), "logits"),
        (torch.zeros(1, 2, 3, 4), torch.zeros(1, 2).long(), "logits"),
        (torch.zeros(1, 2, 0), torch.zeros(1, 2).long(), "logits"),
        (torch.zeros(1, 2, 9).long(), torch.zeros(1, 2).long(), "logits"),
        (None, torch.zeros(1, 2).long(), "logits"),
        ((torch.zeros(1, 2, 9),), torch.zeros(1, 2).long(), "logits"),
        (torch.zeros(1, 2, 9), torch.zeros(2, 1).long(), "labels"),
        (torch.zeros(1, 2, 9), torch.zeros(1, 2), "labels"),
        (torch.zeros(1, 2, 9), torch.zeros(1, 2).bool(), "labels"),
        (torch.zeros(1, 2, 9), [[0, 1]], "labels"),
    ],
)
def test_T16_what_cannot_be_read_is_an_error_that_says_what(logits, labels, argument):
    window = Window(CATALOGUE, group="local")
    with pytest.raises(ObservationError, match=argument) as error:
        LogitsReducer([0]).observe(window, logits, labels)
    assert error.value.argument == argument
    assert not window.close(mode="train", global_step=1).metrics


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_N07_a_temperature_that_cannot_be(temperature):
    with pytest.raises(DeclarationError, match="temperature must be above 0"):
        LogitsReducer([0], temperature=temperature)


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_sigma": 0.0},
        {"target_truncate": -1},
        {"ce_weight": -0.5},
        {"w1_weight": math.nan},
        {"coord_monitor_mass_max_tokens": -1},
        {"backend": "cuda-graphs"},
    ],
)
def test_a_setting_that_cannot_be_says_which(wrong):
    (name,) = wrong
    with pytest.raises(DeclarationError, match=name):
        LogitsReducer([0], **wrong)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_the_backend_says_what_was_chosen_and_why(backend):
    chosen = LogitsReducer([0], backend=backend).backend
    assert chosen.name == "torch"
    assert chosen.why
