"""A key stands where its condition holds and nowhere else; what was asked for is answered."""

import json

import pytest

from coordexp_metrics import CATALOGUE
from coordexp_metrics.audit.baseline import Baseline, BaselineError
from coordexp_metrics.audit.conditions import EVIDENCE, RULES, SETTINGS
from coordexp_metrics.audit.context import Context
from coordexp_metrics.audit.live_check import Wanted, live_check
from coordexp_metrics.audit.placing import BRINGING, SPARSE
from coordexp_metrics.audit.readers import SourceError, read, read_all
from coordexp_metrics.contract.record import Record

A_STEP = {"loss": 1.0, "stage2/channel_b": 0.0}
B_STEP = {"loss": 1.0, "stage2/channel_b": 1.0, "stage2/raw_rollouts": 4}
ROLLOUT = {"rollout/gt_objects_total": 3, "time/rollout_generate_s": 2.5}
CHANNEL = {"stage2_ab/channel_b/invalid_rollout": 0}
TWO, ALIGNED = "stage2_two_channel", "stage2_rollout_aligned"


def train(*rows):
    return [
        Record("train", step, row, origin=("a.jsonl", step)) for step, row in enumerate(rows, 1)
    ]


def found(records, context=None, **wanted):
    report = live_check(records, context=context, wanted=Wanted(**wanted))
    return sorted({(f.rule, f.key) for f in report.findings})


def told(variant=None, **settings):
    return Context(variant, {name.replace("__", "."): value for name, value in settings.items()})


def test_a_clean_run_of_two_channels_has_no_findings():
    rows = [A_STEP, B_STEP | ROLLOUT | CHANNEL, A_STEP, B_STEP | ROLLOUT | CHANNEL]
    report = live_check(train(*rows))
    assert (report.findings, report.exit_code(strict=True)) == ((), 0)


def test_a_clean_hugging_face_log_has_no_findings(hf_log):
    assert live_check(read(hf_log)).findings == ()


@pytest.mark.parametrize("key", ["rollout/f1", "rollout/of_a_later_contract", "train/rollout/f1"])
def test_a_key_of_a_rollout_on_a_step_without_one_is_found(key):
    rules = [rule for rule, name in found(train(A_STEP | {key: 0.5})) if name == key]
    assert "CXM411" in rules


@pytest.mark.parametrize("evidence", [{"stage2/channel_b": 0.0}, {"stage2/raw_rollouts": 0}])
def test_a_literal_zero_is_called_a_zero(evidence):
    row = (
        {"loss": 1.0} | evidence | {"time/rollout_generate_s": 0.0, "time/rollout_parse_match_s": 2}
    )
    assert found(train(row)) == [
        ("CXM411", "time/rollout_parse_match_s"),
        ("CXM412", "time/rollout_generate_s"),
    ]


def test_a_step_whose_rollouts_are_counted_ran_them_whatever_its_flag_says():
    row = A_STEP | {"stage2/raw_rollouts": 4} | ROLLOUT | CHANNEL
    assert found(train(row)) == []


def test_without_evidence_nothing_is_concluded():
    assert found(train({"loss": 1.0} | ROLLOUT)) == []
    assert found(train({"loss": 1.0, "coord_diag/A2/acc_top5": 0.5})) == []


def test_diagnostics_of_a_channel_that_did_not_run_are_found():
    assert found(train(A_STEP | {"coord_diag/B/acc_top5": 0.5})) == [
        ("CXM411", "coord_diag/B/acc_top5")
    ]
    assert found(train(A_STEP | {"coord_diag/A1/acc_top5": 0.5})) == []


@pytest.mark.parametrize("name", ["n_softctx_iter", "stage2_ab.n_softctx_iter"])
def test_A2_with_one_iteration_is_found(name):
    keys = ("coord_diag/A2/acc_top5", "loss/A2_text/struct_ce")
    rows = train(dict.fromkeys(keys, 0.5) | {"loss": 0.75, "loss/A2_coord/bbox_ciou": 0.25})
    assert found(rows, Context(settings={name: 1})) == [("CXM411", key) for key in keys]
    assert found(rows, Context(settings={name: 2})) == []


def test_bare_coord_diag_in_stage_2_is_found_by_the_record_or_by_what_was_told():
    bare = {"coord_diag/loss": 0.5}
    assert found(train(A_STEP | bare)) == [("CXM415", "coord_diag/loss")]
    assert found(train({"loss": 1.0} | bare)) == []
    assert found(train({"loss": 1.0} | bare), told(ALIGNED)) == [("CXM415", "coord_diag/loss")]
    assert found(train({"loss": 1.0} | bare), told("stage1")) == []


