"""Whatever the cut over ranks, the payload is that of one process; one collective a close."""

import itertools
import json
import math
import random

import pytest
import torch
import torch.distributed as dist

from coordexp_metrics import CATALOGUE, MetricsRegistry, Payload, RankError
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.sinks import MemorySink
from coordexp_metrics.window import Window, ranks
from tests.small import SMALL, Knobs, Objective, Progress, Rollout
from tests.window.grid import Grid, Recorder, group_of
from tests.window.samples import MEANS, assert_same, draw, flat, oracle

WORLD = 4


@pytest.fixture(scope="module")
def grid():
    with Grid(WORLD) as ranks:
        yield ranks


def window_of(rank, size, catalogue=SMALL, **options):
    """A window over the first ``size`` ranks, or None on the others."""
    group = group_of(WORLD, size)
    if rank >= size:
        return None
    return Window(catalogue, group=group, timeout=20, **options)


def text(payload):
    """Every bit of a payload."""
    return json.dumps(payload.to_dict())


def fold(rank, cells, as_tensors=False, **options):
    """Close one window over ``len(cells)`` ranks; the payload as text, and the collectives."""
    with Recorder() as recorder:
        window = window_of(rank, len(cells), **options)
        if window is None:
            return None
        bound = len(recorder.calls)
        for observation in flat([cells[rank]]):
            key, *statistics = observation
            if as_tensors and rank % 2:
                statistics = [torch.tensor(x, dtype=torch.float64) for x in statistics]
            window.observe(key, *statistics)
        payload = window.close(mode="train", global_step=3)
    return payload.to_dict(), text(payload), recorder.calls[:bound], recorder.calls[bound:]


def fold_as_on_many_ranks(rank, cells):
    few, ranks.GATHERED = ranks.GATHERED, 0
    try:
        return fold(rank, cells)
    finally:
        ranks.GATHERED = few


def test_N12_R09_many_ranks_reduce_where_few_gather(grid):
    for seed in range(6):
        cells = draw(seed, WORLD, micro_batches=4)
        answers = grid.run(fold_as_on_many_ranks, cells)
        assert_same(answers[0][0]["metrics"], oracle(cells))
        assert {name for answer in answers for name, _, _ in answer[3]} == {"all_reduce"}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("as_tensors", [False, True])
def test_R02_R07_R08_any_cut_gives_what_one_process_gives(grid, size, as_tensors):
    """Uneven and empty ranks, keys that some ranks or micro-batches lack, any order."""
    for seed in range(6):
        cells = draw(seed, size, micro_batches=4)
        answers = grid.run(fold, cells, as_tensors)[:size]
        found = answers[0][0]
        assert_same(found["metrics"], oracle(cells))
        assert found["coverage"]["world_size"] == size
        assert found["coverage"]["scope"] == "global"


def noisy(rank, gathered):
    """Sums whose last bits depend on the order in which ranks are added."""
    few, ranks.GATHERED = ranks.GATHERED, gathered
    window, rng = Window(SMALL, timeout=20), random.Random(rank)
    texts = []
    for step in range(20):
        for key in MEANS:
            window.observe(key, rng.uniform(0, 1000), rng.uniform(0, 10))
        texts.append(text(window.close(mode="train", global_step=step)))
    ranks.GATHERED = few
    return texts


@pytest.mark.parametrize("gathered", [0, 8])
def test_N12_all_ranks_hold_the_same_bits(grid, gathered):
    first, *others = grid.run(noisy, gathered)
    assert others == [first] * (WORLD - 1)


def test_N12_the_same_data_gives_the_same_bits_again(grid):
    cells = draw(7, WORLD, micro_batches=4)
    assert grid.run(fold, cells)[0][1] == grid.run(fold, cells)[0][1]


def test_R01_the_same_collectives_whatever_the_data(grid):
    """One a close, of one shape, on a group of our own; nothing on the group that trains."""
    sequences = set()
    for cells in (draw(1, WORLD, 4), draw(2, WORLD, 1), [[]] * WORLD):
        for _, _, bound, closing in grid.run(fold, cells):
            sequences.add((*bound, *closing))
            assert [name for name, _, _ in closing] == ["all_gather"]
            assert all(group == "own group" for _, group, _ in (*bound, *closing))
    assert len(sequences) == 1


