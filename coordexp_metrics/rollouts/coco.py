"""mAP is COCO's own number: of objects in norm1000 space, in (image, prediction) order.

Images stand in the order of their keys, numbers before texts, so that equal scores are ranked alike
however the set was spread over ranks. A category is a normalised description of the ground truth;
a prediction called otherwise is in nobody's precision, as in COCO.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOBase
from typing import Any, Literal, TypeAlias

import numpy as np

from ..contract.errors import MissingExtraError
from .canvas import areas, boxes, draw, outline
from .describe import normalize_description
from .objects import DetectedObject, ImageObjects

__all__ = ["Backend", "IouType", "mean_average_precision"]

Backend: TypeAlias = Literal["auto", "faster-coco-eval", "pycocotools"]
IouType: TypeAlias = Literal["bbox", "segm"]
Annotation: TypeAlias = dict[str, Any]

EVERY_AREA = (0.0, 1e10)
MOST = 100


def mean_average_precision(
    images: Iterable[ImageObjects],
    iou_type: IouType = "bbox",
    *,
    backend: Backend = "auto",
    resolution: int = 256,
) -> float | None:
    """COCO's AP at IoU .50:.05:.95, all areas, 100 detections (``metrics_and_losses.md:306``).

    Args:
        images: each image once. A score that is missing counts as 1.0.
        iou_type: overlap of boxes, a polygon's being the one around it, or of masks.
        backend: ``auto`` is faster-coco-eval where it is installed, and pycocotools elsewhere.
        resolution: masks are drawn on a canvas of this many pixels squared.

    Returns:
        None where there is no ground truth.

    Raises:
        ValueError: an argument is none of these.
        MissingExtraError: the backend is not installed.

    >>> cat = DetectedObject("bbox_2d", [100, 100, 500, 500], "cat")
    >>> round(mean_average_precision([ImageObjects(7, [cat], [cat])]), 9)
    1.0
    """
    if iou_type not in {"bbox", "segm"}:
        raise ValueError(f"iou_type is 'bbox' or 'segm', not {iou_type!r}")
    coco, evaluator = _backend(backend)
    ordered = sorted(images, key=lambda one: (isinstance(one.image, str), one.image))
    names = sorted({_name(thing) for one in ordered for thing in one.ground_truth})
    if not names:
        return None
    categories = {name: number for number, name in enumerate(names, 1)}
    truths = _annotations([one.ground_truth for one in ordered], categories, iou_type, resolution)
    found = _annotations([one.predictions for one in ordered], categories, iou_type, resolution)
    with _quiet():
        sides = [_dataset(coco, side, len(ordered), categories) for side in (truths, found)]
        evaluation = evaluator(*sides, iou_type)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(EVERY_AREA)], ["all"]
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    return float(np.mean(evaluation.eval["precision"]))


def _backend(name: Backend) -> tuple[Callable[[], Any], Callable[..., Any]]:
    """The classes COCO and COCOeval of a backend."""
    if name not in {"auto", "faster-coco-eval", "pycocotools"}:
        raise ValueError(f"backend is 'auto', 'faster-coco-eval' or 'pycocotools', not {name!r}")
    if name != "pycocotools":
        try:
            import faster_coco_eval
        except ImportError as error:
            if name != "auto":
                raise MissingExtraError("coco", f"the backend {name}") from error
        else:
            return faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval


def _name(thing: DetectedObject) -> str:
    return normalize_description(thing.desc)


def _annotations(
    images: Sequence[Sequence[DetectedObject]],
    categories: dict[str, int],
    iou_type: IouType,
    resolution: int,
) -> list[Annotation]:
    """The objects of known categories; what cannot be drawn has no area, and overlaps nothing."""
    things = [
        (image, thing)
        for image, objects in enumerate(images, 1)
        for thing in objects
        if _name(thing) in categories
    ]
    outlines = [outline(thing) for _, thing in things]
    shapes: list[Annotation]
    if iou_type == "bbox":
        shapes = [
            {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            for x1, y1, x2, y2 in np.nan_to_num(boxes(outlines)).tolist()
        ]
    else:
        masks = draw(outlines, resolution)
        shapes = [
            {"segmentation": mask, "area": area, "bbox": [0, 0, 0, 0]}
            for mask, area in zip(masks, areas(masks).tolist(), strict=True)
        ]
    return [
        {
            # Number 0 would be no annotation to COCO.
            "id": number,
            "image_id": image,
            "category_id": categories[_name(thing)],
            "score": 1.0 if thing.score is None else float(thing.score),
            "iscrowd": 0,
            **shape,
        }
        for number, ((image, thing), shape) in enumerate(zip(things, shapes, strict=True), 1)
    ]


def _dataset(
    coco: Callable[[], Any], annotations: list[Annotation], images: int, categories: dict[str, int]
) -> Any:
    side = coco()
    side.dataset = {
        "info": {},
        "images": [{"id": number, "width": 1, "height": 1} for number in range(1, images + 1)],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": annotations,
    }
    side.createIndex()
    return side


@contextmanager
def _quiet() -> Iterator[None]:
    """The backends print their progress; what other threads print still comes through."""
    before = sys.stdout
    sys.stdout = _OtherThreads(before)
    try:
        yield
    finally:
        sys.stdout = before


class _OtherThreads(TextIOBase):
    """Standard output, except to the thread that made this."""

    def __init__(self, stdout: Any) -> None:
        self._stdout = stdout
        self._silent = threading.get_ident()

    def write(self, text: str, /) -> int:
        if threading.get_ident() == self._silent:
            return len(text)
        return int(self._stdout.write(text))

    def flush(self) -> None:
        self._stdout.flush()