def test_a_variant_proven_by_one_record_holds_for_its_file():
    rows = [*train(A_STEP), Record("eval", 1, {"eval_coord_diag/loss": 0.5}, origin=("a.jsonl", 2))]
    assert found(rows) == [("CXM415", "eval_coord_diag/loss")]
    other = Record("eval", 1, {"eval_coord_diag/loss": 0.5}, origin=("b.jsonl", 1))
    assert found([*train(A_STEP), other]) == []


def test_eval_loss_is_no_key_of_the_rollout_aligned_trainer():
    rows = [Record("eval", 1, {"eval_loss": 0.5})]
    assert found(rows, told(ALIGNED)) == [("CXM415", "eval_loss")]
    assert found(rows, told(TWO)) == found(rows) == []
    assert found(train({"loss": 1.0}), told(ALIGNED)) == []


def test_keys_of_two_channels_are_none_of_the_other_variants():
    rows = train({"loss": 1.0, "stage2/channel_b": 1.0} | ROLLOUT)
    assert ("CXM415", "stage2/channel_b") in found(rows, told(ALIGNED))
    assert ("CXM415", "rollout/gt_objects_total") in found(rows, told("stage1"))


CONDITIONS = {
    "desc_embeddings": ({"rollout/desc_sem_enabled": 0}, "rollout/desc_sem_acc_on_matched"),
    "coord_loss": ({"coord_diag/enabled": 0}, "base_ce/loss"),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_flag_that_is_0_takes_its_keys_along(condition):
    flag, key = CONDITIONS[condition]
    assert found(train(flag | {key: 0.5})) == [("CXM411", key)]
    assert found(train(dict.fromkeys(flag, 1) | {key: 0.5})) == []


def test_a_failed_coco_evaluation_has_no_mAP():
    row = {"eval_rollout/coco_eval_ok": 0, "eval_rollout/mAP": 0.0}
    assert found([Record("eval", 1, row)]) == [("CXM412", "eval_rollout/mAP")]
    row["eval_rollout/coco_eval_ok"] = 1
    assert found([Record("eval", 1, row)]) == []


OFF = {
    "custom.token_type_metrics.log_top5": "token_acc_top5",
    "log_top5": "desc_token_acc_top5",
    "token_type_metrics.enabled": "desc_token_acc",
    "custom.token_type_metrics.coord_monitor_mass": "coord_monitor/coord_vocab_mass_at_gt_coord",
    "custom.coord_soft_ce_w1.enabled": "base_ce/loss",
    "desc_monitor.enabled": "rollout/desc_pairs_total",
    "coord_diag.weight": "coord_diag/A1/acc_top5",
}


@pytest.mark.parametrize("name", OFF)
def test_what_was_told_to_be_off_must_not_show(name):
    rows = train({"loss": 1.0, OFF[name]: 0.5})
    for off in (False, 0, "no"):
        assert ("CXM411", OFF[name]) in found(rows, Context(settings={name: off}))
    assert not any(rule == "CXM411" for rule, _ in found(rows, Context(settings={name: True})))


def test_what_was_told_to_be_on_must_show():
    context = told(custom__token_type_metrics__log_top5=True)
    assert [rule for rule, _ in found(train({"loss": 1.0}), context)] == ["CXM413"]
    assert found(train({"loss": 1.0, "token_acc_top5": 0.5}), context) == []


def test_a_rollout_without_a_key_of_it_is_found():
    assert found(train(B_STEP)) == [("CXM413", "rollout/"), ("CXM413", "stage2_ab/channel_b/")]


def test_a_count_that_comes_and_goes_is_a_warning():
    rows = [B_STEP | ROLLOUT | CHANNEL] * 3 + [
        B_STEP | {"rollout/matched_for_supervision": 1} | CHANNEL
    ]
    report = live_check(train(*rows))
    said = {f.key: f.evidence for f in report.findings if f.rule == "CXM414"}
    assert set(said) == {"rollout/gt_objects_total", "rollout/matched_for_supervision"}
    assert (
        said["rollout/matched_for_supervision"]["due"],
        said["rollout/matched_for_supervision"]["present"],
    ) == (4, 1)
    assert said["rollout/gt_objects_total"]["places"] == [["a.jsonl", 4]]
    assert (report.exit_code(), report.exit_code(strict=True)) == (0, 1)


def test_open_buckets_come_and_go_as_they_like():
    reason = {"stage2_ab/channel_b/strict_drop/reason/missing_desc": 1}
    rows = [B_STEP | ROLLOUT | CHANNEL | reason, B_STEP | ROLLOUT | CHANNEL]
    assert found(train(*rows)) == []


def header(**more):
    return {"header": {"format": 1, "definitions": {}, "parameters": {}, **more}}


def payload(metrics, mode="train", step=1):
    return {"schema_version": 1, "mode": mode, "global_step": step, "metrics": metrics}


def test_a_header_tells_variant_and_settings_and_the_caller_knows_better(log):
    run = {"config": {"custom": {"trainer_variant": ALIGNED}}}
    path = log(header(run=run), payload({"loss": 1.0}, "eval"))
    assert found(read(path)) == [("CXM415", "loss")]
    assert found(read(path), told(TWO)) == []
    pipeline = {"extra": {"variant": ALIGNED}}
    assert found(read(log(header(pipeline=pipeline), payload({"loss": 1.0}, "eval")))) == [
        ("CXM415", "loss")
    ]
    row = payload({"coord_diag/A2/acc_top5": 0.5})
    assert found(read(log(header(parameters={"n_softctx_iter": 1}), row))) == [
        ("CXM411", "coord_diag/A2/acc_top5")
    ]


def test_a_definition_that_changed_between_two_runs_is_found_with_both(log):
    digest = CATALOGUE["loss"].digest
    one = log(header(definitions={"loss": digest}), payload({"loss": 1.0}), name="a.jsonl")
    two = log(header(definitions={"loss": "0" * 16}), payload({"loss": 1.0}), name="b.jsonl")
    report = live_check(read_all([str(one), str(two)]))
    said = {f.rule: f for f in report.findings}
    assert set(said) == {"CXM209", "CXM418"}
    assert said["CXM418"].path == str(two)
    assert said["CXM418"].evidence["definitions"] == [f"'{digest}'", f"'{'0' * 16}'"]
    assert live_check(read_all([str(one), str(one)])).findings == ()


def test_formulas_follow_the_parameters_of_the_header_at_hand(log):
    parts = {"soft_ce": 1.0, "w1": 2.0, "ce": 0.0, "gate": 0.0}
    row = {f"coord_diag/{name}": value for name, value in parts.items()}
    weights = {"soft_ce_weight": 1.0, "ce_weight": 0.0, "gate_weight": 0.0}
    paths = [
        log(
            header(parameters={**weights, "w1_weight": weight}),
            payload({**row, "coord_diag/loss": 1.0 + 2.0 * weight}),
            name=f"{weight}.jsonl",
        )
        for weight in (0.5, 1.0)
    ]
    assert found(read_all([str(path) for path in paths])) == []
    # A setting that is told does not hide the parameters of the headers, only its own.
    assert found(read_all([str(path) for path in paths]), told(n_softctx_iter=2)) == []
    assert found(read_all([str(path) for path in paths]), told(w1_weight=0.5)) == [
        ("CXM401", "coord_diag/loss")
    ]


def test_the_scope_is_globs_or_families_and_an_empty_one_is_2():
    rows = train(A_STEP | {"rollout/f1": 0.5, "coord_diag/loss": 0.5, "nonsense": 1.0})
    assert found(rows, scope=["rollout/*"]) == [("CXM411", "rollout/f1")]
    assert found(rows, scope=["matching"]) == [("CXM411", "rollout/f1")]
    assert found(rows, scope=["nons*", "rollout/*"]) == [
        ("CXM201", "nonsense"),
        ("CXM411", "rollout/f1"),
    ]
    report = live_check(rows, wanted=Wanted(scope=["elsewhere/*"]))
    assert (report.findings, report.exit_code()) == ((), 2)


def test_required_keys_may_be_globs_and_any_spelling_counts():
    rows = train({"train/loss": 1.0})
    assert found(rows, require=["loss", "train/*", "lo?s"]) == []
    assert found(rows, require=["loss", "eval_*"]) == [("CXM416", "eval_*")]
    assert found(rows, require=["eval_*"], scope=["loss"]) == [("CXM416", "eval_*")]


def test_coverage_counts_what_was_due_and_no_more():
    report = live_check(train(A_STEP), context=told(TWO), wanted=Wanted(scope=["stage2/*"]))
    coverage = report.statistics["coverage"]
    assert (coverage["met"], coverage["due"], coverage["percent"]) == (1, 2, 50.0)
    assert coverage["missing"] == ["stage2/raw_rollouts"]
    for least, code in ((50, 0), (50.1, 1)):
        wanted = Wanted(scope=["stage2/*"], least_coverage=least)
        assert live_check(train(A_STEP), context=told(TWO), wanted=wanted).exit_code() == code
    aligned = live_check(train({"loss": 1.0}), context=told(ALIGNED)).statistics["coverage"]
    assert "stage2/raw_rollouts" not in aligned["missing"]
    assert not any(key.startswith("eval_") for key in aligned["missing"])
    off = told(TWO, log_top5=False)
    assert (
        "token_acc_top5"
        not in live_check(train(A_STEP), context=off).statistics["coverage"]["missing"]
    )


def test_every_key_that_was_met_is_listed():
    met = live_check(train({"train/loss": 1.0, "mine": 2.0}, {"mine": 1.0})).statistics["met"]
    assert met == {
        "train/loss": {"metric": "loss", "records": 1},
        "mine": {"metric": None, "records": 2},
    }


def test_known_findings_are_muted_and_counted_and_new_ones_are_not():
    rows = train(A_STEP | {"rollout/f1": 0.5}, A_STEP | {"rollout/f1": 0.5})
    known = Baseline.of(live_check(rows).findings)
    wanted = Wanted(baseline=known)
    report = live_check(rows, wanted=wanted)
    assert (report.findings, report.exit_code()) == ((), 0)
    assert report.statistics["muted"] == {"findings": 1, "records": 2, "gone": 0}
    new = live_check(train(A_STEP | {"rollout/f1": 0.0}), wanted=wanted)
    assert [(f.rule, f.key) for f in new.findings] == [("CXM412", "rollout/f1")]
    assert new.statistics["muted"] == {"findings": 0, "records": 0, "gone": 1}


def test_a_baseline_never_hides_that_something_could_not_be_checked(log):
    path = log(b"\x1f\x8b junk")
    report = live_check(read_all([str(path)]))
    known = Baseline.of(report.findings)
    assert live_check(read_all([str(path)]), wanted=Wanted(baseline=known)).exit_code() == 2


NO_BASELINES = {
    "empty": "",
    "list": "[]",
    "object": "{}",
    "other format": '{"format": 2, "findings": []}',
    "no strings": '{"format": 1, "findings": [{"rule": 1, "key": "", "detail": ""}]}',
    "nested": "[" * 10**5,
}


@pytest.mark.parametrize("text", NO_BASELINES.values(), ids=NO_BASELINES)
def test_a_file_that_is_no_baseline_is_refused(tmp_path, text):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match="--update-baseline"):
        Baseline.read(str(path))
    with pytest.raises(SourceError):
        Baseline.read(str(tmp_path / "nothing"))


