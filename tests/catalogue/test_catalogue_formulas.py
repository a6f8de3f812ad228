"""Formulas and laws, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from coordexp_metrics.catalogue import CATALOGUE
from coordexp_metrics.contract.law import Law

# Inputs without a slash stand in the namespace of the formula.
COMPUTED = [
    ("rollout/f1", "matched_for_supervision=2 valid_pred_objects_total=4 gt_objects_total=6", 0.4),
    ("rollout/precision", "matched_for_supervision=2 valid_pred_objects_total=4", 0.5),
    ("rollout/recall", "matched_for_supervision=2 gt_objects_total=8", 0.25),
    ("rollout/fn_total", "matched_for_supervision=2 gt_objects_total=8", 6),
    ("rollout/excluded_rate", "matched_for_supervision=9 excluded_from_supervision=3", 0.25),
    (
        "rollout/prefix_coord_targets_per_matched",
        "prefix_coord_targets_total=16 matched_for_supervision=4",
        4.0,
    ),
    ("rollout/parse_truncated_rate", "parse_truncated=3 _samples_parsed=8", 0.375),
    ("rollout/sample_valid_pred_rate", "_samples_with_prediction=6 _samples_judged=8", 0.75),
    ("rollout/sample_any_match_rate", "_samples_with_match=4 _samples_judged=8", 0.5),
    ("rollout/gen_tokens_per_s", "gen_new_tokens_total=900 time/rollout_generate_s=4.5", 200.0),
    ("rollout/gen_new_tokens_mean", "gen_new_tokens_total=900 _samples_measured=8", 112.5),
    ("rollout/gating_rejection_rate", "gating_rejections=1 _candidate_pairs=4", 0.25),
    ("rollout/tail_ignore_frac", "_tail_tokens_ignored=0 _tail_tokens=40", 0.0),
    (
        "rollout/parse_obj_total",
        "valid_pred_objects_total=7 parse_dropped_invalid=2 parse_dropped_ambiguous=1",
        10,
    ),
    ("rollout/parse_obj_valid_frac", "valid_pred_objects_total=7 parse_obj_total=10", 0.7),
    (
        "rollout/parse_obj_drop_frac",
        "parse_dropped_invalid=2 parse_dropped_ambiguous=1 parse_obj_total=10",
        0.3,
    ),
    ("rollout/desc_exact_acc_on_matched", "_exact_matches=1 desc_pairs_total=4", 0.25),
    (
        "rollout/desc_sem_acc_on_matched",
        "_exact_matches=1 _similar_matches=2 desc_pairs_total=4",
        0.75,
    ),
    ("stage2_ab/b_ratio_realized", "_channel_b_steps=60 _window_steps=200", 0.3),
    ("base_ce/noncoord_tokens_per_sample", "noncoord_tokens=90 pack/num_samples=6", 15.0),
    ("base_ce/loss_per_sample", "loss=0.5 noncoord_tokens=90 pack/num_samples=6", 7.5),
    ("coord_diag/coord_tokens_per_sample", "coord_tokens=48 pack/num_samples=6", 8.0),
    ("coord_diag/loss_per_sample", "loss=2.0 coord_tokens=48 pack/num_samples=6", 16.0),
    (
        "stage1/total_loss_per_sample_est",
        "base_ce/loss_per_sample=7.5 coord_diag/loss_per_sample=16.0",
        23.5,
    ),
    ("eval_rollout/fp", "pred_objects=9 matched=4", 5),
    ("eval_rollout/fn", "gt_objects=6 matched=2", 4),
]
HAS_OWN_TEST = {
    "coord_diag/loss",
    "desc_token_frac",
    "format_token_frac",
    "coord_token_frac",
}


def row_of(key: str, text: str) -> dict[str, float]:
    """``text`` as a row of metrics."""
    namespace = key.rpartition("/")[0]
    pairs = (item.split("=") for item in text.split())
    return {
        name if "/" in name else f"{namespace}/{name}": float(number)
        if "." in number
        else int(number)
        for name, number in pairs
    }


def number_of(text: str) -> float:
    return float(text) if "." in text else int(text)


def value(key: str, inputs: dict[str, float]) -> float | None:
    formula = CATALOGUE[key].formula
    assert formula is not None
    return formula.evaluate(inputs)


@pytest.mark.parametrize(("key", "text", "expected"), COMPUTED)
def test_a_formula_gives_the_number_worked_out_by_hand(
    key: str, text: str, expected: float
) -> None:
    assert value(key, row_of(key, text)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("key", "text"), [(key, text) for key, text, _ in COMPUTED])
def test_a_formula_is_absent_where_an_input_is(key: str, text: str) -> None:
    row = row_of(key, text)
    for missing in row:
        fewer = {name: number for name, number in row.items() if name != missing}
        assert value(key, fewer) is None, missing


def test_every_formula_is_worked_out() -> None:
    formulas = {metric.key for metric in CATALOGUE.values() if metric.formula is not None}
    assert formulas == {key for key, _, _ in COMPUTED} | HAS_OWN_TEST


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("rollout/precision", "matched_for_supervision=0 valid_pred_objects_total=0"),
        ("rollout/excluded_rate", "matched_for_supervision=0 excluded_from_supervision=0"),
        ("rollout/gen_tokens_per_s", "gen_new_tokens_total=5 time/rollout_generate_s=0"),
        ("rollout/sample_any_match_rate", "_samples_with_match=0 _samples_judged=0"),
        ("rollout/parse_obj_valid_frac", "valid_pred_objects_total=0 parse_obj_total=0"),
        ("coord_diag/coord_tokens_per_sample", "coord_tokens=5 pack/num_samples=0"),
    ],
)
def test_a_zero_denominator_is_absent(key: str, text: str) -> None:
    assert value(key, row_of(key, text)) is None


def test_f1_is_zero_where_nothing_matches_and_absent_where_nothing_is() -> None:
    """Precision times recall over their sum would be 0/0 in the first case."""
    row = {"rollout/matched_for_supervision": 0, "rollout/valid_pred_objects_total": 3}
    assert value("rollout/f1", {**row, "rollout/gt_objects_total": 5}) == 0.0
    nothing = {**row, "rollout/valid_pred_objects_total": 0, "rollout/gt_objects_total": 0}
    assert value("rollout/f1", nothing) is None


def test_formulas_read_the_names_of_evaluation() -> None:
    row = {"eval_rollout/gt_objects": 6, "eval_rollout/pred_objects": 4, "eval_rollout/matched": 2}
    assert value("rollout/f1", row) == 0.4
    assert value("eval_rollout/fp", row) == 2
    assert value("eval_rollout/fn", row) == value("rollout/fn_total", row) == 4


def test_a_type_without_tokens_has_fraction_zero() -> None:
    """Its count is absent, the fractions still add up."""
    counts = {"format_token_count": 30, "coord_token_count": 10}
    found = {kind: value(f"{kind}_token_frac", counts) for kind in ("desc", "format", "coord")}
    assert found == {"desc": 0.0, "format": 0.75, "coord": 0.25}


def test_without_typed_tokens_there_are_no_fractions() -> None:
    assert value("desc_token_frac", {"token_count": 5}) is None


def test_the_coordinate_loss_is_the_weighted_sum_of_raw_terms() -> None:
    terms = {"soft_ce": 2.0, "w1": 0.25, "ce": 8.0, "gate": 0.5}
    row = {f"coord_diag/{name}": number for name, number in terms.items()}
    formula = CATALOGUE["coord_diag/loss"].formula
    assert formula is not None
    names = ("soft_ce_weight", "w1_weight", "ce_weight", "gate_weight")
    assert formula.parameters() == dict.fromkeys(names, 1.0)
    assert formula.evaluate(row) == 10.75
    weights = {"soft_ce_weight": 0.5, "w1_weight": 4.0, "ce_weight": 0.25, "gate_weight": 2.0}
    assert formula.evaluate(row, weights) == 5.0


MASS = {"coord_diag/gate": math.log(2)}
BROKEN = [
    ({"rollout/sample_any_match_rate": 0.5, "rollout/sample_valid_pred_rate": 0.25}, 1),
    ({"rollout/sample_any_match_rate": 0.25, "rollout/sample_valid_pred_rate": 0.25}, 0),
    ({"rollout/gen_new_tokens_p90": 90.0, "rollout/gen_new_tokens_p99": 89.0}, 1),
    ({"rollout/desc_sem_acc_on_matched": 0.5, "rollout/desc_exact_acc_on_matched": 0.75}, 1),
    ({"rollout/desc_sem_sim_count": 5, "rollout/desc_pairs_total": 4}, 1),
    ({"rollout/desc_sem_sim_count": 4, "rollout/desc_pairs_total": 4}, 0),
    ({"rollout/parse_obj_valid_frac": 0.5, "rollout/parse_obj_drop_frac": 0.25}, 1),
    ({"rollout/parse_obj_valid_frac": 0.7, "rollout/parse_obj_drop_frac": 0.3}, 0),
    ({"token_acc": 0.5, "token_acc_top5": 0.49}, 1),
    ({"desc_token_acc": 0.5, "desc_token_acc_top5": 0.49}, 1),
    ({"format_token_acc": 0.5, "format_token_acc_top5": 0.49}, 1),
    ({"coord_token_acc": 0.5, "coord_token_acc_top5": 0.49}, 1),
    ({"desc_token_frac": 0.5, "format_token_frac": 0.25, "coord_token_frac": 0.125}, 1),
    ({**MASS, "coord_diag/coord_vocab_mass": 0.49}, 1),
    ({**MASS, "coord_diag/coord_vocab_mass": 0.5}, 0),
    ({"coord_diag/expected_bin_mae": 3.0, "coord_diag/w1_to_delta": 2.0}, 1),
    ({"loss": 1.5, "loss/A1_text/struct_ce": 0.5, "loss/A2_coord/bbox_ciou": 0.75}, 1),
    ({"loss": 1.25, "loss/A1_text/struct_ce": 0.5, "loss/A2_coord/bbox_ciou": 0.75}, 0),
    ({"loss": 1.5}, 0),
]


def broken(row: dict[str, float]) -> list[Law]:
    return [law for law in CATALOGUE.laws if law.check(row)]


@pytest.mark.parametrize(("row", "expected"), BROKEN)
def test_laws_find_what_cannot_be(row: dict[str, float], expected: int) -> None:
    assert len(broken(row)) == expected


@pytest.mark.parametrize(("text", "expected"), [(0.1, 1), (0.2, 0), (0.3, 0), (0.4, 0), (0.5, 1)])
def test_the_flip_rate_of_text_lies_between_its_parts(text: float, expected: int) -> None:
    parts = {"coord_monitor/flip_format_to_coord": 0.4, "coord_monitor/flip_desc_to_coord": 0.2}
    assert len(broken({**parts, "coord_monitor/flip_text_to_coord": text})) == expected
    assert broken({"coord_monitor/flip_text_to_coord": text}) == []


def test_what_was_dropped_has_a_reason() -> None:
    prefix = "stage2_ab/channel_b/strict_drop"
    row = {f"{prefix}/reason/missing_desc": 2, f"{prefix}/reason/bbox_invalid": 1}
    assert broken({**row, f"{prefix}/N_drop_invalid": 3}) == []
    (law,) = broken({**row, f"{prefix}/N_drop_invalid": 4})
    assert law.weak


def test_samples_seen_grow_by_the_samples_of_the_step() -> None:
    row = {"train/samples_seen": 100, "previous(train/samples_seen)": 68}
    assert broken({**row, "train/samples_total": 32}) == []
    assert len(broken({**row, "train/samples_total": 31})) == 1
    assert broken({"train/samples_seen": 100, "train/samples_total": 32}) == []


def test_every_rollout_is_decoded_once() -> None:
    row = {"rollout/decode_beam_count": 3, "rollout/decode_non_beam_count": 5}
    assert broken({**row, "rollout/_samples": 8, "stage2/raw_rollouts": 8}) == []
    assert [law.weak for law in broken({**row, "rollout/_samples": 9})] == [False]
    assert [law.weak for law in broken({**row, "stage2/raw_rollouts": 9})] == [True]


def test_only_sums_of_parts_are_hints() -> None:
    """Every other law follows from what its metrics mean."""
    weak = [law.statement for law in CATALOGUE.laws if law.weak]
    assert weak == [
        "the atoms of a step add up to its loss",
        "the reasons of a step add up to what it dropped",
        "every rollout was decoded with beams or without",
    ]
    assert len(CATALOGUE.laws) == 19


def test_all_atoms_are_in_the_sum() -> None:
    (law,) = [law for law in CATALOGUE.laws if law.statement.startswith("the atoms")]
    atoms = {key for key in CATALOGUE if key.startswith("loss/")}
    assert {metric.key for metric in law.left.leaves()} == atoms
