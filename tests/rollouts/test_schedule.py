"""Channel-B runs on the steps where the line of slope b_ratio enters a new whole number."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, DeclarationError, ObservationError
from coordexp_metrics.rollouts import BresenhamSchedule
from coordexp_metrics.window import Window

ratios = st.floats(0, 1) | st.fractions(0, 1, max_denominator=10**6)
steps = st.integers(0, 10**9)


def count(schedule, start, stop):
    return sum(schedule.channel(step) == "B" for step in range(start, stop))


@given(ratios, steps, st.integers(0, 300))
def test_any_steps_in_a_row_hold_their_share_within_one(ratio, start, length):
    schedule = BresenhamSchedule(ratio)
    share = schedule.b_ratio * length
    found = count(schedule, start, start + length)
    assert math.floor(share) <= found <= math.ceil(share)


@given(ratios, st.integers(0, 400))
def test_a_prefix_holds_the_whole_part_of_its_share(ratio, length):
    schedule = BresenhamSchedule(ratio)
    assert count(schedule, 0, length) == math.floor(schedule.b_ratio * length)


@pytest.mark.parametrize("percent", range(101))
def test_a_float_is_the_decimal_that_it_is_written_as(percent):
    """No drift: after 100 million steps the count is exact to the step."""
    schedule = BresenhamSchedule(percent / 100)
    assert schedule.b_ratio == Fraction(percent, 100)
    assert count(schedule, 10**8, 10**8 + 100) == count(schedule, 0, 100) == percent
    assert BresenhamSchedule(f"{percent}/100").b_ratio == schedule.b_ratio


def test_the_ends():
    assert count(BresenhamSchedule(0), 0, 1000) == 0
    assert count(BresenhamSchedule(1), 0, 1000) == 1000
    assert [BresenhamSchedule(0.5).channel(step) for step in range(4)] == ["A", "B", "A", "B"]
    assert BresenhamSchedule("1/3").b_ratio == Fraction(1, 3)


@pytest.mark.parametrize(
    "ratio",
    [-0.1, 1.1, float("nan"), float("inf"), True, None, "half", "1/0", "1e-999999999", [0.5]],
)
def test_what_is_no_share_is_refused(ratio):
    with pytest.raises(DeclarationError, match=r"b_ratio is .*; it must be a share from 0 to 1"):
        BresenhamSchedule(ratio)


@pytest.mark.parametrize("window", [0, -1, 2.0, True, None])
def test_a_window_has_steps(window):
    with pytest.raises(DeclarationError, match="window"):
        BresenhamSchedule(0.5, window)


@pytest.mark.parametrize("step", [-1, 1.0, True, None])
def test_a_step_is_a_count(step):
    with pytest.raises(ObservationError, match="step"):
        BresenhamSchedule(0.5).channel(step)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 20))
def test_the_record_counts_the_last_steps(ran, window):
    schedule = BresenhamSchedule(0.5, window)
    for at, ran_b in enumerate(ran, 1):
        recent = ran[:at][-window:]
        assert schedule.record(ran_b) == (sum(recent), len(recent))


def test_two_hundred_steps_are_the_window_unless_told_otherwise():
    schedule = BresenhamSchedule(0.5)
    assert [schedule.record(True) for _ in range(250)][-1] == (200, 200)


@given(st.lists(st.booleans(), max_size=40), st.lists(st.booleans(), min_size=1), st.integers(1, 9))
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(before, after, window):
    one, other = BresenhamSchedule(0.5, window), BresenhamSchedule(0.5, window)
    for ran_b in before:
        one.record(ran_b)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert [one.record(b) for b in after] == [other.record(b) for b in after]


def test_a_shorter_window_keeps_the_newest_steps():
    long, short = BresenhamSchedule(0.5, 4), BresenhamSchedule(0.5, 2)
    for ran_b in (True, True, False, False):
        long.record(ran_b)
    short.load_state_dict(long.state_dict())
    assert short.record(True) == (1, 2)


@pytest.mark.parametrize("state", [{}, {"recent": [1]}, {"recent": "AC"}, {"recent": None}])
def test_a_strange_state_is_refused(state):
    with pytest.raises(ObservationError, match="recent"):
        BresenhamSchedule(0.5).load_state_dict(state)


def test_the_realised_ratio_tends_to_the_schedule():
    schedule, window = BresenhamSchedule(0.3), Window(CATALOGUE)
    for step in range(1000):
        ran, seen = schedule.record(schedule.channel(step) == "B")
        window.observe("stage2_ab/_channel_b_steps", ran)
        window.observe("stage2_ab/_window_steps", seen)
        payload = window.close(mode="train", global_step=step)
    assert payload.metrics["stage2_ab/b_ratio_realized"] == pytest.approx(0.3)
    assert "stage2_ab/_window_steps" not in payload.metrics