def test_the_verb_adopts_a_baseline_and_gates(command, log, tmp_path):
    path, baseline = log(payload(A_STEP | {"rollout/f1": 0.5})), tmp_path / "baseline.json"
    assert command("live-check", path).exit_code == 1
    assert command("live-check", path, "--baseline", baseline).exit_code == 2
    adopted = command("live-check", path, "--baseline", baseline, "--update-baseline")
    assert adopted.exit_code == 0
    assert "1 more are in the baseline" in adopted.stdout
    assert command("live-check", path, "--baseline", baseline).exit_code == 0
    worse = log(payload(A_STEP | {"rollout/f1": 0.5, "loss/ce": 1.0}))
    result = command("live-check", worse, "--baseline", baseline, "--format", "json")
    assert result.exit_code == 1
    assert [f["rule"] for f in json.loads(result.stdout)["findings"]] == ["CXM202"]


def test_the_verb_takes_its_options_and_refuses_wrong_ones(command, log):
    path = log(payload({"loss": 1.0, "coord_diag/A2/acc_top5": 0.5}))
    assert command("live-check", path).exit_code == 0
    assert command("live-check", path, "--config", "n_softctx_iter=1").exit_code == 1
    assert command("live-check", path, "--config", "w1_weight=1.0").exit_code == 0
    assert command("live-check", path, "--variant", "stage1").exit_code == 1
    assert command("live-check", path, "--config", "custom.trainer_variant=stage1").exit_code == 1
    assert command("live-check", path, "--require", "loss", "--scope", "loss").exit_code == 0
    assert command("live-check", path, "--require", "grad_norm").exit_code == 1
    assert command("live-check", path, "--fail-on-coverage-below", "99").exit_code == 1
    for wrong in (
        ("--variant", "stage3"),
        ("--config", "n_softctx_iters=1"),
        ("--config", "=1"),
        ("--fail-on-coverage-below", "101"),
        ("--update-baseline",),
        ("--scope", "nothing/*"),
    ):
        assert command("live-check", path, *wrong).exit_code == 2, wrong
    assert command("live-check", path.parent / "nothing").exit_code == 2


