"""On a GPU: the numbers of plain torch, no wait, four launches, little memory, on any stream."""

import gc

import pytest
import torch

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.window import Window
from tests.reducers.cases import INTERPRETED, LAYOUTS, SCALES, make
from tests.reducers.reference import reference
from tests.reducers.test_agreement import assert_equal

pytestmark = pytest.mark.skipif(
    INTERPRETED or not torch.cuda.is_available(), reason="needs a CUDA device"
)
SIZE, BINS = 152_936, 1000
SOME = [torch.bfloat16, torch.float32, torch.float16]


def on_gpu(case):
    case.logits, case.labels, case.types = (
        x.cuda() for x in (case.logits, case.labels, case.types)
    )
    return case


def large(rows=512, dtype=torch.bfloat16, ids=range(SIZE - BINS, SIZE)):
    """A batch of the model's own vocabulary, made on the device."""
    generator = torch.Generator("cuda").manual_seed(0)
    logits = torch.randn(1, rows, SIZE, device="cuda", dtype=dtype, generator=generator) * 3
    ids = torch.tensor(list(ids), device="cuda")
    labels = torch.randint(0, SIZE, (1, rows), device="cuda", generator=generator)
    picked = ids[torch.randint(0, len(ids), (1, rows), device="cuda", generator=generator)]
    chance = torch.rand(2, 1, rows, device="cuda", generator=generator)
    labels = torch.where(chance[0] < 0.4, picked, labels)
    types = torch.where(torch.isin(labels, ids), 2, torch.where(labels % 2 == 0, 1, 3))
    labels = torch.where(chance[1] < 0.125, -100, labels)
    logits[0, :-1].scatter_add_(
        1, labels[0, 1:, None].clamp(min=0), torch.full((rows - 1, 1), 9.0, device="cuda").to(dtype)
    )
    return logits, labels, types


def observe(reducer, batch, window=None):
    window = window or Window(CATALOGUE, group="local")
    reducer.observe(window, *batch)
    return window


def payload(window):
    return window.close(mode="train", global_step=1)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("temperature", [1e-38, 0.7, 1.0])
def test_the_kernels_agree_with_plain_float64(temperature, scale, layout):
    for seed, dtype in enumerate(SOME if scale in {"plain", "tied"} else SOME[1:2]):
        case = make(
            2, 9, 20_000, 300, scale=scale, layout=layout, dtype=dtype, seed=seed, coord=0.5
        )
        expected = reference(
            case.logits, case.labels, case.types, ids=case.ids, temperature=temperature
        )
        expected["coord_diag/enabled"] = 1.0
        reducer = LogitsReducer(case.ids, temperature=temperature, backend="triton")
        on_gpu(case)
        assert_equal(reducer.compute(case.logits, case.labels, case.types), expected)


@pytest.mark.parametrize("dtype", SOME)
def test_the_kernels_agree_with_plain_torch_at_the_full_size(dtype):
    batch, ids = large(2048, dtype), range(SIZE - BINS, SIZE)
    found = LogitsReducer(ids, backend="triton").compute(*batch)
    expected = LogitsReducer(ids, backend="torch").compute(*batch)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-5), key


def test_auto_takes_the_kernels():
    reducer = LogitsReducer(range(10))
    reducer.compute(torch.zeros(1, 4, 50, device="cuda"), torch.ones(1, 4).long())
    assert reducer.backend.name == "triton"


def test_T01_nothing_waits_for_the_device():
    batch = large()
    reducer = LogitsReducer(range(SIZE - BINS, SIZE), coord_monitor_mass_max_tokens=100)
    payload(observe(reducer, batch))
    window = Window(CATALOGUE, group="local")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            observe(reducer, batch, window)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert payload(window).metrics["token_count"] > 0


def test_an_observation_is_four_launches():
    batch, reducer = large(), LogitsReducer(range(SIZE - BINS, SIZE))
    window = observe(reducer, batch)
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        observe(reducer, batch, window)
        torch.cuda.synchronize()
    kernels = [
        event.name
        for event in profile.events()
        if event.device_type == torch.autograd.DeviceType.CUDA and "Memcpy" not in event.name
    ]
    assert len(kernels) == 4, kernels


def test_T10_the_memory_is_a_thousandth_of_the_logits():
    batch = large(2048)
    reducer = LogitsReducer(range(SIZE - BINS, SIZE))
    window = observe(reducer, batch)
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    observe(reducer, batch, window)
    torch.cuda.synchronize()
    extra = torch.cuda.max_memory_allocated() - before
    assert extra <= 1e-3 * batch[0].numel() * batch[0].element_size()


def test_T02_a_side_stream_that_waited_sees_the_logits():
    """The kernels run on the current stream, so they are ordered as the caller ordered it."""
    reducer, batch = LogitsReducer(range(SIZE - BINS, SIZE)), large()
    expected = payload(observe(reducer, batch))
    side = torch.cuda.Stream()
    for _ in range(50):
        logits = torch.full_like(batch[0], torch.nan)
        logits.copy_(batch[0])
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            found = payload(observe(reducer, (logits, *batch[1:])))
        torch.cuda.current_stream().wait_stream(side)
        assert found == expected


def test_T02_a_cuda_graph_replays_the_sums():
    """Captured once, the kernels sum whatever the logits hold; the window adds each replay."""
    reducer, batch = LogitsReducer(range(SIZE - BINS, SIZE), backend="triton"), large()
    other = large()[0].flip(1).contiguous()
    expected = [payload(observe(reducer, (x, *batch[1:]))) for x in (batch[0], other)]
    kernels = reducer._choice.kernels(batch[0], reducer._settings)
    graph, static = torch.cuda.CUDAGraph(), batch[0].clone()
    with torch.cuda.graph(graph):
        layout, states = kernels.states(static, *batch[1:], None)
    for logits, by_observe in zip((batch[0], other), expected, strict=True):
        static.copy_(logits)
        graph.replay()
        window = Window(CATALOGUE, group="local")
        window.observe_sums(layout.metrics, states.clone())
        window.observe("pack/num_samples", 1)
        window.observe("coord_diag/enabled", 1.0)
        assert payload(window) == by_observe


def test_T14_equal_batches_give_equal_bits():
    reducer, batch = LogitsReducer(range(SIZE - BINS, SIZE)), large()
    assert payload(observe(reducer, batch)) == payload(observe(reducer, batch))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_T10_ten_thousand_steps_do_not_grow():
    reducer, batch = LogitsReducer(range(SIZE - BINS, SIZE)), large(64)
    window, held = Window(CATALOGUE, group="local"), []
    for step in range(10_000):
        observe(reducer, batch, window)
        if step % 10 == 9:
            payload(window)
        if step in {999, 9_999}:
            gc.collect()
            held.append((torch.cuda.memory_allocated(), len(gc.get_objects())))
    assert held[1][0] == held[0][0]
    assert held[1][1] - held[0][1] < 500
