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
        (np.asarray(points, float) * (resolution - 1) / (BINS - 1)).tolist()
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
    if candidates.shape[1] == len(theirs):
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
    """For each box the ``k`` others that overlap it most: int64 ``[n, min(k, m)]``.

    Of equal overlaps, as of those that are zero, the nearest centre comes first, then the lower
    index. A box that is NaN overlaps nothing and is infinitely far away.
    """
    k = min(k, len(theirs))
    found = np.empty((len(mine), k), np.int64)
    step = max(ROWS // max(len(theirs), 1), 1)
    for start in range(0, len(mine), step):
        some = mine[start : start + step, None]
        order = np.lexsort((_distances(some, theirs), -_box_overlaps(some, theirs)), axis=1)
        found[start : start + step] = order[:, :k]
    return found


def _box_overlaps(a: Floats, b: Floats) -> Floats:
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.maximum(sides[..., 0], 0.0) * np.maximum(sides[..., 1], 0.0)
    union = _area(a) + _area(b) - shared
    ious: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ious


def _area(box: Floats) -> Floats:
    area: Floats = (box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1])
    return area


def _distances(a: Floats, b: Floats) -> Floats:
    """Squared, and of doubled centres: whole numbers where the corners are, so that ties are."""
    apart = (a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])
    return np.nan_to_num(apart[..., 0] ** 2 + apart[..., 1] ** 2, nan=np.inf)
