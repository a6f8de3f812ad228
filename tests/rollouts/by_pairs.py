"""Matching by the definition: one pair after the other, and a cost matrix with every dummy."""

import itertools
import math

import numpy as np
from pycocotools import mask
from scipy.optimize import linear_sum_assignment

FORBIDDEN = 1e6


def corners(thing):
    """The outline in 0..999, or None."""
    points = [float(x) for x in thing.points]
    if not all(map(math.isfinite, points)):
        return None
    if thing.kind == "bbox_2d":
        if len(points) != 4 or points[2] < points[0] or points[3] < points[1]:
            return None
        x1, y1, x2, y2 = points
        points = [x1, y1, x2, y1, x2, y2, x1, y2]
    elif len(points) < 6 or len(points) % 2:
        return None
    return [min(max(x, 0.0), 999.0) for x in points]


def mask_iou(one, other, resolution):
    masks = []
    for thing in (one, other):
        points = corners(thing)
        if points is None:
            return 0.0
        scaled = [x * (resolution - 1) / 999 for x in points]
        masks.append(mask.merge(mask.frPyObjects([scaled], resolution, resolution)))
    return float(mask.iou([masks[0]], [masks[1]], [0])[0, 0])


def area(thing, resolution):
    points = corners(thing)
    if points is None:
        return 0
    scaled = [x * (resolution - 1) / 999 for x in points]
    return int(mask.area(mask.merge(mask.frPyObjects([scaled], resolution, resolution))))


def box(points):
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def rank(prediction, place, truth):
    """What candidates are sorted by."""
    mine, theirs = corners(prediction), corners(truth)
    if mine is None or theirs is None:
        return 0.0, math.inf, place
    a, b = box(mine), box(theirs)
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    apart = (a[0] + a[2] - b[0] - b[2]) ** 2 + (a[1] + a[3] - b[1] - b[3]) ** 2
    return -(shared / union if union > 0 else 0.0), apart, place


def judged(predictions, truths, top_k, resolution):
    """{(prediction, ground truth): mask IoU} of all candidates."""
    found = {}
    for i, prediction in enumerate(predictions):
        ranked = sorted(range(len(truths)), key=lambda j: rank(prediction, j, truths[j]))
        for j in ranked[:top_k]:
            found[i, j] = mask_iou(prediction, truths[j], resolution)
    return found


def allowed(predictions, truths, gate, top_k, resolution):
    """The candidates that may be matched."""
    return {
        (i, j): iou
        for (i, j), iou in judged(predictions, truths, top_k, resolution).items()
        if iou >= gate and area(predictions[i], resolution) and area(truths[j], resolution)
    }


def cost(pairs, ious, sizes, fp_cost, fn_cost):
    left = sizes[0] * fp_cost + sizes[1] * fn_cost
    return left + math.fsum(1 - ious[pair] - fp_cost - fn_cost for pair in pairs)


def brute_force(ious, sizes, fp_cost, fn_cost):
    """The least cost of all ways to pair some of the allowed pairs, each object once."""
    best = math.inf
    edges = sorted(ious)
    for n in range(min(sizes) + 1):
        for pairs in itertools.combinations(edges, n):
            if len({i for i, _ in pairs}) == len({j for _, j in pairs}) == n:
                best = min(best, cost(pairs, ious, sizes, fp_cost, fn_cost))
    return best


def with_dummies(ious, sizes, fp_cost, fn_cost):
    """The textbook's matrix: a dummy column for each prediction, a dummy row for each truth."""
    predictions, truths = sizes
    matrix = np.full((predictions + truths, truths + predictions), FORBIDDEN)
    matrix[predictions:, truths:] = 0
    for i in range(predictions):
        matrix[i, truths + i] = fp_cost
    for j in range(truths):
        matrix[predictions + j, j] = fn_cost
    for (i, j), iou in ious.items():
        matrix[i, j] = 1 - iou
    rows, columns = linear_sum_assignment(matrix)
    return float(matrix[rows, columns].sum())
