"""A mask is what pycocotools draws of an outline in norm1000 space; what has none overlaps nothing.

The canvas has R x R pixels, and bin 0..999 of an axis is pixel 0..R-1, not rounded before it is
drawn. An outline needs finite points: four for a box, that does not run backwards, and an even
number from six for a polygon. Points outside 0..999 are moved to the edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from .objects import BINS, DetectedObject

__all__ = ["Floats", "Integers", "Masks", "areas", "boxes", "draw", "nearest", "outline", "overlap"]

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Masks: TypeAlias = list[dict[str, Any]]

ROWS = 1 << 20  # pairs ranked at a time
DENSE = 32  # a pair that is asked for costs as much as so many that come with the whole matrix


def outline(thing: DetectedObject) -> list[float] | None:
    """The corners x, y, x, y, ... of an object in 0..999; None if it cannot be drawn.

    >>> outline(DetectedObject("bbox_2d", [-5, 10, 30, 2000]))
    [0.0, 10.0, 30.0, 10.0, 30.0, 999.0, 0.0, 999.0]
    >>> outline(DetectedObject("bbox_2d", [30, 10, 20, 40]))
    """
    try:
        points = [float(point) for point in thing.points]
    except (TypeError, ValueError, OverflowError):
        return None
    if not all(map(math.isfinite, points)):
        return None
    if thing.kind == "bbox_2d":
        if len(points) != 4 or points[0] > points[2] or points[1] > points[3]:
            return None
        x1, y1, x2, y2 = points
        points = [x1, y1, x2, y1, x2, y2, x1, y2]
    elif thing.kind != "poly" or len(points) < 6 or len(points) % 2:
        return None
    return [min(max(point, 0.0), BINS - 1.0) for point in points]


def draw(outlines: Iterable[Sequence[float] | None], resolution: int) -> Masks:
    """The masks of outlines, run-length encoded; that of None is empty."""
    found = list(outlines)
    drawable = [
        [point * (resolution - 1) / (BINS - 1) for point in points]
        for points in found
        if points is not None
    ]
    drawn = iter(coco_mask.frPyObjects(drawable, resolution, resolution) if drawable else ())
    blank = np.zeros((resolution, resolution), np.uint8, order="F")
    empty = coco_mask.encode(blank) if len(drawable) < len(found) else {}
    return [dict(empty) if points is None else next(drawn) for points in found]


def areas(masks: Masks) -> Integers:
    """How many pixels each mask has: int64 ``[n]``."""
    # One by one: given more than 255 at once, pycocotools raises under numpy 2.
    return np.array([coco_mask.area(mask) for mask in masks], np.int64)


def overlap(mine: Masks, theirs: Masks, candidates: Integers) -> Floats:
    """Intersection over union of each mask with its candidates: float64 ``[n, k]``.

    Args:
        mine: ``n`` masks.
        theirs: masks of the same canvas, none of them a crowd.
        candidates: which of them to compare each mask with, ``[n, k]``.
    """
    if len(theirs) <= DENSE * candidates.shape[1]:
        every: Floats = coco_mask.iou(mine, theirs, [0] * len(theirs))
        return np.take_along_axis(every, candidates, axis=1)
    crowd = [0] * candidates.shape[1]
    rows = [
        coco_mask.iou([mask], [theirs[place] for place in places], crowd)[0]
        for mask, places in zip(mine, candidates.tolist(), strict=True)
    ]
    return np.array(rows, np.float64)


def boxes(outlines: Iterable[Sequence[float] | None]) -> Floats:
    """The box x1, y1, x2, y2 around each outline, NaN for None: float64 ``[n, 4]``."""
    nothing = (math.nan,) * 4
    rows = [
        nothing
        if points is None
        else (min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2]))
        for points in outlines
    ]
    return np.array(rows, np.float64).reshape(-1, 4)


def nearest(mine: Floats, theirs: Floats, k: int) -> Integers:
    """For each box the ``k`` others that overlap it most, by index: int64 ``[n, min(k, m)]``.

    Of equal overlaps, as of those that are zero, the nearest centres are taken, then the lower
    indices. A box that is NaN overlaps nothing and is infinitely far away.
    """
    k = min(k, len(theirs))
    found = np.empty((len(mine), k), np.int64)
    step = max(ROWS // max(len(theirs), 1), 1)
    for start in range(0, len(mine) if k else 0, step):
        ranks = _ranks(mine[start : start + step], theirs)
        last = np.partition(ranks, k - 1, axis=1)[:, k - 1 : k]
        before, tied = ranks < last, ranks == last
        free = k - before.sum(axis=1, keepdims=True)
        chosen = before | (tied & (tied.cumsum(axis=1) <= free))
        found[start : start + step] = np.nonzero(chosen)[1].reshape(-1, k)
    return found


def _ranks(a: Floats, b: Floats) -> NDArray[np.complex128]:
    """By overlap, the largest first, then by distance: complex numbers are ordered like that."""
    ax1, ay1, ax2, ay2 = a.T[..., None]
    bx1, by1, bx2, by2 = b.T
    wide, high = np.minimum(ax2, bx2) - np.maximum(ax1, bx1), np.minimum(ay2, by2)
    high -= np.maximum(ay1, by1)
    shared = np.maximum(wide, 0.0) * np.maximum(high, 0.0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
    # Squared, and of doubled centres: whole numbers where the corners are, so that ties are exact.
    across, down = (ax1 + ax2) - (bx1 + bx2), (ay1 + ay2) - (by1 + by2)
    ranks = np.zeros(shared.shape, np.complex128)
    np.divide(-shared, union, out=ranks.real, where=union > 0)
    ranks.imag = np.nan_to_num(across * across + down * down, nan=np.inf)
    return ranks
