"""``eval-rollouts``: files of rollouts to numbers, and to pictures of them."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from coordexp_metrics import CATALOGUE
from coordexp_metrics.cli.app import app
from coordexp_metrics.reducers.evaluated_files import evaluate_files
from coordexp_metrics.rollouts import match_objects
from coordexp_metrics.rollouts.files import RolloutRecord, Unusable, read_rollouts

SHARED = Path(__file__).parents[3] / "shared" / "data" / "rollouts"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the rollouts of ../shared")
SVG = "{http://www.w3.org/2000/svg}"


def run(*arguments):
    return CliRunner().invoke(app, ["eval-rollouts", *map(str, arguments)])


def thing(*points, desc="cat", **more):
    kind = "bbox_2d" if len(points) == 4 else "poly"
    return {"desc": desc, kind: list(points), **more}


def record(gt=(), pred=(), **more):
    row = {"image": "a.jpg", "width": 640, "height": 480, "gt": list(gt), "pred": list(pred)}
    return row | more


def written(path, *rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def good(tmp_path):
    cat, dog = thing(10, 10, 200, 300), thing(300, 100, 600, 400, desc="dog")
    return written(
        tmp_path / "good.jsonl",
        record([cat, dog], [thing(12, 10, 205, 300, score=0.9), thing(500, 20, 620, 90)]),
        "",
        record([dog], [dog]),
    )


def test_precision_recall_f1_overlap_and_mAP_as_json(good):
    result = run(good, "--format", "json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert data.keys() == {"schema_version", "settings", "files", "pooled", "problems"}
    assert data["schema_version"] == 1
    assert data["problems"] == []
    assert data["settings"] == {"gate": 0.3, "top_k": 10, "resolution": 256, "iou_type": "bbox",
                                "backend": "auto"}  # fmt: skip
    metrics = data["files"][0]["metrics"]
    assert data["pooled"] == {"images": 2, "metrics": metrics}
    assert (metrics["eval_rollout/gt_objects"], metrics["eval_rollout/pred_objects"]) == (3, 3)
    assert (metrics["eval_rollout/matched"], metrics["eval_rollout/fn"]) == (2, 1)
    assert math.isclose(metrics["eval_rollout/f1"], 2 / 3)
    assert 0.9 < metrics["eval_rollout/matched_maskiou_mean"] < 1
    assert 0 < metrics["eval_rollout/mAP"] < 1
    assert all(CATALOGUE[key].eval_key == key for key in metrics)


def test_the_table_has_a_row_a_file_and_one_for_all(good, tmp_path):
    other = written(tmp_path / "other.jsonl", record([thing(0, 0, 99, 99)], []))
    result = run(good, other)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["good.jsonl", "2", "3", "3", "2", "0.667", "0.667", "0.667"] in [
        row[:8] for row in rows
    ]
    assert ["other.jsonl", "1", "1", "0", "0", "-", "0.000", "0.000", "-", "0.000"] in rows
    assert ["pooled", "3", "4", "3", "2", "0.667", "0.500", "0.571"] in [row[:8] for row in rows]


def test_files_of_one_name_are_told_apart_by_their_paths(good, tmp_path):
    (tmp_path / "b").mkdir()
    twin = written(tmp_path / "b" / "good.jsonl", record([thing(0, 0, 99, 99)], []))
    assert str(twin) in run(good, twin).stdout


def test_a_file_named_twice_is_read_once(good):
    assert json.loads(run(good, good, "--format", "json").stdout)["pooled"]["images"] == 2


def test_a_directory_stands_for_its_files(good, tmp_path):
    (tmp_path / "empty").mkdir()
    assert json.loads(run(tmp_path, "--format", "json").stdout)["pooled"]["images"] == 2
    result = run(tmp_path / "empty")
    assert (result.exit_code, "without *.jsonl" in result.stderr) == (2, True)


def test_settings_reach_the_matching(good):
    metrics = json.loads(run(good, "--gate", "0.99", "--format", "json").stdout)["pooled"][
        "metrics"
    ]
    assert metrics["eval_rollout/matched"] == 1
    found = json.loads(
        run(good, "--top-k", 1, "--resolution", 64, "--iou-type", "segm", "--backend",
            "pycocotools", "--format", "json").stdout)  # fmt: skip
    assert found["settings"] == {"gate": 0.3, "top_k": 1, "resolution": 64, "iou_type": "segm",
                                 "backend": "pycocotools"}  # fmt: skip


BROKEN = [
    ("{", "is no JSON"),
    ("[" * 100_000, "is no JSON"),
    (b"\xff\xfe\x00".decode("latin-1"), "is no JSON"),
    ("7", "a record is an object, not 7"),
    (record(width=0), "width"),
    (record(height="9"), "height"),
    (record(width=True), "width"),
    (record(coord_mode="meters"), "coord_mode"),
    (record(coord_mode=[]), "coord_mode"),
    (record() | {"gt": None}, "gt is a list"),
    ({"image": "a", "width": 9, "height": 9, "gt": []}, "pred is a list"),
    (record([thing(1, 2, 3, 4), 5]), "gt[1] is no object"),
    (record([{"desc": "cat"}]), "gt[0] has not one of"),
    (record([], [{**thing(1, 2, 3, 4), "poly": [1, 2, 3, 4, 5, 6]}]), "pred[0] has not one of"),
    (record([{"bbox_2d": [1, 2, 3, 4]}]), "gt[0].desc"),
    (record([], [thing(1, 2, 3, 4, score="high")]), "pred[0].score"),
    (record([], [{"desc": "a", "bbox_2d": [1, 2, 3]}]), "pred[0].bbox_2d has 3 numbers"),
    (record([], [{"desc": "a", "poly": [1, 2, 3, 4, 5, 6, 7]}]), "pred[0].poly has 7 numbers"),
    (record([], [{"desc": "a", "bbox_2d": [1, 2, 3, "4"]}]), "pred[0].bbox_2d is a list of"),
    (record([], [{"desc": "a", "bbox_2d": [1, 2, 3, math.nan]}]), "pred[0].bbox_2d: a box is four"),
    (record([], [{"desc": "a", "bbox_2d": [1, 2, 3, 10**400]}]), "pred[0].bbox_2d: a box is four"),
]


@pytest.mark.parametrize(("row", "why"), BROKEN, ids=range(len(BROKEN)))
def test_a_line_that_cannot_be_used_is_named_and_the_rest_is_done(tmp_path, row, why):
    cat = thing(10, 10, 200, 300)
    path = written(tmp_path / "a.jsonl", record([cat], [cat]), row, record([cat], []))
    result = run(path, "--format", "json")
    assert result.exit_code == 1
    assert f"{path}:2: " in result.stderr
    data = json.loads(result.stdout)
    (problem,) = data["problems"]
    assert (problem["path"], problem["line"]) == (str(path), 2)
    assert why in problem["message"]
    assert data["pooled"]["images"] == 2
    assert data["pooled"]["metrics"]["eval_rollout/recall"] == 0.5


def test_a_missing_file_is_named_and_the_rest_is_done(good, tmp_path):
    result = run(tmp_path / "nowhere.jsonl", good)
    assert result.exit_code == 1
    assert "nowhere.jsonl: No such file" in result.stderr
    assert "pooled" in result.stdout


@pytest.mark.parametrize("rows", [[], ["{"], ["", "  "]])
def test_exit_2_where_nothing_was_evaluated(tmp_path, rows):
    result = run(written(tmp_path / "a.jsonl", *rows))
    assert result.exit_code == 2
    assert "nothing was evaluated" in result.stderr
    assert "a.jsonl" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "wrong",
    [["--gate", "2"], ["--gate", "nan"], ["--top-k", "0"], ["--resolution", "1"],
     ["--format", "xml"], ["--iou-type", "keypoints"], ["--backend", "torch"]],
)  # fmt: skip
def test_exit_2_for_an_argument_out_of_range(good, wrong):
    result = run(good, *wrong)
    assert (result.exit_code, result.stdout) == (2, "")


def test_exit_2_without_files():
    assert run().exit_code == 2


def test_a_backend_that_is_not_installed_leaves_mAP_out_and_exits_1(good, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    result = run(good, "--backend", "faster-coco-eval", "--format", "json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert "eval_rollout/mAP" not in data["pooled"]["metrics"]
    assert data["pooled"]["metrics"]["eval_rollout/coco_eval_ok"] == 0
    assert "mAP could not be computed" in data["problems"][0]["message"]


def test_norm1000_coordinates_are_taken_as_they_are(tmp_path):
    rows = record([thing(0, 0, 999, 500)], [thing(0, 0, 1e400, 500)], coord_mode="norm1000")
    (found,) = read_rollouts(written(tmp_path / "a.jsonl", rows))
    assert found.ground_truth[0].points == (0, 0, 999, 500)
    assert match_objects(found.predictions, found.ground_truth).pairs == (), "infinite is no box"


def test_pixels_become_bins_point_by_point(tmp_path):
    rows = record([thing(0, 0, 639, 0, 639, 479)], [thing(0, 0, 639, 479)])
    (found,) = read_rollouts(written(tmp_path / "a.jsonl", rows))
    assert found.ground_truth[0].points == (0, 0, 999, 0, 999, 999)
    assert (found.ground_truth[0].kind, found.predictions[0].points) == ("poly", (0, 0, 999, 999))


def test_a_message_never_steers_a_terminal(tmp_path):
    path = written(tmp_path / "a\x1b[2J.jsonl", "\x1b[31m", record([thing(0, 0, 9, 9)], []))
    result = run(path)
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr + result.stdout


def test_the_verb_runs_without_torch(good):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from coordexp_metrics.cli.entry import main\n"
        f"sys.argv = ['coordexp-metrics', 'eval-rollouts', {str(good)!r}]\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pooled" in done.stdout


def labels(svg):
    return [text.text for text in ET.parse(svg).getroot().iter(f"{SVG}text")]  # noqa: S314


def test_a_picture_shows_matched_missed_and_false(good, tmp_path):
    result = run(good, "--plot", tmp_path / "p")
    assert result.exit_code == 0
    assert "2 picture(s)" in result.stderr
    assert sorted(file.name for file in (tmp_path / "p").iterdir()) == ["good-1.svg", "good-3.svg"]
    found = labels(tmp_path / "p" / "good-1.svg")
    assert [text for text in found if text.startswith("cat 0.9")]
    assert {"cat", "dog", "missed (1)", "false (1)"} <= set(found)


def test_a_picture_survives_any_description_and_geometry(tmp_path):
    names = ["<b>&\"'", "\x00\x1b[31m", "\ud800", "狗" * 60, "", "cat\u202e"]
    strange = [thing(1, 2, 300, 400, desc=name) for name in names]
    bad = [thing(300, 300, 10, 10), thing(5, 5, 5, 5), thing(-90, 0, 9999, 9e9)]
    path = written(
        tmp_path / "a.jsonl",
        record(strange[:3] + bad, strange[3:] + bad, image="<&>", width=1, height=4000),
        record([], []),
    )
    assert run(path, "--plot", tmp_path / "p").exit_code == 0
    for file in (tmp_path / "p").iterdir():
        text = file.read_text(encoding="utf-8")
        assert labels(file)
        assert not re.search("[\x00-\x08\x0b-\x1f]", text)


def test_records_of_one_name_have_pictures_of_their_own(good, tmp_path):
    (tmp_path / "b").mkdir()
    twin = written(tmp_path / "b" / "good.jsonl", record([thing(0, 0, 99, 99)], []))
    run(good, twin, "--plot", tmp_path / "p")
    names = sorted(file.name for file in (tmp_path / "p").iterdir())
    assert names == ["good-1-2.svg", "good-1.svg", "good-3.svg"]


def test_pictures_are_drawn_over_the_images_of_a_folder_and_of_no_other(good, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"bytes of a jpeg")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    outside = written(tmp_path / "o.jsonl", record([thing(0, 0, 9, 9)], [], image="../secret.jpg"))
    run(good, outside, "--plot", tmp_path / "p", "--images", photos)
    assert "data:image/jpeg;base64,Ynl0ZXMgb2YgYSBqcGVn" in (tmp_path / "p/good-1.svg").read_text()
    assert "<image" not in (tmp_path / "p/o-1.svg").read_text()


def test_exit_2_where_pictures_have_no_place(good):
    command = [sys.executable, "-m", "coordexp_metrics.cli", "eval-rollouts", good, "--plot", good]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "good.jsonl" in done.stderr


@real
def test_every_real_file_goes_through_match_reduce_and_evaluate():
    report = evaluate_files([SHARED])
    assert len(report.files) == len(list(SHARED.glob("*.jsonl"))) >= 12
    assert report.problems == []
    for one in (*report.files.values(), report.pooled):
        metrics = one.metrics
        matched = metrics["eval_rollout/matched"]
        assert 0 < matched <= min(metrics["eval_rollout/gt_objects"],
                                  metrics["eval_rollout/pred_objects"])  # fmt: skip
        assert 0.3 <= metrics["eval_rollout/matched_maskiou_mean"] <= 1
        assert 0 < metrics["eval_rollout/mAP"] < 1
    total = sum(one.metrics["eval_rollout/matched"] for one in report.files.values())
    assert report.pooled.metrics["eval_rollout/matched"] == total


@real
def test_at_their_own_threshold_the_real_records_were_matched_alike():
    """They were paired greedily at a box IoU of 0.5 in pixels; that finds as many pairs, or one
    fewer on an image, and mostly the same."""
    same = theirs_total = 0
    for path in sorted(SHARED.glob("*.jsonl")):
        (found,) = read_rollouts(path)
        assert isinstance(found, RolloutRecord)
        theirs = {tuple(pair) for pair in json.loads(path.read_text())["matching"]["matched_pairs"]}
        ours = match_objects(found.predictions, found.ground_truth, gate=0.5)
        assert len(theirs) - 1 <= len(ours.pairs) <= len(theirs) + 1
        same += len(theirs & set(ours.pairs))
        theirs_total += len(theirs)
    assert same >= 0.9 * theirs_total


def test_an_unreadable_file_is_one_problem(tmp_path):
    (problem,) = read_rollouts(tmp_path / "none")
    assert problem == Unusable(tmp_path / "none", 0, "No such file or directory")
    assert str(problem) == f"{tmp_path / 'none'}: No such file or directory"