def one_raises(rank):
    """A reducer that fails on one rank leaves that rank's contribution out, and nothing else."""
    window = Window(SMALL, timeout=20)
    with Recorder() as recorder:
        try:
            window.observe(Rollout.matched, 1 + rank)
            if rank == 2:
                raise ZeroDivisionError
            window.observe(Rollout.gt_total, 10)
        except ZeroDivisionError:
            pass
        payload = window.close(mode="train", global_step=1)
    return dict(payload.metrics), recorder.calls


def test_R01_R19_a_reducer_that_raises_on_one_rank(grid):
    answers = grid.run(one_raises)
    assert all(len(calls) == 1 for _, calls in answers)
    metrics = answers[0][0]
    assert (metrics["rollout/matched"], metrics["rollout/gt_total"]) == (10, 30)


def with_nan(rank, bad, value):
    window = Window(SMALL, timeout=20)
    window.observe(Objective.loss, value if rank == bad else 1.0, 1)
    window.observe("text/entropy", value if rank == bad else 2.0, 1)
    window.observe(Knobs.peak, value if rank == bad else 3.0)
    window.observe(Rollout.matched, 1)
    payload = window.close(mode="train", global_step=1)
    return (
        dict(payload.metrics), dict(payload.nonfinite), dict(window.withheld),
        sorted(window.nonfinite_ranks),
    )  # fmt: skip


@pytest.mark.parametrize("bad", range(WORLD))
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_R12_a_nonfinite_rank_changes_its_own_keys_alone(grid, bad, value):
    """In the loss it shows; of a monitor it is withheld and counted; the rank is named."""
    for answer in grid.run(with_nan, bad, value):
        metrics, nonfinite, withheld, ranks = answer
        assert nonfinite == {"loss": "nan" if math.isnan(value) else "inf"}
        assert metrics == {
            "text/entropy": 2.0, "knob/peak": 3.0, "rollout/matched": 4,
            "contract/withheld_total": 2,
        }  # fmt: skip
        assert withheld == {"text/entropy": 1, "knob/peak": 1}
        assert ranks == [bad]


def withholding(rank):
    window = Window(SMALL, timeout=20)
    for _ in range(rank):
        window.observe("text/entropy", math.nan, 1)
    payload = window.close(mode="train", global_step=1)
    return payload.metrics, window.withheld, sorted(window.nonfinite_ranks)


def test_R12_what_ranks_withheld_adds_up(grid):
    wanted = ({"contract/withheld_total": 6}, {"text/entropy": 6}, [1, 2, 3])
    assert grid.run(withholding) == [wanted] * WORLD


def knobs(rank, values):
    window = Window(SMALL, timeout=20)
    if values[rank] is not None:
        window.observe(Knobs.temperature, values[rank])
    metrics = dict(window.close(mode="train", global_step=1).metrics)
    return metrics.get("knob/temperature"), window.disagreements


def test_a_knob_that_some_ranks_lack_keeps_its_value(grid):
    """0.7 on two ranks of four is 0.7, not 0.35."""
    assert grid.run(knobs, [None, 0.7, None, 0.7]) == [(0.7, {})] * WORLD


def test_ranks_that_disagree_are_named_with_their_values(grid):
    wanted = {"knob/temperature": {0.7: (0, 1, 3), 0.35: (2,)}}
    assert grid.run(knobs, [0.7, 0.7, 0.35, 0.7]) == [(None, wanted)] * WORLD


def clocks(rank):
    window = Window(SMALL, timeout=20)
    for _ in range(2):
        for _ in range(2):
            window.observe(Knobs.generate_s, 3.0 if rank == 2 else 1.0)
        window.step()
    payload = window.close(mode="train", global_step=1)
    return payload.metrics["knob/generate_s"], payload.coverage["steps"], window.imbalance


def test_the_slowest_rank_is_a_sum_of_maxima_and_the_imbalance_comes_for_free(grid):
    assert grid.run(clocks) == [(12.0, 2, {"knob/generate_s": (2.0, 2)})] * WORLD


def counts(rank, each):
    window = Window(SMALL, timeout=20)
    window.observe(Rollout.matched, each)
    payload = window.close(mode="train", global_step=1)
    return payload.metrics["rollout/matched"], payload.coverage.get("inexact")


