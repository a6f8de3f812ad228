"""A user's own W&B run gets every key defined, every step, and no NaN as its best value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.errors import SinkError
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import MemorySink, WandbSink

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


@pytest.mark.parametrize(("word", "shown"), [("nan", "NaN"), ("inf", "Infinity")])
def test_a_nan_is_in_the_curve_and_in_no_summary(word: str, shown: str, logged: Logged) -> None:
    file = logged(
        Record("train", 0, {"rollout/precision": 0.5}),
        Record("train", 1, {}, {"rollout/precision": word}),
        Record("train", 2, {}, {"rollout/precision": word}),
        Record("train", 3, {"rollout/precision": 0.25}),
    )
    assert [row["rollout/precision"] for row in file.history] == [0.5, shown, shown, 0.25]
    assert file.summary["rollout/precision"] == {"max": 0.5, "last": 0.25}
    assert len(file.metrics["rollout/precision"]) == 3


def test_a_key_that_begins_or_ends_with_nan_keeps_finite_summaries(logged: Logged) -> None:
    file = logged(
        Record("train", 0, {}, {"loss": "nan", "grad_norm": "-inf"}),
        Record("train", 1, {"loss": 2.0}, {"grad_norm": "nan"}),
        Record("train", 2, {}, {"loss": "nan"}),
    )
    assert file.summary["loss"] == {"min": 2.0, "last": 2.0}
    assert "grad_norm" not in file.summary
    assert [row.get("grad_norm") for row in file.history] == ["-Infinity", "NaN", None]


def test_a_key_that_wandb_would_drop_or_take_for_its_own_is_set_aside(logged: Logged) -> None:
    foreign = {"": 1.0, "_timestamp": 2.0, "_step": 3.0, "global_step": 4.0}
    (row,) = logged(Record("train", 7, foreign)).history
    assert {f"carried/{key}": value for key, value in foreign.items()}.items() <= row.items()
    assert row["global_step"] == 7
    assert row["_step"] == 0
    assert row["_timestamp"] > 1e9


def test_a_resumed_run_whose_step_goes_back_keeps_every_row(
    run: Any, header: Header, tmp_path: Path
) -> None:
    for steps in [(999, 1000), (801, 802)]:
        sink = WandbSink(run)
        sink.open(header)
        for step in steps:
            sink.write(Record("train", step, {"loss": float(step)}))
        sink.close()
    run.finish()
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    rows = WandbFile.of_finished(path).history
    assert [(row["global_step"], row["loss"]) for row in rows] == [
        (step, float(step)) for step in (999, 1000, 801, 802)
    ]


def test_a_row_that_the_user_began_is_not_lost(run: Any, logged: Logged) -> None:
    run.log({"mine": 1}, commit=False)
    rows = logged(Record("train", 1, {"loss": 1.0}), Record("train", 2, {"loss": 2.0})).history
    assert [(row.get("mine"), row["loss"]) for row in rows] == [(1, 1.0), (None, 2.0)]


def test_no_credential_and_no_environment_is_written(
    run: Any, header: Header, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary0123456789canary0123456789canary01")
    monkeypatch.setenv("HF_TOKEN", "hf_canary0123456789")
    sink = WandbSink(run)
    sink.open(header)
    sink.write(Record("train", 1, {"loss": 1.0}))
    sink.close()
    run.finish()
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    WandbFile.of_finished(path)
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"canary" not in written


def test_the_config_names_the_definitions(logged: Logged, header: Header) -> None:
    found = logged().config["coordexp_metrics"]
    assert found["catalogue"] == header.catalogue.digest
    assert header.pipeline is not None
    assert found["pipeline"] == header.pipeline.checksum
    assert found["format"] == 1
    assert len(found["definitions"]) == 16
    named = {"format", "package", "catalogue", "definitions", "pipeline", "descriptions"}
    assert set(found) == named
    assert "rollout/precision: matched / predicted [fraction]" in found["descriptions"].split("\n")


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


def test_without_a_run_the_error_says_what_to_do(header: Header) -> None:
    """Said where the registry is made, before step 0; a rank that opens nothing needs none."""
    sink = WandbSink()
    with pytest.raises(SinkError, match=r"call wandb\.init\(\.\.\.\) first, or pass the run"):
        sink.open(header)
    with pytest.raises(SinkError, match="pass the run"):
        MetricsRegistry([WandbSink()])
    MetricsRegistry([WandbSink()], main=False).close()


def test_a_finished_run_is_an_error_with_the_way_out(run: Any, header: Header) -> None:
    sink = WandbSink(run)
    sink.open(header)
    sink.write(Record("train", 1, {"loss": 1.0}))
    run.finish()
    for number in (2.0, 3.0):
        with pytest.raises(SinkError, match=r"finished.*make a new sink for a new run"):
            sink.write(Record("train", 2, {"loss": number}))
    with pytest.raises(SinkError, match="finished"):
        WandbSink(run).open(header)
    sink.flush()
    sink.close()


def test_another_init_elsewhere_does_not_divert_the_records(
    run: Any, header: Header, tmp_path: Path
) -> None:
    sink = WandbSink()
    sink.open(header)
    quiet = wandb.Settings(x_disable_meta=True, silent=True, console="off")
    other = wandb.init(
        mode="offline", dir=tmp_path, reinit="create_new", settings=quiet, project="other"
    )
    sink.write(Record("train", 1, {"loss": 1.0}))
    other.finish()
    sink.write(Record("train", 2, {"loss": 2.0}))
    run.finish()
    (path,) = tmp_path.glob(f"wandb/offline-run-*-{run.id}/*.wandb")
    assert [row["loss"] for row in WandbFile.of_finished(path).history] == [1.0, 2.0]


def test_a_disabled_run_opens_and_every_record_counts_as_lost(header: Header) -> None:
    """A run begun with WANDB_MODE=disabled keeps nothing, so nothing is said to be delivered."""
    off = wandb.init(mode="disabled")
    sink = WandbSink(off)
    sink.open(header)
    with pytest.raises(SinkError, match=r"disabled.*WANDB_MODE=offline"):
        sink.write(Record("train", 1, {"loss": 1.0}))
    sink.close()
    off.finish()


def test_training_goes_on_after_its_run_was_finished(run: Any, catalogue: Catalogue) -> None:
    memory = MemorySink()
    with MetricsRegistry([WandbSink(run), memory], catalogue, on_violation="count") as registry:
        for step in range(3):
            if step == 1:
                run.finish()
            row = {"schema_version": 1, "mode": "train", "global_step": step}
            registry.emit({**row, "metrics": {"loss": 1.0}})
            registry.flush()
    assert len(memory.records) == 3
    (account, _) = registry.report()["sinks"]
    assert (account["delivered"], sum(account["dropped"].values())) == (1, 2)
    assert "SinkError" in account["last_error"]


def test_each_evaluation_set_has_curves_of_its_own(run: Any, header: Header) -> None:
    sink = WandbSink(run)
    sink.open(header)
    for dataset, number in (("coco", 0.5), ("lvis/val", 0.25), (None, 0.75)):
        sink.write(Record("eval", 7, {"eval_loss": number}, dataset=dataset))
    assert run.summary["eval_coco_loss"]["last"] == 0.5
    assert run.summary["eval_lvis_val_loss"]["last"] == 0.25
    assert run.summary["eval_loss"]["last"] == 0.75
