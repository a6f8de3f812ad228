"""What the doctor must find, unaided, in the log of a real run; each was checked by hand."""

import pytest

from coordexp_metrics import read
from coordexp_metrics.audit.doctor import Context, examine


@pytest.fixture(scope="module")
def found(request):
    from ..conftest import REAL_LOG

    if not REAL_LOG.exists():
        pytest.skip("the log of a real run is not beside this checkout")
    findings = examine(read(REAL_LOG)).findings
    return {(finding.rule, finding.key): finding for finding in findings}


def test_helpers_that_leaked(found):
    leaked = {key for rule, key in found if rule == "CXM203"}
    assert {key.removeprefix("snapshot/") for key in leaked} == {
        "stage2_ab/channel_b/_prompt_tok_mismatch_den",
        "stage2_ab/channel_b/_prompt_tok_mismatch_num",
    }


def test_a_count_multiplied_by_the_number_of_packs(found):
    """2880 = 160 x 18; the sixth row has 19 micro-steps, and 2907 = 153 x 19."""
    evidence = found["CXM530", "rollout/matched_for_supervision_count"].evidence
    assert evidence["factor"] == [18, 18, 18, 19, 18, 18]
    assert evidence["factor_key"] == "train/micro_steps"
    assert evidence["true_values"] == [160, 164, 183, 153, 166, 180]


def test_a_seed_diluted_nineteenfold_is_recovered(found):
    """52084.375 x 96 / 5 = 1000020; the seeds are a line over the steps, exactly."""
    evidence = found["CXM540", "rollout/seed_base"].evidence
    assert evidence["factor"] == pytest.approx([19.2, 19.2, 19.2, 19.2, 16, 19.2])
    assert evidence["true_values"] == [1000020, 2000023, 3000026, 5000032, 6000035, 7000038]


@pytest.mark.parametrize(
    ("key", "sums"),
    [
        ("dup/raw/max_desc_count", [142, 154, 137, 176, 213, 149]),
        ("dup/raw/duplicate_like_max_cluster_size", [111, 105, 100, 129, 138, 118]),
    ],
)
def test_a_greatest_count_below_one_is_diluted_by_the_factor_of_the_seed(found, key, sums):
    """By 19.2 and 16 each is a mean over 96 samples of whole numbers, none below one."""
    true = found["CXM540", key].evidence["true_values"]
    assert true == pytest.approx([number / 96 for number in sums], abs=1e-6)


def test_gauges_beside_them_are_suspected(found):
    for key in ("dup/raw/desc_entropy", "dup/raw/saturation_rate"):
        assert found["CXM540", key].evidence["confidence"] < 0.7


def test_a_gauge_that_can_never_return_to_zero(found):
    """188 drops of step 4 stand at step 6 too, where the other buckets add up without it."""
    key = "snapshot/stage2_ab/channel_b/strict_drop/reason/missing_desc"
    values = [offender["value"] for offender in found["CXM551", key].evidence["offenders"]]
    assert values == [188, 2]


def test_rollouts_are_counted_three_times(found):
    evidence = found["CXM531", "stage2/raw_rollouts"].evidence
    assert evidence["factor"] == 3
    assert set(evidence["true_values"]) == {96}
    assert evidence["policies"] == ["rollout/anchor/", "rollout/explorer/"]


@pytest.mark.parametrize(
    ("key", "true"),
    [
        ("rollout/explorer/pred_objects", [194, 184, 236, 252, 238, 227]),
        ("rollout/explorer/valid_pred_objects", [193, 183, 236, 252, 236, 225]),
        (
            "packing/post_rollout_selected_total_len",
            [235752, 231761, 233320, 234627, 232833, 235805, 234462, 231763],
        ),
    ],
)
def test_means_under_the_names_of_counts(found, key, true):
    assert found["CXM510", key].evidence["true_values"] == true


def test_more_matches_than_predictions_and_than_ground_truth(found):
    universe = found["CXM522", "rollout/matched_for_supervision_count"].evidence["universe"]
    assert universe in {"rollout/gt_objects_total", "rollout/valid_pred_objects_total"}


def test_a_universe_that_is_not_conserved(found):
    """20 dropped against 14: the six whose box was invalid are in one count only."""
    evidence = found["CXM523", "rollout/parse_dropped_invalid"].evidence
    assert evidence["twin"] == "stage2_ab/channel_b/strict_drop/N_drop_invalid"
    assert evidence["missing"].endswith("bbox_invalid")
    assert evidence["count"] == evidence["of"] == 6


def test_texts_among_the_numbers(found):
    texts = {key for rule, key in found if rule == "CXM306"}
    assert texts == {"percentage", "elapsed_time", "remaining_time", "global_step/max_steps"}


def test_snapshots_that_are_carried(found):
    (snapshot,) = [finding for (rule, _), finding in found.items() if rule == "CXM550"]
    assert snapshot.evidence["prefix"] == "snapshot/"
    assert len(snapshot.evidence["keys"]) > 100


def test_a_copy_that_is_not_its_original(found):
    """The copy of step 4 says 99 truncated of 288; step 4 itself said 47 of 96."""
    assert found["CXM553", "snapshot/rollout/parse_truncated"].evidence["offenders"][0] == {
        "line": 5, "step": 5, "value": 99, "expected": 47,
    }  # fmt: skip


def test_clocks_of_the_run_among_clocks_of_the_step(found):
    clocks = {key for rule, key in found if rule == "CXM571"}
    assert clocks == {"time/rollout_total_time", "time/sft_total_time"}


def test_a_rate_that_is_always_one(found):
    assert ("CXM563", "train/triage/recovered_ground_truth_rate") in found


def test_nothing_else_is_found(found):
    """Σ atoms = loss, the parse and triage identities, F1, the per-sample ratios all hold."""
    rules = {rule for rule, _ in found}
    assert rules == {
        "CXM203", "CXM306", "CXM510", "CXM522", "CXM523", "CXM530", "CXM531", "CXM540", "CXM550",
        "CXM551", "CXM553", "CXM562", "CXM563", "CXM570", "CXM571",
    }  # fmt: skip


def test_what_is_told_of_the_run_names_factors(real_log):
    findings = examine(read(real_log), context=Context(ranks_rollout=3)).findings
    (rollouts,) = [finding for finding in findings if finding.rule == "CXM531"]
    assert "the ranks that generate" in rollouts.message