def test_a_baseline_is_never_written_over_a_source(command, log):
    path = log(payload(A_STEP | {"rollout/f1": 0.5}))
    before = path.read_bytes()
    assert command("live-check", path, "--baseline", path, "--update-baseline").exit_code == 2
    assert path.read_bytes() == before


SPELLINGS = {
    "eval_rollout/gt_objects_total": (
        "CXM205",
        "rollout/gt_objects_total",
        "eval_rollout/gt_objects",
    ),
    "rollout/mAP": ("CXM205", "eval_rollout/mAP", "eval_rollout/mAP"),
    "train_rollout/f1": ("CXM205", "rollout/f1", "rollout/f1"),
    "val_loss": ("CXM205", "loss", "eval_loss"),
    "rollout/rollout/f1": ("CXM205", "rollout/f1", "rollout/f1"),
    "train/loss/ce": ("CXM202", None, "loss/A1_text/struct_ce"),
    "snapshot/rollout/f1": ("CXM211", "rollout/f1", "older step"),
    "eval_coco_loss": ("CXM212", "loss", "'coco'"),
    "eval_my_set_rollout/f1": ("CXM212", "rollout/f1", "'my_set'"),
}


@pytest.mark.parametrize("key", SPELLINGS)
def test_a_name_put_on_wrongly_is_told_with_the_right_one(key):
    rule, metric, said = SPELLINGS[key]
    (finding,) = live_check(train({key: 0.5})).findings
    assert (finding.rule, finding.metric) == (rule, metric)
    assert said in finding.message


