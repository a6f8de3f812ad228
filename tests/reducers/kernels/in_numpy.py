"""The kernels, run by triton's interpreter, say what plain torch says: key for key.

Only under ``TRITON_INTERPRET=1``; ``test_interpreter.py`` runs them so, in a process of its own.
"""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE, ObservationError
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.window import Window
from tests.reducers.cases import INTERPRETED, Case, cases, make

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="runs in test_interpreter.py")
EXACT = ("_count", "_tokens", "_frac", "_acc", "_top5", "_total", "_samples", "_p90")


def closed(backend, case, pieces=(slice(None),), provenance=None, **given):
    window = Window(CATALOGUE, group="local")
    reducer = LogitsReducer(case.ids, backend=backend, **given)
    for piece in pieces:
        types = None if case.types is None else case.types[piece]
        logits, labels = case.logits[piece], case.labels[piece]
        reducer.observe(window, logits, labels, types, provenance=provenance)
    assert reducer.backend.name == backend
    return window, window.close(mode="train", global_step=1)


def check(case, rel=1e-6, **given):
    """Both backends give the same keys, the same counts, and values within ``rel``."""
    (ours, found), (other, expected) = (closed(name, case, **given) for name in ("triton", "torch"))
    assert found.nonfinite == expected.nonfinite
    assert ours.withheld == other.withheld
    assert found.metrics.keys() == expected.metrics.keys()
    for key, value in expected.metrics.items():
        exact = key.endswith(EXACT) or "/flip_" in key
        limit = pytest.approx(value, rel=1e-14 if exact else rel, abs=1e-11)
        assert found.metrics[key] == limit, key
    return found


@pytest.fixture
def tiny_tiles(monkeypatch):
    """Tiles of 128 ids, so that a few hundred ids are many tiles."""
    from coordexp_metrics.reducers.kernels import program

    monkeypatch.setattr(program, "LANES", 8)


@settings(max_examples=10, deadline=None)
@given(case=cases(), typed=st.booleans())
def test_any_batch(case, typed):
    if not typed:
        case.types = None
    check(case)


@pytest.mark.parametrize("start", [0, 1, 120, 128, 250, 256, 384, 620])
def test_coordinates_anywhere_among_the_tiles(start, tiny_tiles):
    """Before, across and behind the edges of tiles; the last tile whole or cut."""
    size = 640 if start % 3 else 701
    case = make(1, 3, size, 20, seed=start, scale="tied", supervised=1.0, coord=0.5)
    case.ids = list(range(start, start + 20))
    case.labels[0, 1], case.labels[0, 2] = start + 7, (start + 300) % size
    case.types = None
    check(case)


