"""One vector carries a step; its length follows from catalogue and world size alone."""

import math
import random
import re
from functools import reduce
from operator import add
from pathlib import Path

import pytest

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.algebra import Op
from coordexp_metrics.contract.kinds import Observed
from coordexp_metrics.window import Window
from coordexp_metrics.window.layout import Call, Layout
from coordexp_metrics.window.verify import Observation, fold
from tests.small import SMALL
from tests.window.samples import assert_same, draw, flat, oracle

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"
OBSERVED = [metric for metric in SMALL.values() if isinstance(metric, Observed)]


def placed(grid):
    """The grid's observations, each with its place."""
    return [
        Observation(SMALL[key], tuple(statistics), rank, micro_batch)
        for rank, batches in enumerate(grid)
        for micro_batch, batch in enumerate(batches)
        for key, *statistics in batch
    ]


@pytest.mark.parametrize(("ranks", "micro_batches"), [(1, 32), (2, 3), (5, 7), (16, 32), (64, 32)])
def test_R09_any_grid_gives_what_one_process_gives(ranks, micro_batches):
    grid = draw(ranks, ranks, micro_batches)
    values = fold(SMALL, Layout(OBSERVED, ranks), placed(grid))
    assert_same(values, oracle(grid))


@pytest.mark.parametrize("seed", range(5))
def test_N13_splitting_packs_changes_nothing(seed):
    """Each micro-batch is cut in two at a random place; the order of ranks is another."""
    grid = draw(seed, 3, 4)
    rng = random.Random(seed)
    cut = []
    for rank in grid:
        halves = []
        for batch in rank:
            at = rng.randint(0, len(batch))
            halves += [batch[:at], batch[at:]]
        cut.append(halves)
    rng.shuffle(cut)
    assert_same(fold(SMALL, Layout(OBSERVED, 3), placed(cut)), oracle(grid))


@pytest.mark.parametrize("dropped", range(5))
def test_N14_a_key_dropped_from_some_micro_batches_counts_where_it_is(dropped):
    """Seen on k of n micro-batches, a mean is over those k and a total their sum."""
    grid = [[[("loss", 6.0, 2), ("rollout/matched", 4)] for _ in range(3)] for _ in range(2)]
    for index in range(dropped):
        grid[index % 2][index // 2] = []
    left = 6 - dropped
    values = fold(SMALL, Layout(OBSERVED, 2), placed(grid))
    assert values == {"loss": 3.0, "rollout/matched": 4 * left}


def test_R07_all_ranks_empty_leaves_everything_absent():
    assert fold(SMALL, Layout(OBSERVED, 4), []) == {}


def test_the_length_depends_on_catalogue_and_world_alone():
    vectors = []
    for seed in range(3):
        window = Window(SMALL)
        for observation in flat(draw(seed, 2, 3)):
            window.observe(*observation)
        layout = Layout(OBSERVED, 4)
        local = window._observations.take().arrived(layout.metrics)
        vectors.append(layout.pack(local, seed, Call(2, 7)))
    assert {len(vector) for vector in vectors} == {Layout(OBSERVED, 4).length}
    summed = reduce(lambda a, b: type(a)("d", map(add, a, b)), vectors)
    assert layout.calls(summed) == [Call(2, 7)] * 3 + [Call(0, 0)]


@pytest.mark.parametrize("world", [8, 64, 1024])
def test_R15_the_documented_bytes_are_those_of_the_contract(world):
    """The cost of the sums does not grow with the world."""
    row = re.search(rf"^\| {world:,} +\| +(\d+) KiB \|", PAGE.read_text(), re.MULTILINE)
    layout = Layout([m for m in CATALOGUE.values() if isinstance(m, Observed)], world)
    assert layout.nbytes / 1024 == pytest.approx(int(row.group(1)), rel=0.05)


@pytest.mark.parametrize("place", [0, 1])
def test_R12_a_nan_in_the_loss_is_not_lost_by_its_place(place):
    """Python's max(1, nan) is 1 and max(nan, 1) is NaN; a fold must not depend on the order."""
    values = [math.nan, 1.0]
    for op in (Op.MIN, Op.MAX, Op.SUM):
        assert math.isnan(op.fold(values[place], values[1 - place]))


def test_digests_tell_layouts_apart():
    digests = {
        Layout(OBSERVED, 2).digest,
        Layout(OBSERVED, 3).digest,
        Layout(OBSERVED[1:], 2).digest,
        Layout(reversed(OBSERVED), 2).digest,
    }
    assert len(digests) == 4
    assert Layout(OBSERVED, 2).digest in digests


def test_N01_a_billion_tokens_over_a_hundred_thousand_steps():
    """The mean is within 1e-9 of math.fsum, and the count is exact."""
    rng = random.Random(0)
    window = Window(SMALL)
    losses, tokens = [], 0
    for _ in range(100_000):
        loss = rng.uniform(0, 3.4)
        losses.append(loss * 10_000)
        tokens += 10_000
        window.observe("loss", losses[-1], 10_000)
        window.observe("diag/B/tokens_total", 10_000)
    metrics = window.close(mode="train", global_step=1).metrics
    assert metrics["diag/B/tokens_total"] == tokens == 10**9
    assert math.isclose(metrics["loss"], math.fsum(losses) / tokens, rel_tol=1e-9)
