"""The doctor holds a stretch of a log at a time, loses nothing over it, and bears any file."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics import Record, read
from coordexp_metrics.audit.doctor import Context, examine
from coordexp_metrics.audit.readers import read_all

from .ours import rewrite

ROWS = [
    {"step": n, "a/matched": n % 7 + 3, "a/matched_count": 18 * (n % 7 + 3), "micro_steps": 18}
    for n in range(1, 401)
]


def test_a_long_log_is_examined_in_stretches_and_counted_whole(log):
    """The totals of a finding are exact, however little is held at a time."""
    whole = examine(read(log(*ROWS))).findings
    parts = examine(read(log(*ROWS)), cells=200).findings
    assert [(f.rule, f.key) for f in whole] == [(f.rule, f.key) for f in parts]
    assert whole[0].evidence["count"] == parts[0].evidence["count"] == 400
    assert parts[0].evidence["of"] == 400


def test_rules_are_selected_and_ignored_by_the_beginning_of_their_id(log):
    path = log(*ROWS[:9], {"step": 10, "a/_x": 1})

    def rules(**options):
        return {finding.rule for finding in examine(read(path), **options).findings}

    assert rules() == {"CXM530", "CXM203"}
    assert rules(select=["CXM5"]) == {"CXM530"}
    assert rules(ignore=["CXM530"]) == {"CXM203"}


def test_a_factor_that_only_the_user_knows_is_named(log):
    path = log(*({k: v for k, v in row.items() if k != "micro_steps"} for row in ROWS[:9]))
    (plain,) = examine(read(path)).findings
    (told,) = examine(read(path), context=Context(world_size=9, grad_accum=2)).findings
    assert "world" not in plain.message
    assert "world size x accumulation" in told.message
    assert told.evidence["confidence"] > plain.evidence["confidence"]


def test_where_two_counts_would_mend_a_law_neither_is_accused(log):
    """0.5 = 5/10 logged beside 20 of 10: matches fourfold, or predictions a quarter?"""
    rows = [
        {
            "step": n,
            "rollout/precision": n / (3 * n + 1),
            "rollout/matched_for_supervision": 4 * n,
            "rollout/valid_pred_objects_total": 3 * n + 1,
        }
        for n in range(4, 12)
    ]
    found = {finding.rule for finding in examine(read(log(*rows))).findings}
    assert "CXM520" in found
    assert "CXM530" not in found


def test_what_did_not_run_is_carried_but_not_stuck(log):
    """A copy of a whole family at a step that had none of it says nothing of one bucket."""
    rows = [
        {"step": 1, "drop/always": 3, "drop/a": 5, "drop/b": 188},
        {"step": 2, "drop/always": 2, "snapshot/drop/a": 5, "snapshot/drop/b": 188},
    ]
    found = {finding.rule for finding in examine(read(log(*rows))).findings}
    assert found == {"CXM550"}


def test_a_count_that_never_changes_proves_no_factor(log):
    """5 and 90 in every record may be anything; three different pairs may not."""
    rows = [{"step": n, "a/x": 5, "a/x_count": 90, "micro_steps": 18} for n in range(1, 9)]
    assert examine(read(log(*rows))).findings == ()


def test_the_scale_of_a_seed_is_that_of_a_micro_batch(log):
    """Five of 96 samples saw it; one that saw a seed five times as large would fit as well."""
    rows = [
        {"step": n, "seed": (1000003 * n + 17) * 5 / 96, "samples_total": 96, "micro_steps": 18}
        for n in range(1, 9)
    ]
    (finding,) = examine(read(log(*rows))).findings
    assert finding.evidence["true_values"] == [1000003 * n + 17 for n in range(1, 9)]


def test_evaluation_is_examined_apart_and_by_data_set(clean, tmp_path):
    """Two evaluation sets at one step are no repetition."""
    rows = [
        {"schema_version": 1, "mode": "eval", "global_step": 5, "dataset": name,
         "metrics": {"eval_loss": 0.5}}
        for name in ("coco", "lvis")
    ]  # fmt: skip
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    assert examine(read(path)).findings == ()


def test_what_cannot_be_read_is_no_clean_bill(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert examine(read_all([str(empty)])).gated("never") == 2
    assert examine(read_all([str(tmp_path / "absent.jsonl")])).gated() == 2


def test_the_gate_is_a_severity(clean, tmp_path):
    for metrics in (row["metrics"] for row in clean):
        metrics |= dict.fromkeys([f"probe/near_miss_{x}" for x in ("a", "b", "c")], 0)
    diagnosis = examine(read(rewrite(tmp_path / "log.jsonl", clean)))
    assert [diagnosis.gated(gate) for gate in ("error", "warning", "note", "never")] == [0, 0, 1, 0]


WORDS = [
    "a/x_count", "a/x", "a/x_rate", "a/x_num", "a/x_den", "a/x_mean", "x_total", "seed", "loss",
    "loss/a", "loss/b", "max_count", "tokens_per_s", "tokens_total", "time/a_s", "x_p90", "x_max",
    "temperature", "snapshot/loss", "snapshot/a/x", "_", "/", "", "a//b", "x_frac", "a_x_frac",
    "valid_objects", "objects", "raw_rollouts", "decode_a_count", "N_x", "train/loss",
    "\x1b[2J", "a/\u202e_<b>",
]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 2.0**24, 1e308, -1e308, 5e-324, 1 / 3]),
)


def records_of(rows):
    return [
        Record("train", step, metrics, origin=("x", n)) for n, (step, metrics) in enumerate(rows)
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.dictionaries(st.sampled_from(WORDS), NUMBERS)), max_size=25
    )
)
def test_no_log_brings_the_doctor_down(rows):
    records = [
        Record("train", step, metrics, origin=("x", n)) for n, (step, metrics) in enumerate(rows)
    ]
    diagnosis = examine(records, context=Context(2, 3, 4), plots=True)
    json.dumps(diagnosis.to_data(), allow_nan=False)
    assert all(
        finding.message.isascii() and finding.message.isprintable()
        for finding in diagnosis.findings
    )


@pytest.mark.soak
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.dictionaries(st.sampled_from(WORDS), NUMBERS)), max_size=25
    )
)
def test_no_log_brings_the_doctor_down_at_length(rows):
    from coordexp_metrics.audit.doctor.page import page_of

    records = [
        Record("train", step, metrics, origin=("x", n)) for n, (step, metrics) in enumerate(rows)
    ]
    page_of(examine(records, plots=True))
