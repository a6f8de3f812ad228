"""mAP is COCO's own number."""

import io
import math
import random
import threading
from contextlib import redirect_stdout

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coordexp_metrics.contract.errors import MissingExtraError
from coordexp_metrics.rollouts import ImageObjects, mean_average_precision
from tests.rollouts.by_pairs import corners
from tests.rollouts.scenes import box, scenes, shifted

BACKENDS = ["pycocotools", "faster-coco-eval"]


def own(images, iou_type, resolution=256):
    """What pycocotools says by its usual road: json-like ground truth, loadRes, summarize."""
    names = sorted({t.desc for i in images for t in (*i.ground_truth, *i.predictions)})
    truths, found = [], []
    for image in images:
        for group, place in ((image.ground_truth, truths), (image.predictions, found)):
            for one in group:
                points = corners(one)
                xs, ys = points[::2], points[1::2]
                row = {"image_id": image.image, "category_id": names.index(one.desc) + 1}
                if iou_type == "bbox":
                    row["bbox"] = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
                    row["area"] = row["bbox"][2] * row["bbox"][3]
                else:
                    row["segmentation"] = [[c * (resolution - 1) / 999 for c in points]]
                    row["area"] = 1
                if place is truths:
                    row |= {"id": len(truths) + 1, "iscrowd": 0}
                else:
                    row["score"] = 1.0 if one.score is None else one.score
                place.append(row)
    with redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i.image, "width": resolution, "height": resolution} for i in images],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
            "annotations": truths,
        }
        truth.createIndex()
        if iou_type == "segm":  # loadRes wants encoded masks
            for row in found:
                row["segmentation"] = truth.annToRLE({**row, "segmentation": row["segmentation"]})
        evaluation = COCOeval(truth, truth.loadRes(found), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("scored", [True, False])
def test_R127_mAP_is_that_of_pycocotools(backend, iou_type, scored):
    for seed in range(4):
        images = scenes(seed, polygons=0.4, scored=scored)
        wanted = own(images, iou_type)
        found = mean_average_precision(images, iou_type, backend=backend)
        assert wanted > 0.05
        assert math.isclose(found, wanted, abs_tol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_R127_more_than_a_hundred_detections_are_cut_as_COCO_cuts_them(backend):
    rng = random.Random(3)
    truths = [box(x * 40, 10, x * 40 + 35, 90) for x in range(20)]
    boxes = [shifted(rng, rng.choice(truths), rng.random()) for _ in range(250)]
    images = [ImageObjects(1, boxes, truths)]
    found = mean_average_precision(images, backend=backend)
    assert math.isclose(found, own(images, "bbox"), abs_tol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_R127_a_missing_score_counts_as_one(backend):
    """So it stands before 0.9 and with 1.0, and never behind a false prediction that is less."""
    truth, wrong = box(0, 0, 400, 400), box(500, 500, 900, 900, score=0.9)
    images = [ImageObjects(1, [wrong, truth], [truth])]
    found = mean_average_precision(images, backend=backend)
    assert math.isclose(found, 1.0, abs_tol=1e-9)
    assert math.isclose(found, own(images, "bbox"), abs_tol=1e-9)


def test_R127_the_order_in_which_images_come_changes_nothing():
    images = scenes(2, scored=False)
    wanted = mean_average_precision(images)
    assert mean_average_precision(images[::-1]) == wanted
    names = [ImageObjects(f"{i.image:04}.jpg", i.predictions, i.ground_truth) for i in images]
    assert mean_average_precision(names[3:] + names[:3]) == wanted
    mixed = [names[n] if n > 5 else image for n, image in enumerate(images)]
    assert mean_average_precision(mixed[::-1]) == wanted, "numbers stand before texts"


@pytest.mark.parametrize("backend", BACKENDS)
def test_R127_without_ground_truth_there_is_no_mAP(backend):
    assert mean_average_precision([], backend=backend) is None
    assert mean_average_precision([ImageObjects(1, [box(0, 0, 9, 9)], [])], backend=backend) is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_R127_without_predictions_mAP_is_zero(backend, iou_type):
    images = [ImageObjects(1, [], [box(0, 0, 900, 900)])]
    assert mean_average_precision(images, iou_type, backend=backend) == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_R127_ground_truth_that_cannot_be_drawn_is_missed_and_never_ignored(backend, iou_type):
    """COCO ignores a negative area; a box that runs backwards must not get a prize for that."""
    good = box(100, 100, 300, 300)
    for bad in (box(300, 300, 100, 100), box(math.nan, 0, 9, 9), box(5, 5, 5, 5)):
        images = [ImageObjects(1, [good, bad], [good, bad])]
        found = mean_average_precision(images, iou_type, backend=backend)
        assert 0.5 <= found < 0.51, "half of the objects at every recall that is reached"


def test_R127_names_are_compared_as_descriptions_are():
    images = [
        ImageObjects(1, [box(0, 0, 90, 90, " Wine  GLASS")], [box(0, 0, 90, 90, "wine glass")])
    ]
    assert math.isclose(mean_average_precision(images), 1.0, abs_tol=1e-9)


def test_R127_a_name_that_no_ground_truth_has_is_not_in_the_mean():
    good = box(0, 0, 90, 90)
    images = [ImageObjects(1, [good, box(0, 0, 90, 90, "unicorn")], [good])]
    assert math.isclose(mean_average_precision(images), 1.0, abs_tol=1e-9)
    assert math.isclose(own(images, "bbox"), 1.0, abs_tol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_R129_nothing_is_printed_and_other_threads_still_are(backend, capfd):
    mean_average_precision(scenes(1), backend=backend)
    assert capfd.readouterr().out == ""


def test_R129_what_another_thread_prints_comes_through(capsys):
    from coordexp_metrics.rollouts.coco import _quiet

    with _quiet():
        print("mine")
        other = threading.Thread(target=print, args=("theirs",))
        other.start()
        other.join()
    print("after")
    assert capsys.readouterr().out == "theirs\nafter\n"


def test_R128_a_backend_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match="faster-coco-eval"):
        mean_average_precision([], backend="faster-coco-eval")
    images = scenes(1)
    assert mean_average_precision(images) == mean_average_precision(images, backend="pycocotools")


def test_an_argument_out_of_range_is_named():
    with pytest.raises(ValueError, match="iou_type"):
        mean_average_precision([], "keypoints")
    with pytest.raises(ValueError, match="backend"):
        mean_average_precision([], backend="detectron2")
