"""Any cut of the same samples over micro-batches gives the same payload."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.window import Window
from tests.reducers.cases import cases, examples, make


def payload_of(case, pieces, typed=True, **settings):
    reducer, window = LogitsReducer(case.ids, **settings), Window(CATALOGUE, group="local")
    for piece in pieces:
        types = case.types[piece] if typed else None
        reducer.observe(window, case.logits[piece], case.labels[piece], types)
    return window.close(mode="train", global_step=1)


def assert_same(one, other):
    assert one.nonfinite == other.nonfinite
    assert one.metrics.keys() == other.metrics.keys()
    for key, value in one.metrics.items():
        assert value == pytest.approx(other.metrics[key], rel=1e-12, abs=1e-14), key


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), typed=st.booleans())
def test_N13_any_micro_batches(data, typed, place):
    case = make(
        data.draw(st.integers(1, 5)),
        data.draw(st.integers(1, 9)),
        data.draw(st.sampled_from([3, 40, 300])),
        data.draw(st.integers(1, 3)),
        seed=data.draw(st.integers(0, 2**32)),
        supervised=data.draw(st.sampled_from([0.1, 0.7])),
    )
    if data.draw(st.booleans()):
        case.logits[0, 0] = torch.nan
    order = data.draw(st.permutations(range(len(case.labels))))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order)))))
    pieces = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    pieces = [piece for piece in pieces if piece] or [order]
    assert_same(payload_of(case, [order], typed), payload_of(case, pieces, typed))


def test_N12_the_number_of_threads_changes_nothing():
    case = make(2, 40, 40_000, 100)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = payload_of(case, [slice(None)])
        torch.set_num_threads(3)
        three = payload_of(case, [slice(None)])
    finally:
        torch.set_num_threads(threads)
    assert one.metrics == three.metrics


@settings(max_examples=examples(30), deadline=None)
@given(case=cases())
def test_host_and_device_are_one_definition(case):
    from coordexp_metrics.reducers import hosts

    host = payload_of(case, [slice(None)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "on_host", lambda device: False)
        device = payload_of(case, [slice(None)])
    assert_same(host, device)


def test_padding_changes_nothing():
    """A padded and a packed batch hold the same tokens, so they give the same sums."""
    case = make(1, 9, 60, 10)
    padded = make(1, 15, 60, 10)
    padded.ids = case.ids
    padded.logits[:, :9], padded.labels[:, :9] = case.logits, case.labels
    padded.types[:, :9], padded.labels[:, 9:] = case.types, -100
    assert_same(payload_of(case, [slice(None)]), payload_of(padded, [slice(None)]))
