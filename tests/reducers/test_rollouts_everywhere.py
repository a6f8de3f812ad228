"""Ranks, devices and threads: the same facts give the same bits, and nobody waits for a device."""

import json
import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import ObjectiveAtoms, RolloutReducer, Stage2Telemetry
from coordexp_metrics.reducers.fact_columns import column_of
from coordexp_metrics.rollouts import RolloutFacts
from coordexp_metrics.window import Window
from tests.reducers.rollout_facts import BUCKETS, NAMES, columns_of, facts_of
from tests.reducers.test_footprint import SYNCS, Operations, states_of
from tests.window.grid import Grid

WORLD = 2
SAMPLES = [facts_of(seed) for seed in range(40)]
BAD = RolloutFacts(gt_objects=1, pred_objects=1, matched=5, truncated=True)


@pytest.fixture(scope="module")
def grid():
    with Grid(WORLD) as ranks:
        yield ranks


def text(payload):
    """Every bit of a payload but where it was made."""
    data = payload.to_dict()
    data.pop("coverage")
    return json.dumps(data)


def close_over(rank, cells, mode, form):
    """Close one window over the ranks; ``cells[rank]`` are this rank's micro-batches."""
    window = Window(CATALOGUE, timeout=20)
    reducer = RolloutReducer(True, 0.7, 0.9, 20, variant="stage2_two_channel")
    for piece in cells[rank]:
        if form == "objects":
            reducer.observe(window, piece)
        elif piece:
            reducer.observe(window, columns_of(piece, torch.tensor))
    return text(window.close(mode=mode, global_step=3))