@pytest.mark.parametrize("each", [2**24 + 1, 2**31 + 1, 2**50 + 1])
def test_R11_N03_counts_are_exact_up_to_2_53(grid, each):
    assert grid.run(counts, each) == [(WORLD * each, None)] * WORLD


def test_R11_a_count_beyond_2_53_says_so(grid):
    value, inexact = grid.run(counts, 2**53)[0]
    assert inexact == ["rollout/matched"]
    assert isinstance(value, float)
    assert value == WORLD * 2**53


def mismatch(rank, odd):
    families = ["Rollout", "Objective"] if rank == odd else None
    catalogue = Catalogue(Objective) if families and odd == 3 else SMALL
    with Recorder() as recorder:
        try:
            Window(catalogue, timeout=20, families=families if odd != 3 else None)
        except RankError as error:
            return error.rank, error.world_size, str(error), recorder.calls
    return None


@pytest.mark.parametrize("odd", [0, 2, 3])
def test_R03_another_catalogue_is_refused_on_all_ranks_before_anything_else(grid, odd):
    for rank, world, message, calls in grid.run(mismatch, odd):
        assert (rank, world) == (odd, WORLD)
        assert f"rank {odd} has" in message
        assert message.count("layout") == 2
        assert [(name, group) for name, group, _ in calls] == [("all_gather", "own group")]


def replicas(rank):
    """Two data-parallel ranks, each of them two tensor-parallel replicas."""
    pairs = [dist.new_group([0, 2]), dist.new_group([1, 3])]
    window = Window(SMALL, group=pairs[rank % 2], timeout=20)
    window.observe(Progress.samples_total, 5 + rank // 2)
    payload = window.close(mode="train", global_step=1)
    return payload.metrics["train/samples_total"], payload.coverage["world_size"]


def test_R17_a_replica_counts_once(grid):
    assert grid.run(replicas) == [(11, 2)] * WORLD


def by_choice(rank):
    window = Window(SMALL, group="local")
    with Recorder() as recorder:
        window.observe(Progress.samples_total, 5)
        payload = window.close(mode="train", global_step=1)
    return dict(payload.metrics), payload.coverage, recorder.calls


def test_a_local_value_never_wears_a_global_name(grid):
    """Its name says so, and a strict registry takes it under that name."""
    metrics = {"local/train/samples_total": 5, "local/train/samples_seen": 5}
    coverage = {"world_size": WORLD, "missing_ranks": [], "steps": 1, "scope": "local"}
    assert grid.run(by_choice) == [(metrics, coverage, [])] * WORLD
    payload = Payload("train", 1, metrics, coverage=coverage)
    with MetricsRegistry(sinks=[memory := MemorySink()], on_violation="raise") as registry:
        registry.emit(payload)
    assert memory.records[0].metrics == metrics


def accumulate(rank, size, samples):
    """``samples`` dealt over ``size`` ranks: fewer ranks accumulate longer."""
    window = window_of(rank, size)
    if window is None:
        return None
    for tokens, loss in itertools.islice(samples, rank, None, size):
        window.observe(Objective.loss, loss * tokens, tokens)
        window.observe(Progress.samples_total, 1)
    return dict(window.close(mode="train", global_step=1).metrics)


def test_R08_accumulation_times_world_size_is_all_that_counts(grid):
    samples = [(1, 9.0), (10_000, 0.5), (3, 2.0), (40, 1.0), (1, 7.0), (800, 0.25)]
    tokens = sum(tokens for tokens, _ in samples)
    wanted = {
        "loss": math.fsum(tokens * loss for tokens, loss in samples) / tokens,
        "train/samples_total": 6,
        "train/samples_seen": 6,
    }
    for size in (1, 2, 3, 4):
        assert_same(grid.run(accumulate, size, samples)[0], wanted)
    means = math.fsum(loss for _, loss in samples) / len(samples)
    assert abs(means - wanted["loss"]) > 2, "a mean of means would be another number"


def logged(rank, every, steps):
    window = Window(SMALL, timeout=20)
    rows = []
    with Recorder() as recorder:
        for step in range(1, steps + 1):
            window.observe(Progress.samples_total, rank + step)
            window.observe(Knobs.temperature, 0.1 * (step // 2))
            if step % every:
                window.step()
            else:
                rows.append(window.close(mode="train", global_step=step))
    return [(dict(row.metrics), row.coverage["steps"]) for row in rows], len(recorder.calls)


def test_logging_every_ten_steps_loses_none(grid):
    (every_step, calls), (every_ten, fewer) = (grid.run(logged, every, 20)[0] for every in (1, 10))
    assert calls == fewer == 20
    assert [steps for _, steps in every_ten] == [10, 10]
    for tenth, ((metrics, _), last) in enumerate(zip(every_ten, (9, 19), strict=True)):
        part = [row for row, _ in every_step[10 * tenth : 10 * tenth + 10]]
        assert metrics["train/samples_total"] == sum(r["train/samples_total"] for r in part)
        assert metrics["train/samples_seen"] == every_step[last][0]["train/samples_seen"]
        assert metrics["knob/temperature"] == every_step[last][0]["knob/temperature"]


def out_of_step(rank, skipper):
    """One rank skips a close."""
    window = Window(SMALL, timeout=20)
    rows = []
    for step in range(1, 4):
        window.observe(Rollout.matched, 1)
        if (rank, step) != (skipper, 1):
            rows.append(window.close(mode="train", global_step=step))
    return [(row.coverage["scope"], dict(row.metrics)) for row in rows]


def test_R06_a_rank_out_of_step_retires_the_group_on_all_and_mixes_nothing(grid):
    answers = grid.run(out_of_step, 1)
    assert [scope for scope, _ in answers[0]] == ["local"] * 3
    assert answers[0][0][1] == {"local/rollout/matched": 1}
    assert answers[1][0] == ("local", {"local/rollout/matched": 2})


def interrupted(rank, size, halves, save):
    """Save in the middle of an accumulation, and go on from there."""
    first, second = (Window(SMALL, timeout=20), Window(SMALL, timeout=20))
    first.observe(Progress.samples_total, 100)
    first.close(mode="train", global_step=1)
    for observation in flat([halves[0][rank]]):
        first.observe(*observation)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())) if save else {})
    for observation in flat([halves[1][rank]]):
        second.observe(*observation)
    return dict(second.close(mode="train", global_step=2).metrics)


