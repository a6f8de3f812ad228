"""Every rule is found where its fault is, and nothing is found in a clean log."""

import json

import pytest

from coordexp_metrics import CATALOGUE
from coordexp_metrics.audit.families import Families
from coordexp_metrics.audit.findings import FURTHER, MAX_GROUPS, MAX_PLACES, Findings
from coordexp_metrics.audit.readers import read, read_all
from coordexp_metrics.audit.rules import RULE_OF_CODE, RULES
from coordexp_metrics.audit.validate import validate
from coordexp_metrics.contract.record import Record


def rules_in(*records, **options):
    return sorted({finding.rule for finding in validate(records, **options).findings})


def test_a_clean_hugging_face_log_has_no_findings(hf_log):
    report = validate(read(hf_log))
    assert report.findings == ()
    assert report.exit_code() == report.exit_code(strict=True) == 0
    assert report.statistics["records"] == 4


def test_nothing_checked_is_never_clean(log):
    assert validate([]).exit_code() == 2
    assert validate(read(log(b""))).exit_code() == 2
    assert validate(read_all(["/nowhere/at/all.jsonl"])).exit_code() == 2


FAULTS = {
    "CXM201": Record("train", 1, {"coord_diag/acc_topp5": 0.5}),
    "CXM202": Record("train", 1, {"loss/ce": 0.5}),
    "CXM203": Record("train", 1, {"rollout/_samples": 5.0}),
    "CXM204": Record("eval", 1, {"eval_rollout/bbox_AP50": 0.5}),
    "CXM205": Record("train", 1, {"eval_rollout/f1": 0.5}),
    "CXM206": Record("train", 1, {"coord_diag/loss": 0.5, "coord_softce_w1/loss": 0.25}),
    "CXM207": Record("train", 1, {"diag/duplicate_burst/num_terms": 5.0}),
    "CXM208": Record("train", 1, {"loss\n": 5.0}),
    "CXM301": Record("train", 1, {}, skipped={"loss": '"0.5"'}),
    "CXM302": Record("train", 1, {}, skipped={"rollout/do_sample": "true"}),
    "CXM303": Record("train", 1, {}, {"loss": "nan"}),
    "CXM304": Record("train", 1, {"rollout/f1": 1.2}),
    "CXM305": Record("train", 1, {"rollout/gt_objects_total": 12.5}),
    "CXM306": Record("train", 1, {}, skipped={"percentage": '"12.50%"'}),
    "CXM501": Record("train", 1, {"loss": 0.5}, health={"contract/rejected_total": 3}),
    "CXM133": Record("train", 1, {"loss": 0.5}, extra={"notes": {}}),
}


@pytest.mark.parametrize("rule", FAULTS)
def test_each_fault_is_found_by_its_rule_alone(rule):
    assert rules_in(FAULTS[rule]) == [rule]


def test_an_alias_beside_its_twin_with_the_same_value_is_no_conflict():
    row = {"coord_diag/loss": 0.5, "coord_softce_w1/loss": 0.5}
    assert rules_in(Record("train", 1, row)) == []


@pytest.mark.parametrize("key", ["eval_eval_loss", "eval/eval_loss", "train/eval/loss"])
def test_a_prefix_put_on_twice_is_named_once(key):
    (finding,) = validate([Record("eval", 1, {key: 0.5})]).findings
    assert (finding.rule, finding.key) == ("CXM205", key)


@pytest.mark.parametrize("key", ["train/loss", "train/samples_total", "train/train/samples_total"])
def test_a_dashboards_form_of_a_name_is_fine(key):
    assert rules_in(Record("train", 1, {key: 5})) == []


def test_a_law_that_does_not_hold_is_found_with_both_sides():
    row = {
        "rollout/matched_for_supervision": 160,
        "rollout/valid_pred_objects_total": 207,
        "rollout/precision": 0.9,
    }
    (finding,) = validate([Record("train", 1, row, origin=("a.jsonl", 3))]).findings
    assert (finding.rule, finding.key, finding.line) == ("CXM401", "rollout/precision", 3)
    assert "0.9 and 0.772946" in finding.message
    row["rollout/precision"] = 160 / 207
    assert rules_in(Record("train", 1, row)) == []


def test_a_running_total_is_compared_with_the_record_before_of_its_mode():
    def row(step, total, seen):
        return Record("train", step, {"train/samples_total": total, "train/samples_seen": seen})

    assert rules_in(row(1, 96, 96), row(2, 96, 192)) == []
    broken = rules_in(row(1, 96, 96), row(2, 96, 96))
    assert broken in (["CXM401"], ["CXM402"])
    assert rules_in(row(5, 96, 960), row(2, 96, 192)) == []  # a resumed run


def test_parameters_come_from_the_header_or_the_caller(log):
    digests = {"loss": "0" * 16}
    header = {"header": {"format": 1, "parameters": {"x": 1.0}, "definitions": digests}}
    payload = {"schema_version": 1, "mode": "train", "global_step": 1, "metrics": {"loss": 1.0}}
    (finding,) = validate(read(log(header, payload))).findings
    assert (finding.rule, finding.key) == ("CXM209", "loss")
    digests["loss"] = CATALOGUE["loss"].digest
    assert validate(read(log(header, payload))).findings == ()


