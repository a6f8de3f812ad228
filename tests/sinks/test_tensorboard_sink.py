"""TensorBoard shows every value of a record, with the words of its declaration."""

from __future__ import annotations

import json
import math
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from coordexp_metrics.contract.errors import SinkError
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import TensorBoardSink

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import (
    LegacyEventFileLoader,
)
from tensorboard.compat.proto import event_pb2, summary_pb2

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