@pytest.mark.parametrize("layout", ["contiguous", "permuted", "scattered"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_dtype_over_many_tiles(dtype, layout, tiny_tiles):
    case = make(1, 4, 701, 40, layout=layout, dtype=dtype, supervised=1.0, coord=0.5)
    check(case, target_truncate=2, ce_weight=0.5)


@pytest.mark.parametrize("temperature", [1e-38, 0.7, 1e3])
@pytest.mark.parametrize("scale", ["plain", "extreme", "confident", "masked"])
def test_every_temperature_over_many_tiles(scale, temperature, tiny_tiles):
    case = make(1, 3, 701, 40, scale=scale, supervised=1.0, coord=0.5, layout="permuted")
    check(case, temperature=temperature)


@pytest.mark.parametrize(
    ("label", "value"), [(5, -0.5), (128, 0.0), (303, 2.0), (391, -0.5), (700, 0.0)]
)
@pytest.mark.parametrize(("apart", "ids"), [(1, range(640, 660)), (29, [3, 650, 389])])
def test_equal_logits_rank_by_their_ids(label, value, apart, ids, tiny_tiles):
    """Some of six ties stand before the label: in its own load, in its tile, or far away."""
    logits = torch.full((1, 5, 701), -1.0)
    for row, before in enumerate((0, 4, 5, 6)):
        ties = [label + apart * (k - before) for k in range(7)]
        logits[0, row, [i for i in ties if 0 <= i < 701]] = value
    check(Case(logits, torch.full((1, 5), label), None, list(ids)))


def test_rising_and_falling_logits(tiny_tiles):
    """The level of a lane rises at every tile, or never."""
    ramp = torch.linspace(-300, 300, 701)
    logits = torch.stack([ramp, -ramp, ramp * 30, torch.zeros(701)])[None]
    labels = torch.tensor([[0, 700, 5, 350]])
    check(Case(logits, labels, None, list(range(100, 120))), temperature=3.0)


def test_a_row_that_is_nearly_certain_keeps_its_loss(tiny_tiles):
    for winner in (7, 350, 700, 110):
        logits = torch.zeros(1, 2, 701)
        logits[0, 0, winner] = 27.6
        case = Case(logits, torch.tensor([[0, winner]]), None, list(range(100, 120)))
        _, payload = closed("triton", case)
        key, others = ("coord_diag/ce", 19) if winner == 110 else ("base_ce/loss", 700)
        rest = others * math.exp(-float(logits[0, 0, winner]))
        assert payload.metrics[key] == pytest.approx(rest, rel=2e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 5, 110, 350, 700])
def test_what_is_not_finite_costs_its_own_row(value, place, tiny_tiles):
    case = make(1, 4, 701, 20, supervised=1.0, coord=0.5)
    case.ids = list(range(100, 120))
    case.labels[0, 1:] = torch.tensor([110, 350, 5])
    for row, target in ((0, 110), (1, 350)):
        logits = case.logits.clone()
        logits[0, row, place] = value
        found = check(Case(logits, case.labels, None, case.ids))
        lost = found.metrics.get("contract/nonfinite_rows_total", 0)
        assert lost == (1 if value != -math.inf or place == target else 0)
        assert found.nonfinite.keys().isdisjoint({"token_acc", "coord_diag/p_gt_mean"})


@pytest.mark.parametrize("enabled", [True, False])
def test_masked_coordinates_beside_the_target(enabled):
    """The soft target has probability where the model has none: a loss without end, on both."""
    case = make(1, 6, 60, 9, supervised=1.0, coord=1.0)
    case.logits[..., case.ids[0]] = -math.inf
    case.labels[0, 1:] = torch.tensor(case.ids[1:6])
    found = check(case, enabled=enabled, target_sigma=5.0)
    assert found.nonfinite["coord_diag/soft_ce"] == found.nonfinite["coord_diag/loss"] == "inf"
    found = check(case, enabled=enabled, target_sigma=5.0, soft_ce_weight=0.0)
    assert "coord_diag/loss" not in found.nonfinite


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_T03_a_label_out_of_range_is_counted_before_it_is_an_index(dtype):
    case = make(2, 9, 60, 9, supervised=1.0, coord=0.5)
    case.labels[0, 2:8] = torch.tensor([60, 61, 32_000, -1, -99, -101])
    case.labels = case.labels.to(dtype)
    found = check(case)
    assert found.metrics["contract/labels_out_of_range_total"] == 6
    assert found.metrics["token_count"] == 10


@pytest.mark.parametrize("shift", [0.0, -1e4])
def test_all_masked_but_one_part(shift):
    case = make(1, 4, 60, 9, supervised=1.0, coord=0.5)
    case.logits += shift
    case.labels[0, 1:3] = torch.tensor([case.ids[2], case.ids[-1] + 1])
    for masked in (case.ids, [i for i in range(60) if i not in case.ids]):
        logits = case.logits.clone()
        logits[..., masked] = -math.inf
        found = check(Case(logits, case.labels, None, case.ids))
        assert found.metrics["token_count"] >= 1


@pytest.mark.parametrize(("most", "parts"), [(1, 1), (3, 4), (7, 1), (1000, 4)])
def test_a_capped_mass_reads_the_same_tokens(most, parts, monkeypatch):
    from coordexp_metrics.reducers.kernels import launch

    monkeypatch.setattr(launch, "PARTS", parts)
    monkeypatch.setattr(launch, "ROWS", 4)
    check(make(2, 9, 50, 10, coord=0.5), coord_monitor_mass_max_tokens=most)


@pytest.mark.parametrize("forward", ["A1", "B"])
def test_a_forward_of_stage_2(forward):
    case = make(2, 6, 60, 9, coord=0.5)
    case.logits[0, 1] = math.nan
    check(case, provenance=forward)


def test_micro_batches_add_up():
    """The same states are added; others, of other keys, stand beside them."""
    case = make(4, 5, 60, 9, coord=0.5)
    check(case, pieces=([0], [2, 1], [3]))


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int16, torch.int32])
def test_labels_and_types_of_any_integers_and_strides(dtype):
    case = make(2, 6, 60, 9, coord=0.5, supervised=1.0)
    wide = torch.stack([case.labels, case.types], 2).to(dtype)
    case.labels, case.types = wide[..., 0], wide[..., 1]
    if dtype is torch.uint8:
        case.types = torch.where(case.types > 3, 3, case.types)
    check(case)
    check(Case(case.logits, case.labels.T.contiguous().T, case.types.T.contiguous().T, case.ids))