def test_carried_keys_need_no_declaration():
    assert rules_in(Record("train", 1, {"my/metric": 1.0}), carry=["my/*"]) == []


def test_a_family_is_the_shortest_prefix_that_nothing_declares():
    families = Families(CATALOGUE)
    assert families.undeclared("snapshot/loss/coord/bbox_ciou") == "snapshot/"
    assert families.undeclared("eval/detection/f1") == "eval/detection/"
    assert families.undeclared("rollout/anchor/pred_objects") == "rollout/anchor/"
    assert families.undeclared("rollout/seed_base") is None
    assert families.undeclared("speed(tokens/s)") is None


def test_C19_a_million_equal_faults_are_one_finding_with_an_exact_total():
    findings = Findings()
    for line in range(100_000):
        findings.add("CXM203", "leaks", key="_a", places=[("a.jsonl", line)])
    (finding,) = findings
    assert finding.count == 100_000
    assert len(finding.evidence["places"]) == MAX_PLACES


def test_C19_a_million_distinct_keys_are_counted_and_not_kept():
    keys = [f"k{i}" for i in range(MAX_GROUPS + 500)]
    records = (Record("train", 1, dict.fromkeys(keys[i::7], 1.0)) for i in range(7))
    report = validate(records)
    assert len(report.findings) == MAX_GROUPS + 1
    (further,) = (finding for finding in report.findings if finding.key == FURTHER)
    assert further.count == 500


def test_numbers_at_the_end_of_the_floats_break_no_law_check():
    keys = [key for key, metric in CATALOGUE.items() if "train" in metric.modes]
    for value in (1.7976931348623157e308, -1.7976931348623157e308, 10**308, 5e-324):
        assert validate([Record("train", 1, dict.fromkeys(keys, value))]).exit_code() == 1


def test_the_order_of_findings_is_the_same_for_the_same_faults():
    rows = list(FAULTS.values())
    keys = [(f.rule, f.key) for f in validate(rows).findings]
    assert sorted(keys) == sorted((f.rule, f.key) for f in validate(rows[::-1]).findings)
    severities = [RULES[rule].severity for rule, _ in keys]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_the_real_log_names_what_is_known_to_be_wrong_in_it(real_log):
    report = validate(read(real_log))
    assert report.exit_code() == 1
    found = {(finding.rule, finding.key) for finding in report.findings}
    leaked = "stage2_ab/channel_b/_prompt_tok_mismatch_"
    assert {("CXM203", leaked + "num"), ("CXM203", leaked + "den")} <= found
    strings = {"percentage", "elapsed_time", "remaining_time", "global_step/max_steps"}
    assert {key for rule, key in found if rule == "CXM306"} == strings
    assert set(report.statistics["undeclared_families"]) >= {
        "diag/",
        "dup/",
        "eval/config/",
        "eval/detection/",
        "eval/parsing/",
        "eval/runtime/",
        "rollout/anchor/",
        "rollout/explorer/",
        "stage2_ab/channel_b/birth_first/",
        "stage2_ab/channel_b/dup/",
        "train/optimization/",
        "train/triage/",
    }
    # Every key of the file is either declared or named.
    keys = {key for line in real_log.read_text().splitlines() for key in json.loads(line)}
    named = {key for _, key in found}
    assert {key for key in keys if key not in CATALOGUE} <= named


def test_every_code_has_a_rule_and_every_rule_an_example():
    assert len(RULES) == len(set(RULES))
    for rule in RULES.values():
        assert rule.id.startswith("CXM")
        assert rule.text.endswith(".")
        assert rule.bad
        assert rule.good
    codes = [code for rule in RULES.values() for code in rule.codes]
    assert len(codes) == len(set(codes)) == len(RULE_OF_CODE)


def test_every_problem_that_a_reader_can_say_has_a_rule():
    """A code that is spelled in the readers but missing in the table would be filed wrongly."""
    import re
    from pathlib import Path

    import coordexp_metrics.audit.readers as readers
    from coordexp_metrics.contract import payload

    spelled = re.compile(
        r'"((?:file|json|line|record|trainer|header)\.[a-z_]+|torn_tail|step_unresolved)"'
    )
    source = "".join(p.read_text() for p in Path(readers.__file__).parent.glob("*.py"))
    assert set(spelled.findall(source)) <= set(RULE_OF_CODE)
    envelope = re.findall(r'Problem\(\s*"([a-z_.]+)"', Path(payload.__file__).read_text())
    assert {code for code in envelope if code != "payload.type"} <= set(RULE_OF_CODE)


def test_the_page_holds_the_rules_of_the_table():
    from pathlib import Path

    from coordexp_metrics.audit.pages import with_rules

    page = Path(__file__).parents[2] / "docs" / "validate.md"
    assert page.read_text() == with_rules(page.read_text())
