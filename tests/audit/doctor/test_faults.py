"""Each fault is found where it was put, and nowhere in the clean log beside it."""

import json

import pytest

from coordexp_metrics import read
from coordexp_metrics.audit.doctor import examine
from coordexp_metrics.audit.rules import DOCTOR

from . import foreign
from .faults import FAULTS
from .ours import rewrite, write_stage2


def named(fault):
    return f"{fault[0]}-{fault[2].__name__}"


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_a_fault_in_a_clean_log_is_found(fault, clean, tmp_path):
    rule, key, inject = fault
    inject(clean)
    found = examine(read(rewrite(tmp_path / "faulty.jsonl", clean))).findings
    assert (rule, key) in {(finding.rule, finding.key) for finding in found}


def test_every_rule_of_the_doctor_has_a_fault():
    assert {rule.id for rule in DOCTOR} <= {rule for rule, _, _ in FAULTS}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_found_in_a_clean_log_of_ours(seed, tmp_path):
    path = write_stage2(tmp_path / "metrics.jsonl", steps=30, seed=seed)
    diagnosis = examine(read(path))
    assert [finding.message for finding in diagnosis.findings] == []
    assert diagnosis.statistics["keys"] > 50


def test_nothing_is_found_in_a_clean_log_that_was_rounded_as_trainers_do(clean, tmp_path):
    """Identities hold to the last decimal that was logged, be it the fourth."""
    for decimals in (8, 4):
        for row in clean:
            values = row["metrics"].items()
            row["metrics"] = {k: round(v, decimals) if v % 1 else v for k, v in values}
        path = rewrite(tmp_path / f"rounded{decimals}.jsonl", clean)
        assert [finding.message for finding in examine(read(path)).findings] == []


@pytest.mark.parametrize("trainer", foreign.CLEAN, ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_in_clean_logs_of_others(trainer, seed, log):
    path = log(*trainer(seed))
    assert [finding.message for finding in examine(read(path)).findings] == []


@pytest.mark.parametrize("trainer", foreign.CLEAN, ids=lambda f: f.__name__)
def test_nothing_is_found_in_the_first_rows_of_a_clean_log(trainer, tmp_path):
    """A run that has just begun has few rows, and few rows prove little."""
    for rows in (1, 2, 5, 12):
        path = tmp_path / f"{rows}.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in trainer(1)[:rows]) + "\n")
        assert [finding.message for finding in examine(read(path)).findings] == []
