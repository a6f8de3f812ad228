"""Accumulating micro-batches and reducing ranks are the same fold."""

import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.contract.algebra import Agreement, Extremum, Histogram, Op, Ratio, Sum

FLOATS = st.floats(-1e6, 1e6, allow_nan=False)
WHOLE = st.integers(0, 10**15)
LOG = Histogram(Histogram.log_edges(1, 1e6), 0.9, integral=True)
BINS = Histogram(Histogram.COORDINATE_EDGES, 0.9)
KINDS = {
    "total": (Sum(), st.tuples(WHOLE)),
    "total of floats": (Sum(), st.tuples(FLOATS)),
    "mean": (Ratio(), st.tuples(FLOATS, st.integers(0, 1000))),
    "maximum": (Extremum(Op.MAX), st.tuples(FLOATS)),
    "minimum": (Extremum(Op.MIN), st.tuples(FLOATS)),
    "agreed": (Agreement(), st.tuples(st.sampled_from([0.0, 0.7, 1.0]))),
    "quantile of bins": (BINS, st.tuples(st.lists(st.floats(0, 999), max_size=5))),
    "quantile of lengths": (LOG, st.tuples(st.lists(st.integers(0, 10**7), max_size=5))),
}


def folded(reduction, observations):
    return reduce(reduction.merge, [reduction.lift(*x) for x in observations], reduction.identity)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_split_and_order_gives_the_same_number(kind, data):
    """lift(xs ++ ys) == merge(lift(xs), lift(ys)), whatever the cut and the order."""
    reduction, observation = KINDS[kind]
    observations = data.draw(st.lists(observation, max_size=12))
    shuffled = data.draw(st.permutations(observations))
    cut = data.draw(st.integers(0, len(observations)))
    whole = reduction.compute(folded(reduction, observations))
    parts = reduction.merge(folded(reduction, shuffled[cut:]), folded(reduction, shuffled[:cut]))
    split = reduction.compute(parts)
    if whole is None or split is None:
        assert whole is split
        return
    scale = sum(abs(x[0]) for x in observations) if "float" in kind or kind == "mean" else 0
    assert abs(whole - split) <= 1e-12 * scale


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_identity_changes_nothing(kind, data):
    reduction, observation = KINDS[kind]
    state = reduction.lift(*data.draw(observation))
    assert reduction.merge(state, reduction.identity) == state
    assert reduction.merge(reduction.identity, state) == state


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_observed_is_absent(kind):
    reduction, _ = KINDS[kind]
    assert reduction.compute(reduction.identity) is None


def test_an_observed_zero_is_not_absent():
    assert Sum().compute(Sum().lift(0)) == 0
    assert Ratio().compute(Ratio().lift(0.0, 3)) == 0.0


def test_sums_of_ints_are_exact_beyond_2_to_the_53():
    reduction = Sum()
    state = folded(reduction, [(2**53,), (1,), (2**70,)])
    assert reduction.compute(state) == 2**70 + 2**53 + 1


def test_a_disagreement_is_withheld_and_known():
    knob = Agreement()
    state = folded(knob, [(0.7,), (0.35,)])
    assert knob.compute(state) is None
    assert knob.disagrees(state)
    assert not knob.disagrees(knob.identity)


@given(
    values=st.lists(st.floats(0, 999), min_size=1, max_size=300), level=st.sampled_from([0.5, 0.9])
)
def test_a_quantile_of_bins_is_known_to_its_bin(values, level):
    """Type 7 interpolation, each order statistic off by less than the width of its bin."""
    ours = Histogram(Histogram.COORDINATE_EDGES, level)
    exact = float(np.quantile(values, level))
    width = 1 / 16 if exact < 15 else 1 / 4 if exact < 127 else 1
    assert ours.compute(ours.lift(values)) == pytest.approx(exact, abs=width)


@given(values=st.lists(st.integers(0, 900_000), min_size=1, max_size=100))
def test_a_quantile_of_lengths_is_known_to_one_percent(values):
    exact = float(np.quantile(values, 0.9))
    assert LOG.compute(LOG.lift(values)) == pytest.approx(exact, rel=0.0101, abs=1e-9)


@given(values=st.lists(st.integers(1, 99), min_size=1, max_size=60))
def test_small_whole_numbers_have_exact_quantiles(values):
    assert LOG.compute(LOG.lift(values)) == pytest.approx(np.quantile(values, 0.9), rel=1e-12)


def test_values_beyond_the_edges_are_counted():
    state = LOG.lift([0, 10**9])
    assert sum(state) == 2
    assert LOG.read(0) == 0.0
    assert LOG.read(len(LOG.edges)) == LOG.edges[-1]
    assert math.isfinite(LOG.edges[-1])