@pytest.mark.parametrize("shift", [0, 1])
def test_types_are_dropped_by_the_same_rule(shift):
    case = make(2, 12, 40, 20, supervised=1.0, coord=0.8)
    case.types = torch.roll(case.types, shift, 1)
    check(case)


def test_types_of_another_shape_or_with_an_unknown_id_are_dropped():
    case = make(2, 6, 40, 20, supervised=1.0, coord=0.5)
    unknown = case.types.clone()
    unknown[1, 3] = 7
    for types in (unknown, case.types[:, :-1]):
        found = check(Case(case.logits, case.labels, types, case.ids))
        assert found.metrics["contract/token_types_dropped_total"] == 1


def test_ten_per_cent_of_the_coordinate_types_may_be_wrong():
    case = make(1, 31, 30, 20, supervised=1.0, coord=1.0)
    for wrong in (3, 4):
        labels = case.labels.clone()
        labels[0, 1 : 1 + wrong] = next(i for i in range(30) if i not in case.ids)
        found = check(Case(case.logits, labels, case.types, case.ids))
        assert ("coord_token_frac" in found.metrics) == (wrong == 3)


def test_the_sums_are_equal_bit_for_bit_each_time():
    case = make(2, 6, 300, 30, coord=0.5)
    one, other = (closed("triton", case)[1] for _ in range(2))
    assert one == other


def test_double_precision_is_left_to_torch():
    case = make(1, 4, 60, 9, dtype=torch.float64)
    reducer = LogitsReducer(case.ids, backend="triton")
    reducer.compute(case.logits, case.labels)
    assert reducer.backend == ("torch", "the kernels read no float64")
    reducer.compute(case.logits.float(), case.labels)
    assert reducer.backend == ("triton", "asked for")


@pytest.fixture
def as_if_on_cuda(monkeypatch):
    """``auto`` takes the kernels, as it does on a CUDA device."""
    from coordexp_metrics.reducers import backends

    def chosen(self, place, dtype):
        return self.backend if self._failed or self._asked == "torch" else backends._on_cuda()

    monkeypatch.setattr(backends, "_on_cuda", lambda: backends.Backend("triton", "as if"))
    monkeypatch.setattr(backends.Choice, "_chosen", chosen)


