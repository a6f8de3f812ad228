"""Random observations on a grid of ranks and micro-batches, and what their payload must be."""

import math
import random

import numpy as np

TOTALS = (
    "rollout/matched", "rollout/pred_total", "rollout/gt_total", "train/samples_total",
    "diag/B/tokens_total", "diag/B/hits_total",
)  # fmt: skip
MEANS = ("loss", "diag/A1/p_gt_mean", "diag/B/p_gt_mean", "text/entropy")
DRAWS = {
    **dict.fromkeys(TOTALS, lambda rng: (rng.randint(0, 10**9),)),
    **dict.fromkeys(MEANS, lambda rng: (rng.uniform(0, 1000), rng.randint(0, 10_000))),
    "knob/temperature": lambda rng: (0.7,),
    "knob/active": lambda rng: (rng.randint(0, 1),),
    "knob/everywhere": lambda rng: (rng.randint(0, 1),),
    "knob/peak": lambda rng: (rng.uniform(-9, 9),),
    "knob/low": lambda rng: (rng.uniform(-9, 9),),
    "knob/length_p90": lambda rng: ([rng.randint(1, 60) for _ in range(rng.randint(0, 5))],),
    "knob/generate_s": lambda rng: (rng.uniform(0, 10),),
}


def draw(seed, ranks, micro_batches):
    """``grid[rank][micro_batch]`` is a list of observations.

    A key may be known to some ranks only, or dropped from some micro-batches; a rank may be empty.
    """
    rng = random.Random(seed)
    knows = {key: {r for r in range(ranks) if rng.random() < 0.6} for key in DRAWS}
    only = rng.choice(sorted(DRAWS))
    knows[only] = {ranks - 1}
    empty = rng.randrange(ranks) if ranks > 1 and rng.random() < 0.5 else None
    return [
        [
            [(key, *DRAWS[key](rng)) for key in rng.sample(sorted(DRAWS), len(DRAWS))
             if rank in knows[key] and rng.random() < 0.7 and rank != empty]
            for _ in range(rng.randint(0, micro_batches))
        ]
        for rank in range(ranks)
    ]  # fmt: skip


def flat(grid):
    return [observation for rank in grid for batch in rank for observation in batch]


def oracle(grid):
    """The payload by hand: pooled samples, math.fsum, numpy.quantile."""
    seen = {}
    for key, *statistics in flat(grid):
        seen.setdefault(key, []).append(statistics)
    values = {}
    for key, rows in seen.items():
        if key in TOTALS:
            values[key] = sum(x for (x,) in rows)
        elif key in MEANS:
            weight = math.fsum(w for _, w in rows)
            if weight:
                values[key] = math.fsum(x for x, _ in rows) / weight
    sample = [x for (xs,) in seen.get("knob/length_p90", ()) for x in xs]
    if sample:
        values["knob/length_p90"] = float(np.quantile(sample, 0.9))
        values["knob/length_p99"] = float(np.quantile(sample, 0.99))
    for key, fold in [("knob/temperature", max), ("knob/active", max), ("knob/everywhere", min),
                      ("knob/peak", max), ("knob/low", min)]:  # fmt: skip
        if key in seen:
            values[key] = fold(x for (x,) in seen[key])
    clocks = [math.fsum(x for key, x, *_ in flat([rank]) if key == "knob/generate_s")
              for rank in grid]  # fmt: skip
    if "knob/generate_s" in seen:
        values["knob/generate_s"] = max(clocks)
    return values | _formulas(values)


def _formulas(values):
    def ratio(a, b):
        return {} if values.get(b, 0) == 0 or a not in values else values[a] / values[b]

    matched, pred, truth = (
        values.get(f"rollout/{k}") for k in ("matched", "pred_total", "gt_total")
    )
    found = {
        "rollout/precision": ratio("rollout/matched", "rollout/pred_total"),
        "rollout/recall": ratio("rollout/matched", "rollout/gt_total"),
        "diag/B/hit_rate": ratio("diag/B/hits_total", "diag/B/tokens_total"),
    }
    if None not in (matched, pred, truth) and pred + truth:
        found["rollout/f1"] = 2 * matched / (pred + truth)
    if None not in (matched, truth):
        found["rollout/missed_total"] = truth - matched
    if "train/samples_total" in values:
        found["train/samples_seen"] = values["train/samples_total"]
    return {key: value for key, value in found.items() if value != {}}


def assert_same(found, wanted):
    """Equal keys, equal ints, floats to 1e-12."""
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if isinstance(value, int):
            assert found[key] == value, key
        else:
            assert math.isclose(found[key], value, rel_tol=1e-12, abs_tol=1e-12), key
