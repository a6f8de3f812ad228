"""TensorBoard shows every value of a record, with the words of its declaration."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.errors import SinkError
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import TensorBoardSink
from coordexp_metrics.sinks import tensorboard as tensorboard_sink

pytest.importorskip("tensorboard")

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import (
    LegacyEventFileLoader,
)
from tensorboard.backend.event_processing.plugin_event_accumulator import (
    EventAccumulator as PluginAccumulator,
)
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.custom_scalar import layout_pb2

RECORDS = [
    Record("train", 1, {"loss": 1.5, "my/key": 3}, seq=0, time=100.5),
    Record("train", 2, {"loss": 1.25}, {"grad_norm": "nan"}, health={"contract/dropped": 2}),
    Record("eval", 2, {"eval_rollout/precision": 0.75}, {"eval_loss": "-inf"}),
]


def write(logdir: Path, header: Header, *records: Record) -> TensorBoardSink:
    sink = TensorBoardSink(logdir)
    sink.open(header)
    for record in records:
        sink.write(record)
    sink.close()
    return sink


def load(logdir: Path) -> EventAccumulator:
    return EventAccumulator(str(logdir), size_guidance={"scalars": 0}).Reload()


def curve(loaded: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in loaded.Scalars(tag)]


def raw_events(logdir: Path) -> list:
    return [e for path in sorted(logdir.iterdir()) for e in LegacyEventFileLoader(str(path)).Load()]


def draws(event: event_pb2.Event) -> bool:
    return [value.tag for value in event.summary.value] == ["custom_scalars__config__"]


def test_each_evaluation_set_has_curves_of_its_own(tmp_path: Path, header: Header) -> None:
    """Two sets at one step would be one curve with two values."""
    row = {"eval_rollout/f1": 0.5, "epoch": 1.0}
    write(tmp_path, header, Record("eval", 2, row, dataset="coco"), Record("eval", 2, row))
    loaded = load(tmp_path)
    assert curve(loaded, "eval_coco_rollout/f1") == [(2, 0.5)]
    assert curve(loaded, "eval_rollout/f1") == [(2, 0.5)]
    assert len(curve(loaded, "epoch")) == 2


def test_the_standard_loader_reads_every_value(tmp_path: Path, header: Header) -> None:
    write(tmp_path, header, *RECORDS)
    loaded = load(tmp_path)
    assert curve(loaded, "loss") == [(1, 1.5), (2, 1.25)]
    assert curve(loaded, "my/key") == [(1, 3.0)]
    assert curve(loaded, "contract/dropped") == [(2, 2.0)]
    assert curve(loaded, "eval_rollout/precision") == [(2, 0.75)]
    assert loaded.Scalars("loss")[0].wall_time == 100.5
    ((step, value),) = curve(loaded, "grad_norm")
    assert step == 2
    assert math.isnan(value)
    assert curve(loaded, "eval_loss") == [(2, -math.inf)]


def test_a_record_is_one_event_and_a_value_never_metadata_alone(
    tmp_path: Path, header: Header
) -> None:
    write(tmp_path, header, *RECORDS)
    version, start, page, *events = raw_events(tmp_path)
    assert start.session_log.status == event_pb2.SessionLog.START
    assert version.file_version == "brain.Event:2"
    assert [value.tag for value in page.summary.value] == ["contract/header"]
    assert [(e.step, len(e.summary.value)) for e in events if not draws(e)] == [
        (1, 2),
        (2, 3),
        (2, 2),
    ]
    assert all(v.WhichOneof("value") for e in (page, *events) for v in e.summary.value)


def test_the_first_value_of_a_tag_carries_its_declaration(tmp_path: Path, header: Header) -> None:
    write(tmp_path, header, *RECORDS)
    first, second = raw_events(tmp_path)[3:5]
    metadata = {value.tag: value.metadata for value in first.summary.value}["loss"]
    assert metadata.display_name == "loss"
    assert metadata.plugin_data.plugin_name == "scalars"
    assert metadata.data_class == summary_pb2.DATA_CLASS_SCALAR
    assert "the training objective" in metadata.summary_description
    assert not any(value.HasField("metadata") for value in second.summary.value[:1])
    loaded = load(tmp_path)
    assert loaded.SummaryMetadata("eval_rollout/precision").summary_description == (
        "matched / predicted\n\n"
        "- **kind** rate\n"
        "- **unit** fraction\n"
        "- **population** object\n"
        "- **better** higher\n"
        "- **formula** `rollout/matched / rollout/predicted`\n"
        "- **in training** `rollout/precision`"
    )
    assert loaded.SummaryMetadata("my/key").summary_description == ""


@pytest.mark.parametrize(
    ("value", "shown", "lost"),
    [
        (1e39, math.inf, 1),
        (-1e39, -math.inf, 1),
        (5e-324, 0.0, 1),
        (2**24 + 1, 2.0**24, 1),
        (2.0**24 + 1, 2.0**24, 1),
        (2**70 + 1, 2.0**70, 1),
        (2**24, 2.0**24, 0),
        (0.0, 0.0, 0),
        (0.5, 0.5, 0),
        (0.1, 0.10000000149011612, 0),
    ],
)
def test_what_float32_changes_is_counted(
    value: float, shown: float, lost: int, tmp_path: Path, header: Header
) -> None:
    sink = write(tmp_path, header, Record("train", 1, {"loss": value}, {"grad_norm": "inf"}))
    assert curve(load(tmp_path), "loss") == [(1, shown)]
    assert sink.precision_losses == lost
    beside = write(tmp_path / "finite", header, Record("train", 1, {"loss": value}))
    assert beside.precision_losses == lost


def test_the_last_step_of_all_is_written(tmp_path: Path, header: Header) -> None:
    write(tmp_path, header, Record("train", 2**63 - 1, {"loss": 1.0}))
    assert curve(load(tmp_path), "loss") == [(2**63 - 1, 1.0)]


def test_a_second_attempt_writes_beside_the_first(tmp_path: Path, header: Header) -> None:
    write(tmp_path, header, RECORDS[0])
    (first,) = tmp_path.iterdir()
    before = first.read_bytes()
    write(tmp_path, header, Record("train", 3, {"loss": 0.5}))
    assert first.read_bytes() == before
    assert curve(load(tmp_path), "loss") == [(1, 1.5), (3, 0.5)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_record_is_on_the_disk_before_write_returns(tmp_path: Path, header: Header) -> None:
    sink = TensorBoardSink(tmp_path)
    sink.open(header)
    sink.write(RECORDS[0])
    assert curve(load(tmp_path), "loss") == [(1, 1.5)]
    sink.close()


def test_after_a_torn_event_writing_goes_on_in_a_new_file(
    tmp_path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = TensorBoardSink(tmp_path)
    sink.open(header)
    sink.write(Record("train", 1, {"loss": 1.0}))
    whole, room = os.write, iter([20])

    def full_disk(descriptor: int, data: memoryview) -> int:
        for left in room:
            return whole(descriptor, data[:left])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        sink.write(Record("train", 2, {"loss": 2.0, "grad_norm": 2.0}))
    monkeypatch.setattr(os, "write", whole)
    sink.write(Record("train", 3, {"loss": 3.0, "grad_norm": 3.0}))
    sink.close()
    loaded = load(tmp_path)
    assert curve(loaded, "loss") == [(1, 1.0), (3, 3.0)]
    assert curve(loaded, "grad_norm") == [(3, 3.0)]
    assert "norm of the gradient" in loaded.SummaryMetadata("grad_norm").summary_description


@pytest.mark.parametrize("below", ["file", "file/deeper"])
def test_a_directory_that_cannot_be_is_named(below: str, tmp_path: Path, header: Header) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=f"TensorBoardSink cannot write '{tmp_path / below}'"):
        TensorBoardSink(tmp_path / below).open(header)


def test_a_closed_sink_takes_nothing_and_closes_again(tmp_path: Path, header: Header) -> None:
    sink = write(tmp_path, header)
    sink.close()
    sink.flush()
    with pytest.raises(SinkError, match="not open"):
        sink.write(RECORDS[0])


NUMBERS = st.one_of(st.floats(), st.integers(-(2**60), 2**60))


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["loss", "my/a", "my/b"]), NUMBERS, min_size=1),
        min_size=1,
        max_size=6,
    )
)
def test_every_value_and_step_comes_back_as_the_nearest_float32(
    rows: list[dict[str, float]],
) -> None:
    with TemporaryDirectory() as place:
        records = [record_of(7 * step, row) for step, row in enumerate(rows)]
        write(Path(place), Header(CATALOGUE), *records)
        loaded = load(Path(place))
    for key in {key for row in rows for key in row}:
        sent = [(7 * step, row[key]) for step, row in enumerate(rows) if key in row]
        shown = curve(loaded, key)
        assert [step for step, _ in shown] == [step for step, _ in sent]
        with np.errstate(over="ignore", under="ignore"):
            nearest = np.array([float(number) for _, number in sent]).astype(np.float32)
        np.testing.assert_array_equal(np.array([value for _, value in shown], np.float32), nearest)


def record_of(step: int, row: dict[str, float]) -> Record:
    names = {math.inf: "inf", -math.inf: "-inf"}
    finite = {key: value for key, value in row.items() if math.isfinite(value)}
    other = {k: names.get(value, "nan") for k, value in row.items() if k not in finite}
    return Record("train", step, finite, other)


def test_what_float32_changed_is_drawn_and_counted(tmp_path: Path, header: Header) -> None:
    wide = Record("train", 1, {"my/a": 2**24 + 1, "my/b": 1e39, "loss": 0.1})
    sink = write(tmp_path, header, wide, Record("train", 2, {"loss": 0.1}), wide)
    assert sink.counters == {"contract/tb_precision_loss_total": 4}
    drawn = curve(load(tmp_path), "contract/tb_precision_loss_total")
    assert drawn == [(2, 2.0), (1, 2.0)]
    assert write(tmp_path, header, RECORDS[0]).counters == {}


def test_ints_of_any_size_are_counted_and_shown(tmp_path: Path, header: Header) -> None:
    huge = Record("train", 1, {"my/a": 10**400, "my/b": -(10**400), "loss": 2**53 + 1})
    sink = write(tmp_path, header, huge)
    loaded = load(tmp_path)
    assert [curve(loaded, key)[0][1] for key in ("my/a", "my/b")] == [math.inf, -math.inf]
    assert sink.precision_losses == 3


@pytest.mark.parametrize("keys", [["loss"], ["loss", "my/new"]], ids=["known keys", "a new key"])
def test_a_step_that_is_no_int64_loses_its_record_alone(
    keys: list[str], tmp_path: Path, header: Header
) -> None:
    sink = TensorBoardSink(tmp_path)
    sink.open(header)
    sink.write(Record("train", 1, {"loss": 1.0}))
    with pytest.raises(ValueError, match=r"int64|out of range"):
        sink.write(Record("train", 2**63, dict.fromkeys(keys, 2.0)))
    sink.write(Record("train", 3, dict.fromkeys(keys, 3.0)))
    sink.close()
    assert curve(load(tmp_path), "loss") == [(1, 1.0), (3, 3.0)]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_key_that_utf8_cannot_hold_is_spelled_out(tmp_path: Path, header: Header) -> None:
    records = [Record("train", step, {"my/\udc80": 1.0, "loss": 2.0}) for step in (1, 2)]
    write(tmp_path, header, *records)
    assert curve(load(tmp_path), "my/\\udc80") == [(1, 1.0), (2, 1.0)]


def test_steps_of_any_length_come_back(tmp_path: Path, header: Header) -> None:
    steps = [0, 1, 127, 128, 129, 16383, 16384, 2**31, 2**40]
    write(tmp_path, header, *(Record("train", step, {"loss": step / 2}) for step in steps))
    assert curve(load(tmp_path), "loss") == [(step, step / 2) for step in steps]


def test_a_layout_whose_write_failed_is_written_again(
    tmp_path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = TensorBoardSink(tmp_path)
    sink.open(header)
    both = Record("train", 1, {"loss": 1.0, "eval_loss": 1.0})

    def full_disk(descriptor: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk)
        with pytest.raises(OSError, match="No space"):
            sink.write(both)
    sink.write(both)
    sink.close()
    assert len(layouts(tmp_path)) == 1


def test_many_sets_of_keys_keep_few_layouts(tmp_path: Path, header: Header) -> None:
    sink = TensorBoardSink(tmp_path)
    sink.open(header)
    keys = [f"my/{number}" for number in range(100)]
    sink.write(Record("train", 0, dict.fromkeys(keys, 0.0)))
    for step, key in enumerate(keys, 1):
        sink.write(Record("train", step, {key: step}))
    assert sink._encoder is not None
    assert len(sink._encoder._layouts) == 64
    sink.close()
    loaded = load(tmp_path)
    assert all(curve(loaded, key)[1] == (n, n) for n, key in enumerate(keys, 1))


def attempts(logdir: Path, header: Header, **options: object) -> None:
    """A run of 10 steps that is resumed from step 8 and ends at 12."""
    for steps in (range(1, 11), range(8, 13)):
        sink = TensorBoardSink(logdir, **options)  # type: ignore[arg-type]
        sink.open(header)
        for step in steps:
            sink.write(Record("train", step, {"loss": 100.0 * steps.start + step}))
        sink.close()


RESUMED = [*((step, 100.0 + step) for step in range(1, 8))]
RESUMED += [*((step, 800.0 + step) for step in range(8, 13))]


def test_a_resumed_run_shows_each_step_once(tmp_path: Path, header: Header) -> None:
    attempts(tmp_path, header)
    assert curve(load(tmp_path), "loss") == RESUMED
    plugin = PluginAccumulator(str(tmp_path), tensor_size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in plugin.Tensors("loss")] == [step for step, _ in RESUMED]
    steps = [event.step for event in raw_events(tmp_path) if event.HasField("summary")]
    assert {8, 9, 10} < set(steps)


def test_the_step_of_a_resume_can_be_given(tmp_path: Path, header: Header) -> None:
    write(tmp_path, header, *(Record("train", step, {"loss": 1.0}) for step in (1, 2, 3)))
    sink = TensorBoardSink(tmp_path, purge_step=2)
    sink.open(header)
    sink.write(Record("train", 9, {"loss": 9.0}))
    sink.close()
    assert curve(load(tmp_path), "loss") == [(1, 1.0), (9, 9.0)]


def test_a_second_writer_may_hide_nothing(tmp_path: Path, header: Header) -> None:
    attempts(tmp_path, header, purge_step="never")
    assert len(curve(load(tmp_path), "loss")) == 15
    with pytest.raises(ValueError, match="'first' or 'never'"):
        TensorBoardSink(tmp_path, purge_step="last")  # type: ignore[arg-type]


def test_a_file_sorts_after_all_that_are_there(tmp_path: Path, header: Header) -> None:
    """TensorBoard reads files by name, and clocks go back."""
    later = int(time.time()) + 1000
    (tmp_path / f"events.out.tfevents.{later}.other.1").write_bytes(b"")
    (tmp_path / "events.out.tfevents.x.other.1").write_bytes(b"")
    for _ in range(3):
        write(tmp_path, header, RECORDS[0])
    names = sorted(path.name for path in tmp_path.glob(f"*.{os.getpid()}.*"))
    assert [int(name.split(".")[3]) - later for name in names] == [1, 2, 3]


def test_processes_in_one_directory_each_write_a_whole_file(tmp_path: Path, header: Header) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(4)
    processes = [
        context.Process(target=write_at_once, args=(ready, tmp_path, header, number))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    tags = [value.tag for event in raw_events(tmp_path) for value in event.summary.value]
    assert {f"my/{number}" for number in range(4)} <= set(tags)
    assert len(list(tmp_path.iterdir())) == 4


def write_at_once(ready: Any, logdir: Path, header: Header, number: int) -> None:
    ready.wait(30)
    write(logdir, header, Record("train", 1, {f"my/{number}": 1.0}))


def test_a_name_that_is_taken_is_passed_over(
    tmp_path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two containers may have one host name, one process id and one second."""
    monkeypatch.setattr(tensorboard_sink, "_latest", lambda logdir: 3_000_000_000)
    for _ in range(2):
        write(tmp_path, header, RECORDS[0])
    (tmp_path / "elsewhere").write_bytes(b"kept")
    taken = max(tmp_path.glob("events*"))
    taken.with_suffix(".0002").symlink_to(tmp_path / "elsewhere")
    write(tmp_path, header, RECORDS[0])
    assert [path.suffix for path in sorted(tmp_path.glob("events*"))] == [
        ".0000",
        ".0001",
        ".0002",
        ".0003",
    ]
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"