@pytest.mark.parametrize("provenance", [None, "B"])
def test_kernels_that_agree_with_plain_torch_are_believed(as_if_on_cuda, provenance):
    """They are tried on one sample, which is counted once."""
    case = make(2, 6, 60, 9, coord=0.5)
    pieces = (slice(None), slice(None))
    _, expected = closed("torch", case, pieces=pieces, provenance=provenance)
    reducer, window = LogitsReducer(case.ids, backend="auto"), Window(CATALOGUE, group="local")
    for _ in pieces:
        reducer.observe(window, case.logits, case.labels, case.types, provenance=provenance)
    assert reducer.backend == ("triton", "as if")
    found = window.close(mode="train", global_step=1).metrics
    assert found.keys() == expected.metrics.keys()
    assert all(found[key] == pytest.approx(v, rel=1e-6) for key, v in expected.metrics.items())


def test_a_kernel_that_says_something_else_is_given_up(as_if_on_cuda, monkeypatch):
    """A wrong metric looks like any other; so plain torch reads that sample too, once."""
    from coordexp_metrics.reducers.kernels.launch import Kernels

    right = Kernels.states

    def wrong(self, *batch):
        layout, states = right(self, *batch)
        states[2 * [metric.key for metric in layout.metrics].index("coord_diag/w1")] += 0.5
        return layout, states

    monkeypatch.setattr(Kernels, "states", wrong)
    case = make(2, 6, 60, 9, coord=0.5)
    _, expected = closed("torch", case)
    reducer, window = LogitsReducer(case.ids, backend="auto"), Window(CATALOGUE, group="local")
    with pytest.warns(RuntimeWarning, match="plain torch differ at coord_diag/w1"):
        reducer.observe(window, case.logits, case.labels, case.types)
    assert reducer.backend.name == "torch"
    assert window.close(mode="train", global_step=1).metrics == expected.metrics


def test_a_compiler_that_fails_costs_the_speed_and_nothing_else(monkeypatch, as_if_on_cuda):
    """On ``auto`` the batch is read by torch, once is warned, and no key is counted twice."""
    from coordexp_metrics.reducers.kernels import launch

    class Broken:
        def __getitem__(self, grid):
            raise RuntimeError("no compiler here")

    case = make(2, 6, 60, 9, coord=0.5)
    monkeypatch.setattr(launch, "fill_states", Broken())
    _, expected = closed("torch", case, pieces=(slice(None), slice(None)))
    reducer, window = LogitsReducer(case.ids, backend="auto"), Window(CATALOGUE, group="local")
    with pytest.warns(RuntimeWarning, match="no compiler here"):
        reducer.observe(window, case.logits, case.labels, case.types)
    assert reducer.backend.name == "torch"
    assert "no compiler here" in reducer.backend.why
    reducer.observe(window, case.logits, case.labels, case.types)
    assert window.close(mode="train", global_step=1).metrics == expected.metrics
    with pytest.raises(RuntimeError, match="no compiler here"):
        LogitsReducer(case.ids, backend="triton").compute(case.logits, case.labels)


def test_a_tensor_of_another_kind_is_left_to_torch():
    """A sharded tensor, say, holds no memory that a kernel could read."""

    class Sharded(torch.Tensor):
        pass

    case = make(1, 4, 60, 9)
    reducer = LogitsReducer(case.ids, backend="triton")
    found = reducer.compute(case.logits.as_subclass(Sharded), case.labels)
    assert reducer.backend.name == "torch"
    assert "Sharded" in reducer.backend.why
    assert found.keys() == reducer.compute(case.logits, case.labels).keys()


def test_an_exhausted_memory_is_no_reason_to_give_up(monkeypatch):
    from coordexp_metrics.reducers.backends import Choice

    choice = Choice("auto")
    assert not choice.gave_up(torch.cuda.OutOfMemoryError("full"))


def test_meta_logits_are_on_no_device_that_the_kernels_read():
    with pytest.raises(ObservationError, match="must be on a CUDA device"):
        LogitsReducer([0], backend="triton").compute(
            torch.empty(1, 2, 3, device="meta"), torch.zeros(1, 2).long()
        )