def test_saving_and_loading_in_the_middle_changes_nothing(grid):
    halves = draw(3, WORLD, 4), draw(4, WORLD, 4)
    whole = [a + b for a, b in zip(*halves, strict=True)]
    wanted = oracle(whole)
    wanted["train/samples_seen"] = 100 * WORLD + wanted.get("train/samples_total", 0)
    assert_same(grid.run(interrupted, WORLD, halves, True)[0], wanted)


def resized(rank, state):
    window = Window(SMALL, timeout=20)
    window.load_state_dict(state)
    window.observe(Progress.samples_total, 1)
    return window.close(mode="train", global_step=2).metrics["train/samples_seen"]


def test_R13_samples_seen_continues_in_a_world_of_another_size(grid):
    one = Window(SMALL)
    one.observe(Progress.samples_total, 100)
    one.close(mode="train", global_step=1)
    assert grid.run(resized, one.state_dict()) == [104] * WORLD


def lagged(rank):
    window = Window(SMALL, lag=1, timeout=20)
    closes = []
    for step in range(1, 4):
        window.observe(Rollout.matched, step)
        closes.append(window.close(mode="train", global_step=step))
    rows = [*closes[1:], *window.drain()]
    return closes[0], [(row.global_step, dict(row.metrics)) for row in rows], window.drain()


def test_lag_delivers_every_payload_in_order(grid):
    rows = [(step, {"rollout/matched": WORLD * step}) for step in (1, 2, 3)]
    assert grid.run(lagged) == [(None, rows, ())] * WORLD


def whole_catalogue(rank):
    window = Window(CATALOGUE, timeout=20)
    window.observe("coord_diag/B/expected_bin_abs_err_p90", torch.arange(100.0) + rank)
    window.observe("stage2_ab/channel_b/strict_drop/reason/never_heard_of", 2)
    return dict(window.close(mode="train", global_step=1).metrics)


def test_N10_quantiles_are_over_all_samples_of_all_ranks(grid):
    metrics = grid.run(whole_catalogue)[0]
    pooled = torch.cat([torch.arange(100.0) + rank for rank in range(WORLD)]).double()
    found = metrics["coord_diag/B/expected_bin_abs_err_p90"]
    assert abs(found - pooled.quantile(0.9)) <= 1 / 4
    assert metrics["stage2_ab/channel_b/strict_drop/reason/other"] == 8