def test_a_disk_that_stays_full_is_not_filled_with_empty_files(
    tmp_path: Path, header: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = TensorBoardSink(tmp_path)
    sink.open(header)
    sink.write(Record("train", 1, {"loss": 1.0}))

    def full_disk(descriptor: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full_disk)
        for _ in range(5):
            with pytest.raises(OSError, match="No space"):
                sink.write(Record("train", 2, {"loss": 2.0}))
    assert len(list(tmp_path.iterdir())) == 1
    sink.write(Record("train", 3, {"loss": 3.0}))
    sink.close()
    assert len(list(tmp_path.iterdir())) == 2
    assert curve(load(tmp_path), "loss") == [(1, 1.0), (3, 3.0)]


def test_a_directory_that_vanished_is_made_again(tmp_path: Path, header: Header) -> None:
    sink = TensorBoardSink(tmp_path / "tb")
    sink.open(header)
    shutil.rmtree(tmp_path / "tb")
    sink.close()
    sink.open(header)
    sink.write(RECORDS[0])
    sink.close()
    assert curve(load(tmp_path / "tb"), "loss") == [(1, 1.5)]


def layouts(logdir: Path) -> list[layout_pb2.Layout]:
    found = []
    for event in filter(draws, raw_events(logdir)):
        (content,) = event.summary.value[0].tensor.string_val
        found.append(layout_pb2.Layout.FromString(content))
    return found


def test_the_layout_holds_the_charts_that_have_curves(tmp_path: Path) -> None:
    both = {f"coord_diag/{over}/p_gt_mean": 0.5 for over in ("A1", "B")}
    rates = {"rollout/precision": 0.5, "rollout/recall": 0.5, "rollout/f1": 0.5}
    write(
        tmp_path,
        Header(CATALOGUE),
        Record("train", 1, {"loss": 1.0, "coord_diag/A1/p_gt_mean": 0.5}),
        Record("train", 2, both),
        Record("train", 3, both),
        Record("train", 4, {**both, **rates}),
    )
    first, second = layouts(tmp_path)
    titles = [
        [chart.title for c in found.category for chart in c.chart] for found in (first, second)
    ]
    assert titles == [
        ["coord_diag/*/p_gt_mean"],
        ["coord_diag/*/p_gt_mean", "rollout/precision, recall, f1"],
    ]
    (pattern,) = second.category[1].chart[0].multiline.tag
    assert [key for key in [*both, *rates] if re.match(pattern, key)] == list(rates)


def test_neither_torch_nor_tensorflow_is_loaded(tmp_path: Path) -> None:
    source = """
import sys
sys.path.insert(0, sys.argv[1])
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import TensorBoardSink
sink = TensorBoardSink(sys.argv[2])
sink.open(Header(Catalogue()))
sink.write(Record("train", 1, {"loss": 1.0}))
sink.close()
print([name for name in ("torch", "tensorflow") if name in sys.modules])
"""
    command = [sys.executable, "-c", source, str(Path(__file__).parents[2]), str(tmp_path)]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b"[]\n"


@pytest.fixture(params=["true", "false"], ids=["data server", "python loader"])
def dashboard(request: pytest.FixtureRequest, tmp_path: Path, header: Header) -> Iterator[str]:
    """A TensorBoard of its own, with each of its two loaders."""
    write(tmp_path / "runs" / "a", header, *RECORDS)
    attempts(tmp_path / "runs" / "resumed", header)
    log = tmp_path / "tensorboard.log"
    options = ["--logdir", str(tmp_path / "runs"), "--host", "127.0.0.1", "--port", "0"]
    command = [sys.executable, "-m", "tensorboard.main", *options, "--load_fast", request.param]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield address(log, process)
    finally:
        process.terminate()
        process.wait(20)


def address(log: Path, process: subprocess.Popen) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"TensorBoard did not start: {log.read_text()}")


