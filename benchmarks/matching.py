"""What matching 300 predictions with 300 ground truths costs, against a loop over pairs.

The loop draws both masks of a pair, merges and compares them, and hands the textbook's matrix, with
a dummy for every object, to scipy. Candidates are ranked the same way for both. Both results are
compared before anything is timed, and the calls take turns in one process.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from pycocotools import mask
from scipy.optimize import linear_sum_assignment

from coordexp_metrics.rollouts import DetectedObject, ObjectMatch, match_objects
from coordexp_metrics.rollouts.canvas import boxes, draw, nearest, outline, overlap

OBJECTS, GATE, RESOLUTION, REPEATS = 300, 0.3, 256, 5
FORBIDDEN = 1e6


def objects(rng: random.Random, polygons: float) -> list[DetectedObject]:
    """Boxes and polygons of up to a fifth of the image's width."""
    found = []
    for _ in range(OBJECTS):
        x, y = rng.randint(0, 800), rng.randint(0, 800)
        w, h = rng.randint(20, 199), rng.randint(20, 199)
        if rng.random() < polygons:
            points = [c for _ in range(8) for c in (x + rng.randint(0, w), y + rng.randint(0, h))]
            found.append(DetectedObject("poly", points))
        else:
            found.append(DetectedObject("bbox_2d", [x, y, x + w, y + h]))
    return found


def pair_iou(one: DetectedObject, other: DetectedObject) -> float:
    """Two masks, drawn for this pair alone."""
    masks = []
    for thing in (one, other):
        points = [c * (RESOLUTION - 1) / 999 for c in outline(thing) or []]
        masks.append(mask.merge(mask.frPyObjects([points], RESOLUTION, RESOLUTION)))
    return float(mask.iou([masks[0]], [masks[1]], [0])[0, 0])


def by_pairs(
    predictions: list[DetectedObject], truths: list[DetectedObject], top_k: int
) -> tuple[dict[tuple[int, int], float], set[tuple[int, int]]]:
    """The overlap of every candidate pair, and the assignment."""
    ranked = nearest(boxes(map(outline, predictions)), boxes(map(outline, truths)), top_k)
    ious = {
        (i, j): pair_iou(predictions[i], truths[j])
        for i, row in enumerate(ranked.tolist())
        for j in row
    }
    size = len(predictions) + len(truths)
    costs = np.full((size, size), FORBIDDEN)
    costs[len(predictions) :, len(truths) :] = 0
    costs[range(len(predictions)), range(len(truths), size)] = 1.0
    costs[range(len(predictions), size), range(len(truths))] = 1.0
    for (i, j), iou in ious.items():
        if iou >= GATE:
            costs[i, j] = 1 - iou
    rows, columns = linear_sum_assignment(costs)
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return ious, {(i, j) for i, j in chosen if i < len(predictions) and j < len(truths)}


def batched(
    predictions: list[DetectedObject], truths: list[DetectedObject], top_k: int
) -> dict[tuple[int, int], float]:
    """The overlap of every candidate pair, as ``match_objects`` finds it."""
    mine, theirs = list(map(outline, predictions)), list(map(outline, truths))
    ranked = nearest(boxes(mine), boxes(theirs), top_k)
    ious = overlap(draw(mine, RESOLUTION), draw(theirs, RESOLUTION), ranked)
    places = ((i, j) for i, row in enumerate(ranked.tolist()) for j in row)
    return dict(zip(places, ious.ravel().tolist(), strict=True))


def check(predictions: list[DetectedObject], truths: list[DetectedObject], top_k: int) -> None:
    """The same overlaps to the last bit, and an assignment of the same cost."""
    ious, pairs = by_pairs(predictions, truths, top_k)
    assert batched(predictions, truths, top_k) == ious
    found: ObjectMatch = match_objects(predictions, truths, GATE, top_k, RESOLUTION)
    assert list(found.maskious) == [ious[pair] for pair in found.pairs]
    assert len(found.pairs) == len(pairs)
    assert abs(found.maskiou_sum - sum(ious[pair] for pair in pairs)) < 1e-9


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    """A line for each kind of object and number of candidates."""
    for name, polygons in (("boxes", 0.0), ("half polygons", 0.5)):
        rng = random.Random(0)
        predictions, truths = objects(rng, polygons), objects(rng, polygons)
        for top_k in (10, OBJECTS):
            check(predictions, truths, top_k)
            loop, ours = [], []
            for _ in range(REPEATS):
                loop.append(timed(partial(by_pairs, predictions, truths, top_k)))
                ours.append(timed(partial(match_objects, predictions, truths, GATE, top_k)))
            slow, fast = statistics.median(loop), statistics.median(ours)
            print(
                f"{OBJECTS} x {OBJECTS} {name}, top_k={top_k}: loop {slow:.0f} ms, "
                f"match_objects {fast:.1f} ms, {slow / fast:.0f}x"
            )


if __name__ == "__main__":
    main()
