"""Objects in norm1000 space, and what parsing and matching make of them.

A coordinate is a bin 0..999: bin 0 is the first pixel of its axis, bin 999 the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = [
    "BINS",
    "DetectedObject",
    "FieldOrder",
    "Geometry",
    "ImageObjects",
    "ObjectMatch",
    "ParsedRollout",
    "normalize_box",
]

BINS = 1000

Geometry: TypeAlias = Literal["bbox_2d", "poly"]
FieldOrder: TypeAlias = Literal["desc_first", "geometry_first"]


@dataclass(frozen=True, slots=True)
class DetectedObject:
    """One object of a rollout or of the ground truth.

    Attributes:
        kind: ``bbox_2d`` (x1, y1, x2, y2) or ``poly`` (x, y, x, y, ...).
        points: norm1000 coordinates.
        desc: what it is called.
        score: how sure the model is; None counts as 1.0 (``metrics_and_losses.md:306``).
    """

    kind: Geometry
    points: Sequence[float]
    desc: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class ParsedRollout:
    """What strict parsing made of one generated text (``metrics_and_losses.md:178``).

    Attributes:
        objects: the valid objects, in order.
        dropped_invalid: how many records were dropped as invalid.
        dropped_by_reason: the same by the first reason that applied; absent reasons are 0.
        dropped_ambiguous: how many records were dropped because a key was repeated.
        truncated: the text ends inside a record.
        invalid: there is no append-ready ``{"objects": [``; the rollout counts as empty.
        spans: the characters of the record of each of ``objects``, from and up to.
        append_at: where records may be appended: after the last whole record, or after ``[``.
    """

    objects: tuple[DetectedObject, ...] = ()
    dropped_invalid: int = 0
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    dropped_ambiguous: int = 0
    truncated: bool = False
    invalid: bool = False
    spans: tuple[tuple[int, int], ...] = field(default=(), compare=False)
    append_at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ObjectMatch:
    """Predictions assigned to ground truth (``metrics_and_losses.md:193``).

    Attributes:
        pairs: (prediction, ground truth), by prediction.
        fn: ground truths without a prediction.
        fp: predictions without a ground truth.
        gating_rejections: candidate pairs whose mask overlap is below the gate.
        maskiou_sum: mask overlap summed over ``pairs``.
        candidate_pairs: how many pairs the gate judged.
        maskious: the mask overlap of each of ``pairs``.
    """

    pairs: tuple[tuple[int, int], ...]
    fn: tuple[int, ...]
    fp: tuple[int, ...]
    gating_rejections: int
    maskiou_sum: float
    candidate_pairs: int
    maskious: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ImageObjects:
    """The predictions and the ground truth of one image, for COCO evaluation."""

    image: int | str
    predictions: Sequence[DetectedObject]
    ground_truth: Sequence[DetectedObject]


def normalize_box(pixels: Sequence[float], width: int, height: int) -> tuple[int, int, int, int]:
    """The norm1000 box of a pixel box x1, y1, x2, y2 in an image of ``width`` x ``height``.

    Pixel ``width - 1`` is bin 999; what lies outside the image is clamped to its edge. Pixels that
    were rounded from bins give those bins back where the image has at least 1000 of them.

    Raises:
        ValueError: the box has not four finite numbers, or the image no area.

    >>> normalize_box((0, 0, 1247, 831), 1248, 832)
    (0, 0, 999, 999)
    """
    if width < 1 or height < 1:
        raise ValueError(f"an image of {width} x {height} pixels has no norm1000 space")
    try:
        x1, y1, x2, y2 = pixels
        return _bin(x1, width), _bin(y1, height), _bin(x2, width), _bin(y2, height)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"a box is four finite numbers x1, y1, x2, y2, not {pixels!r}") from error


def _bin(pixel: float, size: int) -> int:
    return min(max(round(pixel * (BINS - 1) / max(size - 1, 1)), 0), BINS - 1)
