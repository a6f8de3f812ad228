"""What does it cost to observe a batch of rollouts, beside the loop that is usually written?

    python benchmarks/rollouts.py [--samples 512] [--rounds 30]

Every figure is a ratio of medians, measured in turns in one process, of the facts of one batch
folded into one window: as objects, as columns of numpy and of tensors, and by a loop over samples
that reads every fact with ``.item()`` into a dict of lists and forms 20 of the numbers from them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
import torch

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import RolloutReducer
from coordexp_metrics.rollouts import RolloutFacts
from coordexp_metrics.window import Window

NAMES = [f.name for f in fields(RolloutFacts) if f.name not in {"decode_mode", "dropped_by_reason"}]
FLAGS = {"truncated", "invalid_rollout", "closure_dropped"}


def sample(seed: int) -> RolloutFacts:
    """One rollout whose facts do not contradict each other."""
    r = random.Random(seed)
    truth, said = r.randint(0, 40), r.randint(0, 40)
    pairs = r.randint(0, min(truth, said))
    lengths = {name: r.randint(1, 4000) for name in NAMES if name.endswith("_len")}
    return RolloutFacts(
        **lengths,
        gen_new_tokens=r.randint(1, 4000),
        truncated=r.random() < 0.1,
        invalid_rollout=False,
        closure_dropped=False,
        dropped_invalid=r.randint(0, 3),
        dropped_ambiguous=r.randint(0, 1),
        gt_objects=truth,
        pred_objects=said,
        matched=pairs,
        excluded=0,
        fn_appended=truth - pairs,
        candidate_pairs=truth * said,
        gating_rejections=truth * said // 3,
        maskiou_sum=0.7 * pairs,
        maskiou_count=pairs,
        prefix_coord_targets=4 * pairs,
        tail_tokens=200,
        tail_tokens_ignored=20,
        desc_pairs=pairs,
        desc_exact=pairs // 2,
        desc_semantic=pairs // 2,
        desc_sim_sum=0.5 * pairs,
        desc_sim_count=pairs,
    )


def naive(columns: dict[str, torch.Tensor]) -> dict[str, float]:
    """Read every fact of every sample, then form means, percentiles and rates from lists."""
    rows: dict[str, list[float]] = {name: [] for name in NAMES}
    for index in range(len(columns["matched"])):
        for name in NAMES:
            rows[name].append(columns[name][index].item())
    total = {name: sum(values) for name, values in rows.items()}
    out = {f"rollout/{name}_mean": total[name] / len(rows[name]) for name in NAMES[:6]}
    out |= {f"rollout/{name}_p90": float(np.percentile(rows[name], 90)) for name in NAMES[:6]}
    out["rollout/precision"] = total["matched"] / max(total["pred_objects"], 1)
    out["rollout/recall"] = total["matched"] / max(total["gt_objects"], 1)
    out["rollout/f1"] = 2 * total["matched"] / max(total["pred_objects"] + total["gt_objects"], 1)
    out["rollout/gating_rejection_rate"] = total["gating_rejections"] / total["candidate_pairs"]
    out["rollout/matched_maskiou_mean"] = total["maskiou_sum"] / max(total["maskiou_count"], 1)
    out["rollout/parse_truncated_rate"] = total["truncated"] / len(rows["truncated"])
    out["rollout/excluded_rate"] = total["excluded"] / max(total["matched"], 1)
    out["rollout/tail_ignore_frac"] = total["tail_tokens_ignored"] / total["tail_tokens"]
    return out


def observed(samples: object) -> Callable[[], object]:
    """One call of ``observe`` on an open window."""
    reducer, window = RolloutReducer(), Window(CATALOGUE, group="local")
    return lambda: reducer.observe(window, samples)  # type: ignore[arg-type]


def medians(rounds: int, ways: Sequence[Callable[[], object]]) -> list[float]:
    """Median seconds of each, measured in turns."""
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds + 2):
        for way, kept in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            way()
            if turn >= 2:
                kept.append(time.perf_counter() - start)
    return [statistics.median(kept) for kept in seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=30)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    objects = [sample(seed) for seed in range(asked.samples)]
    lists = {name: [getattr(one, name) for one in objects] for name in NAMES}
    arrays = {name: np.array(column) for name, column in lists.items()}
    tensors = {name: torch.tensor(column) for name, column in lists.items()}
    loop, *ours = medians(
        asked.rounds,
        [lambda: naive(tensors), *map(observed, (objects, lists, arrays, tensors))],
    )
    print(f"{asked.samples} samples, {len(NAMES)} facts each; the loop takes {loop * 1e3:.1f} ms")
    for name, seconds in zip(("objects", "lists", "arrays", "tensors"), ours, strict=True):
        print(f"  as {name:8}{seconds * 1e3:8.2f} ms   {loop / seconds:6.1f}x faster than the loop")


if __name__ == "__main__":
    main()