def dealt(samples, world, pieces):
    """The samples, dealt unevenly over ranks and micro-batches."""
    cells = [[[] for _ in range(pieces)] for _ in range(world)]
    for index, sample in enumerate(samples):
        cells[(index * index) % world][index % pieces].append(sample)
    return cells


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("form", ["objects", "columns"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_ranks_and_micro_batches_give_what_one_process_gives(grid, mode, form, pieces):
    """Bit for bit: counts, rates, means of exact amounts, quantiles; on every rank."""
    samples = SAMPLES if form == "columns" else [*SAMPLES, BAD, RolloutFacts(pred_objects=3)]
    window = Window(CATALOGUE, group="local")
    RolloutReducer(True, 0.7, 0.9, 20, variant="stage2_two_channel").observe(window, samples)
    alone = text(window.close(mode=mode, global_step=3))
    for cells in (dealt(samples, WORLD, pieces), [[samples[::-1]], [[]]]):
        assert grid.run(close_over, cells, mode, form) == [alone] * WORLD


def step_over(rank, channel):
    window = Window(CATALOGUE, timeout=20)
    say = Stage2Telemetry(
        window,
        RolloutReducer(temperature=(0.7, 0.8)[rank], top_p=0.9, variant="stage2_two_channel"),
        ObjectiveAtoms(terms={"struct_ce": 1.0}),
    )
    for _ in range(2):
        say.micro_step(samples=3 + rank)
    if channel == "B" and rank == 0:
        with say.generate():
            say.rollouts([RolloutFacts(gen_new_tokens=100)])
    say.objective(channel, {}, weight=10 * (rank + 1), loss=float(rank))
    say.end_step(channel)
    payload = window.close(mode="train", global_step=1)
    return payload.metrics, window.disagreements


def test_a_rank_without_rollouts_contributes_nothing(grid):
    """Union of keys: the seconds and tokens of one rank, no 0.0 of the other."""
    (metrics, disagreements), other = grid.run(step_over, "B")
    assert other == (metrics, disagreements)
    seconds = metrics["time/rollout_generate_s"]
    assert metrics["rollout/gen_tokens_per_s"] == 100 / seconds
    assert metrics["rollout/temperature"] == 0.7
    assert (metrics["train/samples_total"], metrics["train/micro_steps"]) == (14, 2)
    assert metrics["loss"] == 1 / 30
    assert metrics["loss/B_rollout_text/struct_ce"] == 0.0
    (metrics, _), _ = grid.run(step_over, "A")
    assert not [key for key in metrics if key.startswith(("rollout/", "time/"))]


def knobs_over(rank):
    window = Window(CATALOGUE, timeout=20)
    RolloutReducer(rank == 1, 0.5 + rank).observe(window, [RolloutFacts()])
    metrics = window.close(mode="train", global_step=1).metrics
    return metrics, window.disagreements


def test_knobs_that_differ_are_withheld_and_a_flag_is_on_if_it_was_anywhere(grid):
    """Temperatures of two ranks are neither averaged nor chosen from."""
    for metrics, disagreements in grid.run(knobs_over):
        assert metrics == {"rollout/do_sample": 1}
        assert disagreements == {"rollout/temperature": {0.5: (0,), 1.5: (1,)}}


READS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__")


class NoReads(TorchDispatchMode):
    """Raises where the host would read a device: by its methods, and by what they dispatch to."""

    def __enter__(self):
        self.patch = pytest.MonkeyPatch()
        for name in READS:
            self.patch.setattr(torch.Tensor, name, self.refused(name))
        return super().__enter__()

    def __exit__(self, *error):
        self.patch.undo()
        return super().__exit__(*error)

    def refused(self, name):
        def refuse(*arguments, **named):
            raise AssertionError(f"{name} waits for the device")

        return refuse

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert name not in SYNCS, f"{name} waits for the device"
        return func(*args, **(kwargs or {}))


def test_columns_of_tensors_are_never_read():
    """No item, no tolist, no bool, no float, no index by a mask: from the facts to the window."""
    samples = [*SAMPLES, BAD]
    whole = [facts_of(seed) for seed in range(len(samples))]
    columns = columns_of(whole, torch.tensor)
    columns["matched"] = columns["matched"] + 100
    columns["excluded"] = (columns["excluded"], torch.arange(len(whole)) % 2 == 0)
    columns["decode_mode"] = torch.arange(len(whole)) % 3 == 0
    reducer = RolloutReducer(True, 0.7, variant="stage2_two_channel")
    window = Window(CATALOGUE, group="local")
    with NoReads(), Operations() as operations:
        for _ in range(2):
            reducer.observe(window, columns)
    assert operations.syncs == []
    assert window.close(mode="train", global_step=1).metrics["stage2/raw_rollouts"] == 82
    assert reducer.report().wrong["objects"] == 82


def test_reading_is_seen():
    """What must not happen is noticed if it does."""
    x = torch.arange(3)
    reads = (
        lambda: x[0].item(),
        lambda: x.tolist(),
        lambda: bool(x.any()),
        lambda: float(x.sum()),
        lambda: x.nonzero(),
        lambda: x[x > 1],
        lambda: torch.equal(x, x),
    )
    for read in reads[:5]:
        with NoReads(), pytest.raises(AssertionError, match="waits for the device"):
            read()
    for read in reads[4:]:
        with Operations() as operations:
            read()
        assert operations.syncs


def test_nothing_of_the_columns_is_kept():
    """The window holds sums; the reducer holds a count a fact."""
    columns = columns_of(SAMPLES * 20, torch.tensor)
    columns["maskiou_sum"].requires_grad_()
    reducer, window = RolloutReducer(), Window(CATALOGUE, group="local")
    reducer.observe(window, columns)
    for state in states_of(window):
        assert state.grad_fn is None
        assert not state.requires_grad
    kept = [
        tensor
        for counts in vars(reducer._ledger).values()
        if isinstance(counts, dict)
        for tensor in counts.values()
    ]
    assert kept
    assert max(tensor.numel() for tensor in kept) <= 2


def test_tensors_and_lists_go_together():
    """What the host knows joins the columns of the device."""
    columns = columns_of(SAMPLES, torch.tensor)
    expected = RolloutReducer().compute(columns)
    mixed = {
        name: column.tolist() if index % 3 == 0 and isinstance(column, torch.Tensor) else column
        for index, (name, column) in enumerate(columns.items())
    }
    mixed["gt_objects"] = columns["gt_objects"].numpy()
    mixed["decode_mode"] = ["beam" if s.decode_mode == "beam" else None for s in SAMPLES]
    found = RolloutReducer().compute(mixed)
    del expected["rollout/decode_non_beam_count"], found["rollout/decode_non_beam_count"]
    assert found == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_amounts_of_any_precision_keep_their_bounds(dtype):
    """A sum in half precision may round beyond its count by an ulp only where it is exact."""
    count = torch.arange(1, 200)
    columns = {"maskiou_sum": (count * 0.5).to(dtype), "maskiou_count": count}
    reducer = RolloutReducer()
    found = reducer.compute(columns)
    assert math.isclose(found["rollout/matched_maskiou_mean"], 0.5, rel_tol=1e-2)
    assert reducer.report().wrong == {}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.uint16])
def test_counts_of_any_width(dtype):
    """Every integer dtype is a count."""
    column = column_of(
        "matched", torch.tensor([1, 2], dtype=dtype), None, torch, torch.device("cpu")
    )
    assert column.known.all()
    assert column.values.dtype is torch.float64


def test_the_names_of_columns_are_the_names_of_facts():
    """One vocabulary: objects, columns, and the reasons that the catalogue knows."""
    from coordexp_metrics.reducers import RolloutColumns, fact_reading

    assert [*RolloutColumns.__annotations__] == NAMES
    assert fact_reading.BUCKETS == BUCKETS


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_never_syncs_and_agrees_with_the_host():
    """Under ``set_sync_debug_mode("error")``."""
    columns = columns_of(SAMPLES, torch.tensor)
    on_device = {
        name: {k: v.cuda() for k, v in column.items()}
        if isinstance(column, dict)
        else column.cuda()
        if isinstance(column, torch.Tensor)
        else column
        for name, column in columns.items()
    }
    reducer, window = RolloutReducer(), Window(CATALOGUE, group="local")
    torch.cuda.set_sync_debug_mode("error")
    try:
        reducer.observe(window, on_device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = window.close(mode="train", global_step=0).metrics
    assert found == RolloutReducer().compute(columns)
