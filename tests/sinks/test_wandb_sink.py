"""A user's own W&B run gets every key defined, every step, and no NaN as its best value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_metrics.contract.errors import SinkError
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import WandbSink

wandb = pytest.importorskip("wandb")

from .wandb_file import WandbFile  # noqa: E402

Logged = Callable[..., WandbFile]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    quiet = wandb.Settings(x_disable_meta=True, silent=True, console="off")
    run = wandb.init(mode="offline", dir=tmp_path, project="tests", settings=quiet)
    yield run
    run.finish()


@pytest.fixture
def logged(run: Any, header: Header, tmp_path: Path) -> Logged:
    """What the offline file of the run holds after these records."""

    def log(*records: Record) -> WandbFile:
        sink = WandbSink(run)
        sink.open(header)
        for record in records:
            sink.write(record)
        sink.flush()
        sink.close()
        run.finish()
        (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
        return WandbFile.of_finished(path)

    return log


def test_every_value_arrives_with_its_step(logged: Logged) -> None:
    file = logged(
        Record("train", 10, {"loss": 1.5, "my/key": 2**53 + 1}, health={"contract/dropped": 1}),
        Record("eval", 10, {"eval_rollout/precision": 0.25}),
        Record("train", 5, {"loss": -0.0}),
    )
    rows = [{k: v for k, v in row.items() if not k.startswith("_")} for row in file.history]
    assert rows == [
        {"loss": 1.5, "my/key": 2**53 + 1, "contract/dropped": 1, "global_step": 10},
        {"eval_rollout/precision": 0.25, "global_step": 10},
        {"loss": -0.0, "global_step": 5},
    ]
    assert [row["_step"] for row in file.history] == [0, 1, 2]


def test_a_row_larger_than_a_block_arrives_whole(logged: Logged) -> None:
    metrics = {f"my/key_{number:04d}": number / 7 for number in range(1000)}
    (row,) = logged(Record("train", 1, metrics)).history
    assert {key: row[key] for key in metrics} == metrics


def test_every_key_is_defined_once_from_the_catalogue(logged: Logged) -> None:
    metrics = {"loss": 1.0, "grad_norm": 2.0, "rollout/precision": 0.5, "my/key": 3.0}
    evaluation = {"eval_loss": 1.0, "eval_rollout/precision": 0.5, "my/v1.5": 1.0}
    train = Record("train", 1, metrics)
    file = logged(train, train, Record("eval", 1, evaluation, health={"contract/dropped": 1}))
    step = file.metrics.pop("global_step")
    assert [(m.step_metric, m.options.hidden) for m in step] == [("", True)]
    assert {name: len(defined) for name, defined in file.metrics.items()} == dict.fromkeys(
        [*metrics, "eval_loss", "eval_rollout/precision", "my/v1\\.5", "contract/dropped"], 1
    )
    assert {m.step_metric for (m,) in file.metrics.values()} == {"global_step"}
    best = {name: summary(m) for name, (m,) in file.metrics.items()}
    assert best == {
        "loss": {"min", "last"},
        "eval_loss": {"min", "last"},
        "rollout/precision": {"max", "last"},
        "eval_rollout/precision": {"max", "last"},
        "grad_norm": {"last"},
        "my/key": {"last"},
        "my/v1\\.5": {"last"},
        "contract/dropped": {"last"},
    }


def summary(metric: Any) -> set[str]:
    return {field.name for field, _ in metric.summary.ListFields()}


def test_the_summary_holds_best_and_last(logged: Logged) -> None:
    file = logged(*(Record("train", step, {"loss": x}) for step, x in enumerate([3.0, 1.0, 2.0])))
    assert file.summary["loss"] == {"min": 1.0, "last": 2.0}


def test_a_key_with_a_dot_keeps_its_summary(logged: Logged) -> None:
    assert logged(Record("train", 1, {"my/v1.5": 4.0})).summary["my/v1.5"] == {"last": 4.0}


@pytest.mark.parametrize(("word", "number"), [("nan", math.nan), ("inf", math.inf)])
def test_a_nan_is_in_the_curve_and_not_in_a_best_value(
    word: str, number: float, logged: Logged
) -> None:
    file = logged(
        Record("train", 0, {"rollout/precision": 0.5}),
        Record("train", 1, {}, {"rollout/precision": word}),
        Record("train", 2, {"rollout/precision": 0.75}),
    )
    curve = [row["rollout/precision"] for row in file.history]
    assert list(map(repr, curve)) == list(map(repr, [0.5, number, 0.75]))
    assert file.summary["rollout/precision"] == {"last": 0.75}


def test_a_key_that_begins_with_nan_has_no_best_value(logged: Logged) -> None:
    file = logged(Record("train", 0, {}, {"loss": "nan"}), Record("train", 1, {"loss": 1.0}))
    assert len(file.metrics["loss"]) == 1
    assert file.summary["loss"] == {"last": 1.0}


def test_the_config_names_the_definitions(logged: Logged, header: Header) -> None:
    found = logged().config["coordexp_metrics"]
    assert found["catalogue"] == header.catalogue.digest
    assert header.pipeline is not None
    assert found["pipeline"] == header.pipeline.checksum
    assert found["format"] == 1
    assert len(found["definitions"]) == 16
    assert set(found) == {"format", "package", "catalogue", "definitions", "pipeline"}


def test_the_run_of_the_process_is_used_and_not_finished(run: Any, header: Header) -> None:
    sink = WandbSink()
    sink.open(header)
    sink.write(Record("train", 1, {"loss": 1.0}))
    sink.close()
    assert wandb.run is run
    run.log({"still": 1})


def test_a_second_attempt_may_change_the_config(run: Any, header: Header) -> None:
    WandbSink(run).open(header)
    WandbSink(run).open(Header(header.catalogue))
    assert run.config["coordexp_metrics"]["pipeline"] is None


def test_without_a_run_the_error_says_what_to_do() -> None:
    with pytest.raises(SinkError, match=r"call wandb\.init\(\.\.\.\) first, or pass the run"):
        WandbSink()


def test_a_finished_run_is_an_error(run: Any, header: Header) -> None:
    sink = WandbSink(run)
    sink.open(header)
    run.finish()
    with pytest.raises(wandb.Error, match="finished"):
        sink.write(Record("train", 1, {"loss": 1.0}))
    with pytest.raises(SinkError, match="finished"):
        WandbSink(run).open(header)