def fetch(url: str) -> object:
    """The answer, once the dashboard has read its files."""
    for _ in range(200):
        try:
            with urlopen(url) as answer:  # noqa: S310
                data = json.loads(answer.read())
        except URLError:
            data = None
        if data:
            return data
        time.sleep(0.05)
    raise AssertionError(f"{url} stayed empty")


def test_a_real_dashboard_shows_descriptions(dashboard: str) -> None:
    tags = fetch(f"{dashboard}/data/plugin/scalars/tags")
    assert isinstance(tags, dict)
    shown = tags["a"]
    assert set(shown) == {
        "loss",
        "my/key",
        "grad_norm",
        "contract/dropped",
        "eval_rollout/precision",
        "eval_loss",
    }
    assert shown["loss"]["displayName"] == "loss"
    assert "the training objective" in shown["loss"]["description"]
    assert "<strong>better</strong> lower" in shown["loss"]["description"]
    assert (
        "<code>rollout/matched / rollout/predicted</code>"
        in (shown["eval_rollout/precision"]["description"])
    )
    points = fetch(f"{dashboard}/data/plugin/scalars/scalars?run=a&tag={quote('loss')}")
    assert [point[1:] for point in points] == [[1, 1.5], [2, 1.25]]
    pages = fetch(f"{dashboard}/data/plugin/text/text?run=a&tag={quote('contract/header')}")
    assert "<strong>catalogue</strong>" in pages[0]["text"]
    resumed = fetch(f"{dashboard}/data/plugin/scalars/scalars?run=resumed&tag=loss")
    assert [(step, value) for _, step, value in resumed] == RESUMED
    layout = fetch(f"{dashboard}/data/plugin/custom_scalars/layout")
    assert [category["title"] for category in layout["category"]] == ["training and evaluation"]
