"""A formula evaluates, checks and prints itself."""

import math

import pytest

from coordexp_metrics.contract.formula import parameter
from coordexp_metrics.contract.functions import exp, greatest, least, or_zero, present_sum, previous
from coordexp_metrics.contract.law import at_most, identity
from tests.small import Diag, Forward, Rollout

MATCHED, PRED, GT = Rollout.matched, Rollout.pred_total, Rollout.gt_total


def test_f1_is_zero_when_nothing_matches_and_absent_without_objects():
    f1 = Rollout.f1.formula
    assert f1.evaluate({MATCHED.key: 0, PRED.key: 3, GT.key: 1}) == 0.0
    assert f1.evaluate({MATCHED.key: 0, PRED.key: 0, GT.key: 0}) is None
    assert f1.evaluate({MATCHED.key: 1, PRED.key: 1}) is None


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (
            2 * MATCHED / (PRED + GT),
            "2 * rollout/matched / (rollout/pred_total + rollout/gt_total)",
        ),
        (PRED - (GT - MATCHED), "rollout/pred_total - (rollout/gt_total - rollout/matched)"),
        (PRED - GT - MATCHED, "rollout/pred_total - rollout/gt_total - rollout/matched"),
        (PRED / (GT / MATCHED), "rollout/pred_total / (rollout/gt_total / rollout/matched)"),
        (1 - exp(0 - MATCHED), "1 - exp(0 - rollout/matched)"),
    ],
)
def test_formulas_print_with_the_parentheses_they_need(formula, text):
    assert str(formula) == text


def test_printed_parentheses_mean_what_was_computed():
    values = {MATCHED.key: 2, PRED.key: 7, GT.key: 3}
    assert (PRED - (GT - MATCHED)).evaluate(values) == 6
    assert (PRED - GT - MATCHED).evaluate(values) == 2
    assert (PRED / (GT / MATCHED)).evaluate(values) == pytest.approx(14 / 3)


def test_functions_over_absent_inputs():
    values = {MATCHED.key: 2}
    assert or_zero(PRED).evaluate(values) == 0
    assert present_sum(PRED, MATCHED).evaluate(values) == 2
    assert present_sum(PRED, GT).evaluate(values) is None
    assert least(MATCHED, PRED).evaluate(values) is None
    assert greatest(MATCHED, or_zero(PRED)).evaluate(values) == 2
    assert exp(MATCHED).evaluate(values) == math.exp(2)


def test_parameters_default_and_are_overridden():
    formula = parameter("w", 3.0) * MATCHED
    assert formula.evaluate({MATCHED.key: 2}) == 6.0
    assert formula.evaluate({MATCHED.key: 2}, {"w": 0.5}) == 1.0
    assert formula.parameters() == {"w": 3.0}


def test_a_law_over_parameters_is_mute_until_they_are_given():
    law = identity("weighted", GT, parameter("w") * MATCHED)
    values = {GT.key: 10, MATCHED.key: 2}
    assert law.check(values) is None
    assert law.check(values, {"w": 5.0}) is None
    assert law.check(values, {"w": 4.0}) == (10, 8.0)


def test_laws_of_whole_numbers_forgive_nothing():
    law = identity("sum", GT, MATCHED + PRED)
    assert law.exact
    assert law.check({GT.key: 10**9, MATCHED.key: 10**9 - 1, PRED.key: 2}) is not None


def test_other_laws_forgive_what_float32_loses():
    law = identity("rate", Rollout.precision, MATCHED / PRED)
    values = {MATCHED.key: 1, PRED.key: 3}
    assert law.check({**values, Rollout.precision.key: 0.33333334}) is None
    assert law.check({**values, Rollout.precision.key: 0.3334}) is not None


def test_inequalities():
    law = at_most("subset", MATCHED, PRED)
    assert law.check({MATCHED.key: 3, PRED.key: 3}) is None
    assert law.check({MATCHED.key: 4, PRED.key: 3}) == (4, 3)
    assert law.check({MATCHED.key: 4}) is None


def test_previous_reads_the_record_before():
    law = identity("grows", GT - previous(GT), PRED)
    assert law.check({GT.key: 12, PRED.key: 2, "previous(rollout/gt_total)": 10}) is None
    assert law.check({GT.key: 13, PRED.key: 2, "previous(rollout/gt_total)": 10}) == (3, 2)


def test_each_forward_pass_has_formulas_over_its_own_metrics():
    a1, b = Diag(Forward.GT_ANCHOR), Diag(Forward.ROLLOUT)
    assert str(a1.hit_rate.formula) == "diag/A1/hits_total / diag/A1/tokens_total"
    assert str(b.hit_rate.formula) == "diag/B/hits_total / diag/B/tokens_total"


def test_formulas_are_readable_from_any_language():
    assert Rollout.precision.formula.to_data() == [
        "/",
        {"metric": "rollout/matched"},
        {"metric": "rollout/pred_total"},
    ]
