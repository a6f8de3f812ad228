"""Predictions and ground truth are paired at the least total cost, never below the gate.

The cost of an assignment is the sum of 1 - IoU over its pairs, ``fp_cost`` for each prediction
left over and ``fn_cost`` for each ground truth left over. Both dummies of the textbook's matrix are
subtracted beforehand: a pair is worth ``fp_cost + fn_cost - (1 - IoU)``, and an object without a
partner nothing. Pairs that share no object, even through others, are assigned apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .canvas import Floats, Integers, areas, boxes, draw, nearest, outline, overlap
from .objects import DetectedObject, ObjectMatch

__all__ = ["match_objects"]

LARGEST = 4096


def match_objects(
    predictions: Sequence[DetectedObject],
    ground_truth: Sequence[DetectedObject],
    gate: float = 0.3,
    top_k: int = 10,
    resolution: int = 256,
    fp_cost: float = 1.0,
    fn_cost: float = 1.0,
) -> ObjectMatch:
    """Assign predictions to ground truth by mask overlap (``metrics_and_losses.md:201``).

    Args:
        predictions, ground_truth: objects in norm1000 space. What cannot be drawn, such as a box
            that runs backwards or a point that is NaN, overlaps nothing and stays unmatched.
        gate: candidates with a mask IoU below it are rejected, 0 to 1.
        top_k: a prediction's candidates are this many ground truths, those with the best box IoU;
            of equal ones, as where nothing overlaps, those with the nearest centre, then the first.
        resolution: the masks are drawn on a canvas of this many pixels squared.
        fp_cost, fn_cost: what an unmatched prediction and an unmatched ground truth cost, in 1 -
            IoU. A pair that saves nothing against both is not made.

    Equal input gives equal pairs; which of several optima they are is scipy's choice.

    Raises:
        ValueError: a setting is out of its range.

    >>> cat = DetectedObject("bbox_2d", [100, 100, 500, 500], "cat")
    >>> dog = DetectedObject("bbox_2d", [600, 600, 900, 900], "dog")
    >>> near = DetectedObject("bbox_2d", [110, 100, 500, 500], "cat")
    >>> found = match_objects([dog, near], [cat])
    >>> found.pairs, found.fp, found.gating_rejections, round(found.maskiou_sum, 2)
    (((1, 0),), (0,), 1, 0.98)
    """
    _check(gate, top_k, resolution, fp_cost, fn_cost)
    if not (predictions and ground_truth):
        return _of({}, len(predictions), len(ground_truth))
    mine, theirs = list(map(outline, predictions)), list(map(outline, ground_truth))
    candidates = nearest(boxes(mine), boxes(theirs), top_k)
    masks = draw(mine + theirs, resolution)
    ious = overlap(masks[: len(mine)], masks[len(mine) :], candidates)
    seen = areas(masks) > 0
    allowed = (ious >= gate) & seen[: len(mine), None] & seen[len(mine) :][candidates]
    rows = np.nonzero(allowed)[0]
    shape = (len(mine), len(theirs))
    pairs = _assign(rows, candidates[allowed], ious[allowed], shape, fp_cost + fn_cost)
    return _of(pairs, *shape, int((ious < gate).sum()), candidates.size)


def _check(gate: float, top_k: int, resolution: int, fp_cost: float, fn_cost: float) -> None:
    if not 0 <= gate <= 1:
        raise ValueError(f"gate is a mask IoU from 0 to 1, not {gate!r}")
    if not (isinstance(top_k, int) and top_k >= 1):
        raise ValueError(f"top_k is a whole number from 1, not {top_k!r}")
    if not (isinstance(resolution, int) and 2 <= resolution <= LARGEST):
        raise ValueError(
            f"resolution is a number of pixels from 2 to {LARGEST}, not {resolution!r}"
        )
    if not (fp_cost >= 0 and fn_cost >= 0):
        raise ValueError(f"costs are not negative: fp_cost {fp_cost!r}, fn_cost {fn_cost!r}")


def _of(
    ious: dict[tuple[int, int], float],
    predictions: int,
    ground_truth: int,
    rejections: int = 0,
    judged: int = 0,
) -> ObjectMatch:
    pairs = tuple(sorted(ious))
    hit, met = {mine for mine, _ in pairs}, {theirs for _, theirs in pairs}
    return ObjectMatch(
        pairs=pairs,
        fn=tuple(place for place in range(ground_truth) if place not in met),
        fp=tuple(place for place in range(predictions) if place not in hit),
        gating_rejections=rejections,
        maskiou_sum=math.fsum(ious.values()),
        candidate_pairs=judged,
        maskious=tuple(ious[pair] for pair in pairs),
    )


def _assign(
    rows: Integers, columns: Integers, ious: Floats, shape: tuple[int, int], saved: float
) -> dict[tuple[int, int], float]:
    """The pairs that save most, with their IoU; each part of the graph by itself."""
    chosen: dict[tuple[int, int], float] = {}
    for part in _parts(rows, columns, shape):
        mine, row = np.unique(rows[part], return_inverse=True)
        theirs, column = np.unique(columns[part], return_inverse=True)
        overlaps = np.full((len(mine), len(theirs)), -np.inf)
        overlaps[row, column] = ious[part]
        # Beyond one for each pair a greater saving changes nothing: the most pairs win.
        worth = np.maximum(min(saved, min(overlaps.shape) + 1.0) - (1.0 - overlaps), 0.0)
        for i, j in zip(*linear_sum_assignment(worth, maximize=True), strict=True):
            if worth[i, j] > 0:
                chosen[int(mine[i]), int(theirs[j])] = float(overlaps[i, j])
    return chosen


def _parts(
    rows: Integers, columns: Integers, shape: tuple[int, int]
) -> Iterator[NDArray[np.int64]]:
    """Which edges belong to each connected part of the graph of allowed pairs."""
    if not len(rows):
        return
    size = sum(shape)
    graph = coo_array((np.ones(len(rows)), (rows, columns + shape[0])), shape=(size, size))
    _, part_of = connected_components(graph, directed=False)
    parts = part_of[rows]
    order = np.argsort(parts, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(parts[order])) + 1)
