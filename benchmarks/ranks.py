"""What does a close over ranks cost, against the two usual ways to reduce a dict of metrics?

    python benchmarks/ranks.py

150 keys on 2 and on 4 gloo processes, the three ways in turn, the median of many calls. Each call
comes after the same work, the observations of a step, which is not counted. Ours is all of
``Window.close``, from what was observed to the payload.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from coordexp_metrics.contract.catalogue import Catalogue, Page
from coordexp_metrics.contract.kinds import Mean, Total
from coordexp_metrics.contract.units import NAT, TOKEN
from coordexp_metrics.window import Window

KEYS = 150
ROUNDS = 10
MODES = ("train", "eval")


def catalogue():
    means = [
        Mean(key=f"bench/mean_{i}", name=f"mean_{i}", family="Bench", modes=MODES,
             description="a mean", unit=NAT, population=TOKEN)
        for i in range(100)
    ]  # fmt: skip
    totals = [
        Total(key=f"bench/total_{i}", name=f"total_{i}", family="Bench", modes=MODES,
              description="a total", unit=TOKEN)
        for i in range(KEYS - len(means))
    ]  # fmt: skip
    return Catalogue(Page("Bench", "Keys to reduce.", "bench/{name}", (*means, *totals)))


def gathered_names(sums):
    """Union of the key names as objects, then sums and counts in a tensor each."""
    names = [None] * dist.get_world_size()
    dist.all_gather_object(names, sorted(sums))
    union = sorted(set().union(*names))
    pairs = [sums.get(key, (0.0, 0.0)) for key in union]
    numerators, denominators = torch.tensor(pairs, dtype=torch.float64).T.contiguous()
    dist.all_reduce(numerators)
    dist.all_reduce(denominators)
    return dict(zip(union, (numerators / denominators.clamp(min=1)).tolist(), strict=True))


def key_by_key(sums):
    """One all_reduce a key."""
    reduced = {}
    for key, pair in sums.items():
        both = torch.tensor(pair, dtype=torch.float64)
        dist.all_reduce(both)
        reduced[key] = (both[0] / both[1].clamp(min=1)).item()
    return reduced


def measure(rank, world, store, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    declared = catalogue()
    window = Window(declared)
    sums = dict.fromkeys(declared, (1.0 + rank, 10.0))

    def observe():
        for key, metric in declared.items():
            window.observe(key, *((1.0, 10.0) if isinstance(metric, Mean) else (10,)))

    ways = {
        "ours": (observe, partial(window.close, mode="train", global_step=0), 20),
        "names": (observe, partial(gathered_names, sums), 20),
        "keys": (observe, partial(key_by_key, sums), 2),
    }
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, (prepare, way, in_a_row) in ways.items():
            for _ in range(in_a_row):
                prepare()
                started = time.perf_counter()
                way()
                times[name].append(time.perf_counter() - started)
    if rank == 0:
        queue.put({name: statistics.median(took[1:]) for name, took in times.items()})
    dist.barrier()
    dist.destroy_process_group()


def main():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.distributed", "coordexp_metrics.window"])
    for world in (2, 4):
        with tempfile.TemporaryDirectory() as folder:
            queue = context.SimpleQueue()
            ranks = [
                context.Process(target=measure, args=(rank, world, Path(folder) / "store", queue))
                for rank in range(world)
            ]
            for process in ranks:
                process.start()
            took = queue.get()
            for process in ranks:
                process.join()
        names, keys = took["names"] / took["ours"], took["keys"] / took["ours"]
        print(f"{world} ranks, {KEYS} keys: a close takes {took['ours'] * 1e3:.2f} ms")
        print(f"  {names:.1f}x faster than names as objects and two all_reduces (target 2x)")
        print(f"  {keys:.0f}x faster than one all_reduce a key (target 30x)")


if __name__ == "__main__":
    main()
