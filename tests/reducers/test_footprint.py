"""The reducer leaves no trace: no sync, no graph, no copy, no memory, no change to its inputs."""

import gc
import random
import sys
import threading

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import LogitsReducer, parallel
from coordexp_metrics.window import Window
from tests.reducers.cases import LAYERS, make

SYNCS = {"_local_scalar_dense", "nonzero", "item", "is_nonzero", "masked_select", "unique", "equal"}
WIDE_ORDER = {"topk", "sort", "argsort", "kthvalue", "msort"}


class Operations(TorchDispatchMode):
    """Counts what would stop the host, and the greatest tensor that is made."""

    def __init__(self, *known):
        super().__init__()
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.called = set()
        self.syncs = []
        self.greatest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.called.add(name)
        booleans = [
            index
            for index in (args[1] if name in {"index", "index_put_", "index_put"} else ())
            if index is not None and index.dtype is torch.bool
        ]
        if name in SYNCS or booleans:
            self.syncs.append(name)
        for tensor in out if isinstance(out, (list, tuple)) else [out]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.known:
                    self.greatest = max(self.greatest, storage.nbytes())
        return out


@pytest.fixture
def one_thread(monkeypatch):
    """Modes watch the thread that entered them."""
    monkeypatch.setattr(parallel.torch, "get_num_threads", lambda: 1)


def observed(case, window=None, **changes):
    window = window or Window(CATALOGUE, group="local")
    arguments = {"logits": case.logits, "labels": case.labels, "token_types": case.types}
    LogitsReducer(case.ids, temperature=0.9).observe(window, **(arguments | changes))
    return window


@pytest.mark.parametrize("layout", ["contiguous", "scattered"])
def test_T01_nothing_waits_for_the_device(layout, place, one_thread):
    case = make(2, 12, 600, 30, layout=layout)
    with Operations() as operations:
        observed(case)
    assert operations.called >= {"exp2", "amax", "sum"}
    assert operations.syncs == []


def test_the_counter_of_syncs_sees_them(one_thread):
    x = torch.arange(3)
    with Operations() as operations:
        _ = x.sum().item(), x.nonzero(), x[x > 1]
    assert len(operations.syncs) >= 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_T10_the_logits_are_neither_copied_nor_sorted(dtype, one_thread):
    case = make(1, 512, 20_000, 100, dtype=dtype)
    size = case.logits.numel() * case.logits.element_size()
    with Operations(case.logits) as operations:
        observed(case)
    assert operations.greatest <= 0.1 * size
    assert not WIDE_ORDER & operations.called


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_T07_inputs_stay_as_they_are(layer, dtype, place):
    case = make(2, 12, 300, 30, layer=layer, dtype=dtype)
    before = [x.clone() for x in (case.logits, case.labels, case.types)]
    one = observed(case).close(mode="train", global_step=1)
    for x, was in zip((case.logits, case.labels, case.types), before, strict=True):
        assert torch.equal(x, was)
    plain = observed(case, logits=case.logits.contiguous()).close(mode="train", global_step=1)
    assert one.metrics == pytest.approx(plain.metrics, rel=1e-12)


def states_of(window):
    """The folded tensors of a window, wherever it keeps them."""
    found = [
        state
        for kept in vars(window._observations).values()
        if isinstance(kept, dict)
        for state in kept.values()
        if isinstance(state, torch.Tensor)
    ]
    assert found
    return found


def trained(metrics):
    """Gradients of a small model, with and without somebody who watches."""
    generator = torch.Generator().manual_seed(3)
    case = make(2, 12, 300, 30)
    hidden = torch.randn(2, 12, 16, generator=generator, requires_grad=True)
    head = torch.randn(16, 300, generator=generator, requires_grad=True)
    logits = hidden @ head
    if metrics:
        observed(case, logits=logits)
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), case.labels[:, 1:].flatten()
    )
    if metrics:
        observed(case, logits=logits)
    loss.backward()
    return hidden.grad, head.grad


def test_T08_gradients_are_bit_equal(place):
    for with_metrics, without in zip(trained(True), trained(False), strict=True):
        assert torch.equal(with_metrics, without)


def test_T08_no_graph_is_kept(place):
    case = make(2, 12, 300, 30)
    window = observed(case, logits=case.logits.requires_grad_())
    for state in states_of(window):
        assert state.grad_fn is None
        assert not state.requires_grad


@pytest.mark.parametrize("size", [300, 40_000])
def test_T08_in_inference_mode_and_under_autocast(size, place):
    case = make(2, 40, size, 30)
    expected = observed(case).close(mode="train", global_step=1)
    with torch.inference_mode():
        window = observed(case, logits=case.logits.clone())
    observed(case, window)
    inferred = window.close(mode="train", global_step=1)
    assert inferred.metrics["token_acc"] == expected.metrics["token_acc"]
    with torch.autocast("cpu", torch.bfloat16):
        cast = observed(case).close(mode="train", global_step=1)
    assert cast == expected


def test_T09_a_state_holds_nothing_but_itself(place):
    window = observed(make(2, 12, 300, 30))
    for state in states_of(window):
        assert state.untyped_storage().nbytes() == state.numel() * state.element_size()


def test_T13_random_generators_are_left_alone(place):
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    case = make(2, 12, 300, 30)
    observed(case)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]


def test_T14_deterministic_algorithms(place):
    case = make(2, 12, 300, 30, layout="scattered")
    torch.use_deterministic_algorithms(True)
    try:
        one, other = (observed(case).close(mode="train", global_step=1) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert one == other


def test_T11_a_compiled_model_has_no_further_graph_break():
    """The reducer is called outside; a model that compiles as one graph still does."""
    case = make(2, 12, 300, 30)
    model = torch.compile(torch.nn.Linear(8, 300), backend="eager", fullgraph=True)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for _ in range(3):
        logits = model(torch.ones(2, 12, 8))
        observed(case, logits=logits)
        logits.sum().backward()
    assert not torch._dynamo.utils.counters["graph_break"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_threads_may_share_a_reducer():
    """One reducer, a window a thread: every window gets its own numbers."""
    many = [make(2, 12, 500, 30, seed=seed, layout="permuted") for seed in range(6)]
    for case in many:
        case.ids = many[0].ids
        case.types = torch.where(case.types == 2, 1, case.types)
    expected = [
        LogitsReducer(case.ids).compute(case.logits, case.labels, case.types) for case in many
    ]
    reducer, found = LogitsReducer(many[0].ids), [None] * len(many)

    def work(index):
        case = many[index]
        for _ in range(5):
            found[index] = reducer.compute(case.logits, case.labels, case.types)

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(many))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert found == expected


def resident():
    """Pages of this process in memory."""
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        return int(statm.read().split()[1])


def grown_by(calls):
    """Objects and pages after many calls of one reducer, beyond those after a first hundred."""
    case = make(1, 8, 300, 20)
    reducer, window = LogitsReducer(case.ids), Window(CATALOGUE, group="local")
    counts = []
    for call in range(calls + 100):
        reducer.observe(window, case.logits, case.labels, case.types)
        if call in {99, calls + 99}:
            gc.collect()
            counts.append((len(gc.get_objects()), resident()))
    return counts[1][0] - counts[0][0], (counts[1][1] - counts[0][1]) * 4096


def test_T10_memory_does_not_grow():
    objects, memory = grown_by(1000)
    assert objects < 200
    assert memory < 8 << 20


@pytest.mark.soak
def test_T10_memory_does_not_grow_over_many_calls():
    objects, memory = grown_by(10_000)
    assert objects < 200
    assert memory < 8 << 20
