"""What every line of the catalogue must say, and what the contract counts and names."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from coordexp_metrics.catalogue import (
    CATALOGUE,
    FAMILIES,
    CoordDiag,
    CoordLoss,
    DropReasons,
    EvalRollout,
    Forward,
    Objective,
    Pass,
    SelfContextTextLoss,
    TextContext,
    TextLoss,
    conditions,
)
from coordexp_metrics.contract.errors import RemovedKeyError
from coordexp_metrics.contract.kinds import Derived
from coordexp_metrics.contract.metric import Metric
from coordexp_metrics.contract.units import FRACTION, NORMALISER, Condition, Unit

EVERY = list(CATALOGUE.values())
UNDOCUMENTED = {"TrainerBasics", "TrainerClock", "SupervisedTrainer", "EvalSpeed", "Health"}

COORD_REG = (
    "coord_token_ce,coord_soft_ce,coord_w1,coord_el1,coord_ehuber,"
    "coord_entropy,coord_gate,text_gate"
)
BOX = "bbox_smoothl1,bbox_ciou"


def atoms() -> list[Metric]:
    return [metric for metric in EVERY if metric.key.startswith("loss/")]


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_every_metric_says_what_it_is(metric: Metric) -> None:
    words = set(re.findall(r"[a-z0-9]+", metric.description.lower()))
    assert len(metric.description) >= 10
    assert not metric.description.endswith(".")
    assert words - set(re.findall(r"[a-z0-9]+", metric.key.lower())), "only its name again"
    assert metric.unit
    assert metric.modes
    assert metric.emitted_by
    assert metric.when is None or metric.when in vars(conditions).values()


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_every_metric_of_the_contract_has_a_source(metric: Metric) -> None:
    assert bool(metric.source) != (metric.family in UNDOCUMENTED)


def test_every_family_has_a_text() -> None:
    assert [family.__name__ for family in FAMILIES if not (family.__doc__ or "").strip()] == []


def test_a_line_knows_where_it_stands() -> None:
    """Shortened declaring words must not point at themselves."""
    for page in CATALOGUE.pages:
        places = [metric.declared_at for metric in page.metrics if metric.provenance is None]
        assert len(places) == len(set(places)), page.name
        assert all("catalogue" in path for path, _ in places)


def test_conditions_have_one_name_each() -> None:
    found = [value for value in vars(conditions).values() if isinstance(value, Condition)]
    assert len({condition.name for condition in found}) == len(found)
    assert set(found) - {metric.when for metric in EVERY} == set(), "conditions of no metric"


def test_there_are_twenty_five_atoms() -> None:
    expected = {
        *(f"loss/A1_text/{name}" for name in ("struct_ce", "desc_ce")),
        "loss/A2_text/struct_ce",
        *(f"loss/A2_coord/{name}" for name in f"{BOX},{COORD_REG}".split(",")),
        *(f"loss/B_rollout_text/{name}" for name in ("struct_ce", "desc_ce")),
        *(f"loss/B_coord/{name}" for name in f"{BOX},{COORD_REG}".split(",")),
    }
    assert {metric.key for metric in atoms()} == expected
    assert len(expected) == 25


@pytest.mark.parametrize("atom", atoms(), ids=str)
def test_an_atom_shares_the_population_of_the_loss(atom: Metric) -> None:
    """Else the atoms could not add up to it."""
    assert atom.kind == Objective.loss.kind == "mean"
    assert atom.population == Objective.loss.population == NORMALISER
    assert atom.in_loss
    assert not atom.in_loss_when
    assert atom.when is not None
    assert atom.provenance == atom.key.split("/")[1]


def test_self_context_text_has_no_description_atom() -> None:
    assert not hasattr(SelfContextTextLoss, "desc_ce")
    assert "loss/A2_text/desc_ce" not in CATALOGUE
    assert [metric.key for metric in SelfContextTextLoss.metrics_and_laws()[0]] == [
        "loss/A2_text/struct_ce"
    ]
    assert "desc_ce" in vars(TextLoss(TextContext.ROLLOUT))


def test_each_pass_has_seven_diagnostics_outside_the_loss() -> None:
    diagnostics = [metric for metric in EVERY if metric.family == "CoordDiag"]
    assert Counter(metric.provenance for metric in diagnostics) == {"A1": 7, "A2": 7, "B": 7}
    assert not any(metric.in_loss for metric in diagnostics)
    for forward in Forward:
        when = CoordDiag(forward).p_gt_mean.when
        assert when is not None
        assert ("n_softctx_iter" in when.text) == (forward is Forward.SELF_CONTEXT)


def test_what_is_in_the_loss() -> None:
    conditional = {
        metric.key: metric.in_loss_when
        for metric in EVERY
        if metric.in_loss and metric.in_loss_when
    }
    enabled = "custom.coord_soft_ce_w1.enabled: true"
    assert conditional == {
        "coord_diag/loss": enabled,
        "coord_diag/soft_ce": enabled,
        "coord_diag/w1": enabled,
        "coord_diag/ce": f"{enabled} and ce_weight != 0",
        "coord_diag/gate": f"{enabled} and gate_weight != 0",
    }
    always = {metric.key for metric in EVERY if metric.in_loss and not metric.in_loss_when}
    assert always == {"loss", "base_ce/loss", *(atom.key for atom in atoms())}


# The documented names that break the naming contract, frozen: a new key follows it.
BREAKS_COUNT_SUFFIX = {
    "stage2/raw_rollouts",
    "rollout/parse_dropped_invalid",
    "rollout/parse_dropped_ambiguous",
    "rollout/parse_truncated",
    "rollout/matched_for_supervision",
    "rollout/excluded_from_supervision",
    "rollout/gating_rejections",
    "stage2_ab/channel_b/strict_drop/N_valid_pred",
    "stage2_ab/channel_b/strict_drop/N_drop_invalid",
    *(metric.key for metric in DropReasons.metrics_and_laws()[0]),
    "stage2_ab/channel_b/closure_supervision/N_drop",
    "stage2_ab/channel_b/invalid_rollout",
    "eval_rollout/pred_objects",
    "eval_rollout/gt_objects",
    "eval_rollout/matched",
    "eval_rollout/fp",
    "eval_rollout/fn",
    "eval_rollout/parse_dropped_invalid",
    "eval_rollout/parse_dropped_ambiguous",
    "train/samples_seen",
    "train/micro_steps",
    "packing/post_rollout_segments",
    "packing/post_rollout_buffer",
    "base_ce/noncoord_tokens",
    "coord_diag/coord_tokens",
    "pack/num_samples",
    "accum/grad_steps",
    "accum/current_grad_steps",
}
BREAKS_RATIO_SUFFIX = {
    "rollout/precision",
    "rollout/recall",
    "rollout/f1",
    "rollout/desc_exact_acc_on_matched",
    "rollout/desc_sem_acc_on_matched",
    "packing/post_rollout_fill",
    "stage2_ab/b_ratio_realized",
    "eval_rollout/precision",
    "eval_rollout/recall",
    "eval_rollout/f1",
    "eval_rollout/desc_exact_acc_on_matched",
    "eval_rollout/desc_sem_acc_on_matched",
    "coord_monitor/flip_coord_to_noncoord",
    "coord_monitor/flip_text_to_coord",
    "coord_monitor/flip_format_to_coord",
    "coord_monitor/flip_desc_to_coord",
    "coord_diag/A1/acc_top5",
    "coord_diag/A2/acc_top5",
    "coord_diag/B/acc_top5",
    "coord_diag/acc_top5",
    "token_acc",
    "token_acc_top5",
    "text_token_acc",
    "desc_token_acc",
    "format_token_acc",
    "coord_token_acc",
    "desc_token_acc_top5",
    "format_token_acc_top5",
    "coord_token_acc_top5",
}


def documented_names(metric: Metric) -> set[str]:
    """A train name, and the name in evaluation where the contract spells it out."""
    names = {metric.key} if metric.source and not metric.internal else set()
    if names and "eval" in metric.modes and metric.eval_key.startswith("eval_rollout/"):
        names.add(metric.eval_key)
    return names


def counts(metric: Metric) -> bool:
    whole = isinstance(metric, Derived) and metric.whole
    return (
        metric.kind in {"total", "cumulative"} or whole or metric.unit in {"micro-step", "segment"}
    )


def broken(suffixes: tuple[str, ...], metrics: list[Metric]) -> set[str]:
    names = {name for metric in metrics for name in documented_names(metric)}
    return {name for name in names if not name.endswith(suffixes)}


def test_only_the_frozen_counters_break_the_naming_contract() -> None:
    suffixes = ("_total", "_count", "_sum", "_num", "_den")
    assert broken(suffixes, [metric for metric in EVERY if counts(metric)]) == BREAKS_COUNT_SUFFIX


def test_only_the_frozen_ratios_break_the_naming_contract() -> None:
    ratios = [metric for metric in EVERY if metric.unit == FRACTION]
    assert broken(("_rate", "_frac"), ratios) == BREAKS_RATIO_SUFFIX


@pytest.mark.parametrize(
    ("train", "evaluation"),
    [
        ("rollout/gt_objects_total", "eval_rollout/gt_objects"),
        ("rollout/valid_pred_objects_total", "eval_rollout/pred_objects"),
        ("rollout/matched_for_supervision", "eval_rollout/matched"),
        ("rollout/fn_total", "eval_rollout/fn"),
        ("rollout/desc_sem_enabled", "eval_rollout/desc_sem_enabled"),
        ("rollout/f1", "eval_rollout/f1"),
        ("loss", "eval_loss"),
        ("coord_diag/loss", "eval_coord_diag/loss"),
        ("eval_rollout/mAP", "eval_rollout/mAP"),
        ("eval_runtime", "eval_runtime"),
        ("contract/dropped_total", "contract/dropped_total"),
        ("epoch", "epoch"),
    ],
)
def test_names_in_evaluation(train: str, evaluation: str) -> None:
    assert CATALOGUE[train].eval_key == evaluation


def test_evaluation_of_rollouts_has_twenty_two_keys() -> None:
    """Sixteen that are always documented, and six of the description monitor."""
    found = {
        metric.eval_key
        for metric in EVERY
        if "eval" in metric.modes and not metric.internal
        if metric.eval_key.startswith("eval_rollout/")
    }
    names = (
        "precision recall f1 pred_objects gt_objects matched fp fn parse_truncated_rate "
        "parse_dropped_invalid parse_dropped_ambiguous sample_valid_pred_rate "
        "sample_any_match_rate matched_maskiou_mean mAP coco_eval_ok desc_pairs_total "
        "desc_exact_acc_on_matched desc_sem_enabled desc_sem_acc_on_matched desc_sem_sim_mean "
        "desc_sem_sim_count"
    )
    assert found == {f"eval_rollout/{name}" for name in names.split()}


def test_the_embedding_model_is_anywhere_in_training_and_everywhere_in_evaluation() -> None:
    train = CATALOGUE["rollout/desc_sem_enabled"]
    assert train.eval_twin is EvalRollout.desc_sem_enabled
    assert (train.everywhere, EvalRollout.desc_sem_enabled.everywhere) == (False, True)  # type: ignore[attr-defined]


def test_legacy_names_are_written_beside_the_canonical_ones() -> None:
    for name in ("loss", "soft_ce", "w1", "ce", "gate"):
        assert CATALOGUE[f"coord_diag/{name}"].logged_aliases == (f"coord_softce_w1/{name}",)
    for kind in ("desc", "format", "coord"):
        assert CATALOGUE[f"{kind}_token_entropy"].key == f"{kind}_entropy"


@pytest.mark.parametrize(
    ("key", "replacements"),
    [
        (
            "loss/bbox_geo_obj",
            [f"loss/{source}/{name}" for source in Pass for name in BOX.split(",")],
        ),
        (
            "loss/coord_reg_obj",
            [f"loss/{source}/{name}" for source in Pass for name in COORD_REG.split(",")],
        ),
        ("obj/A2_coord/bbox_ciou", ["loss/A2_coord/bbox_ciou"]),
        ("loss/anything_obj", []),
        ("loss/B_coord/geo", ["loss/B_coord/bbox_smoothl1", "loss/B_coord/bbox_ciou"]),
    ],
)
def test_removed_keys_say_what_replaces_them(key: str, replacements: list[str]) -> None:
    with pytest.raises(RemovedKeyError) as error:
        CATALOGUE[key]
    assert list(error.value.replacements) == replacements


def test_a_replacement_is_a_metric() -> None:
    """Except where it follows the key that was asked for."""
    offered = [key for entry in CATALOGUE.removed for key in entry.replacements if "{" not in key]
    assert len(offered) > 50
    assert [key for key in offered if key not in CATALOGUE] == []


@pytest.mark.parametrize("key", ["loss/ce", "loss/coord", "loss/coord_prefix", "loss/coord_tail"])
def test_legacy_losses_suggest_atoms(key: str) -> None:
    with pytest.raises(RemovedKeyError) as error:
        CATALOGUE[key]
    assert error.value.replacements


def test_no_declared_key_is_removed_or_suppressed() -> None:
    for metric in EVERY:
        assert not any(entry.match(metric.key) is not None for entry in CATALOGUE.removed)
        assert not CATALOGUE.is_suppressed(metric.eval_key, "eval")


def test_other_coco_summaries_are_suppressed() -> None:
    assert CATALOGUE.is_suppressed("eval_rollout/bbox_AP50", "eval")
    assert CATALOGUE.is_suppressed("rollout/segm_AP", "eval")
    assert not CATALOGUE.is_suppressed("eval_rollout/mAP", "eval")


def test_an_unknown_drop_reason_reads_as_other() -> None:
    """The last line of the family stands for names beyond the declared ones."""
    prefix = "stage2_ab/channel_b/strict_drop/reason"
    assert CATALOGUE.pages[FAMILIES.index(DropReasons)].metrics[-1].name == "other"
    assert (
        CATALOGUE[f"{prefix}/upside_down"].description == CATALOGUE[f"{prefix}/other"].description
    )
    assert f"{prefix}/up/down" not in CATALOGUE


def test_an_ordinary_log_holds_no_unknown_key() -> None:
    logged = (
        "loss grad_norm learning_rate epoch train_runtime train_samples_per_second "
        "train_steps_per_second total_flos train_loss num_input_tokens_seen "
        "train_tokens_per_second memory(GiB) train_speed(iter/s) loss_scale token_acc entropy "
        "num_tokens mean_token_accuracy eval_loss eval_runtime eval_samples_per_second "
        "eval_steps_per_second eval_model_preparation_time eval_entropy eval_num_tokens "
        "eval_mean_token_accuracy eval_token_acc train/loss eval/loss"
    )
    assert [key for key in logged.split() if key not in CATALOGUE] == []


def test_rates_that_evaluation_logs_can_be_computed_there() -> None:
    """An input that evaluation does not log is no less observed there."""
    assert CATALOGUE["rollout/parse_truncated_rate"].modes == ("train", "eval")
    assert CATALOGUE["rollout/parse_truncated"].modes == ("train",)


def test_units_are_units() -> None:
    assert all(type(metric.unit) is Unit for metric in EVERY)
    assert all(metric.population is None or type(metric.population) is Unit for metric in EVERY)


def test_loss_atoms_are_typed_by_pass() -> None:
    assert CoordLoss(Pass.B).bbox_ciou.key == "loss/B_coord/bbox_ciou"
    assert TextLoss(TextContext.GT_ANCHOR).desc_ce.key == "loss/A1_text/desc_ce"