def test_a_snapshot_of_what_nobody_declared_is_still_unknown():
    assert found(train({"snapshot/mine/x": 0.5})) == [("CXM207", "snapshot/mine/x")]
    rows = train({"mine/x": 0.5}, {"snapshot/mine/x": 0.5})  # named under its own name
    assert found(rows) == [("CXM207", "mine/x"), ("CXM211", "snapshot/mine/x")]


def test_every_condition_that_is_judged_is_in_the_catalogue():
    names = {metric.when.name for metric in CATALOGUE.values() if metric.when is not None}
    assert set(RULES) <= names
    assert set(SPARSE.values()) | set(BRINGING) <= set(RULES)
    assert all(key in CATALOGUE for key in EVIDENCE)
    undecided = {"atom_weight", "stage2", "loss_scaling", "counts_input_tokens", "counted"}
    assert names - set(RULES) == undecided
    assert len(SETTINGS) == len(set(SETTINGS))


def test_the_real_log_has_these_faults_of_presence_and_no_others(real_log):
    report = live_check(read(real_log))
    assert report.exit_code() == 1
    presence = {(f.rule, f.key, f.count) for f in report.findings if f.rule.startswith("CXM41")}
    bare = ("acc_top5", "expected_bin_abs_err_p90", "expected_bin_mae", "margin_mean", "p_gt_mean")
    assert presence == {
        ("CXM412", "time/rollout_total_time", 1),
        ("CXM411", "time/rollout_total_time", 1),
        *(("CXM415", f"coord_diag/{name}", 2) for name in bare),
    }
    assert sum(f.rule == "CXM211" for f in report.findings) == 137
    assert report.statistics["coverage"]["families"]["Matching"] == [14, 14]
    assert "Stage1CoordDiag" not in report.statistics["coverage"]["families"]


def test_a_value_below_its_bound_is_found_as_one_above():
    for value in (-0.5, 1.5):
        assert found(train({"loss": 1.0, "rollout/f1": value})) == [("CXM304", "rollout/f1")]


def test_what_is_told_counts_more_than_what_a_header_says(log):
    row = payload({"coord_diag/A2/acc_top5": 0.5})
    path = log(header(parameters={"n_softctx_iter": 1}), row)
    assert found(read(path), told(n_softctx_iter=2)) == []


def test_a_bare_enabled_is_the_name_of_nothing():
    assert Context(settings={"enabled": 0}).setting("custom.token_type_metrics.enabled") is None
    assert Context(settings={"log_top5": 0}).setting("custom.token_type_metrics.log_top5") == 0


def test_keys_of_another_variant_are_not_due():
    missing = live_check(train(A_STEP), context=told(TWO)).statistics["coverage"]["missing"]
    assert "coord_diag/loss" not in missing
    assert "coord_diag/B/acc_top5" in missing
