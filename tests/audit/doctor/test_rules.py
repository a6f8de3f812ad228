"""Every rule says what it finds, and its examples prove it."""

import pytest

from coordexp_metrics import read
from coordexp_metrics.audit.doctor import examine
from coordexp_metrics.audit.rules import DOCTOR, RULES

from .examples import rows_of_example

BY_ID = {rule.id: rule for rule in DOCTOR}


@pytest.mark.parametrize("rule", DOCTOR, ids=lambda rule: rule.id)
def test_the_bad_example_of_a_rule_is_found(rule, log):
    found = {finding.rule for finding in examine(read(log(*rows_of_example(rule.bad)))).findings}
    assert rule.id in found


@pytest.mark.parametrize("rule", DOCTOR, ids=lambda rule: rule.id)
def test_nothing_is_found_in_the_good_example_of_a_rule(rule, log):
    diagnosis = examine(read(log(*rows_of_example(rule.good))))
    assert [finding.message for finding in diagnosis.findings] == []
    assert diagnosis.gated("note") == 0


def test_a_rule_has_one_number_and_one_name():
    assert len({rule.id for rule in RULES.values()}) == len(RULES)
    assert len({rule.name for rule in RULES.values()}) == len(RULES)
    assert all(rule.evidence for rule in DOCTOR)


@pytest.mark.parametrize("rule", DOCTOR, ids=lambda rule: rule.id)
def test_a_finding_brings_its_evidence(rule, log):
    """How many records of how many, the first offenders with their lines, and a confidence."""
    path = log(*rows_of_example(rule.bad))
    finding = next(f for f in examine(read(path)).findings if f.rule == rule.id)
    evidence = finding.evidence
    assert finding.path == str(path)
    assert 1 <= finding.line <= len(rows_of_example(rule.bad))
    assert 1 <= evidence["count"] <= evidence["of"]
    assert 0.5 <= evidence["confidence"] < 1
    assert evidence["offenders"][0]["line"] == finding.line
    assert finding.message.isascii()


def test_the_page_holds_the_rules_of_the_table():
    from pathlib import Path

    from coordexp_metrics.audit.pages import doctor_page, with_rules

    page = Path(__file__).parents[3] / "docs" / "audit.md"
    assert page.read_text() == with_rules(page.read_text(), doctor_page())
