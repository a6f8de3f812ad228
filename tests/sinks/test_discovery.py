"""A sink is found by its name, ours or an installed package's, and imported when asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.contract.errors import MissingExtraError, SinkError
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import ConsoleSink, JsonlSink, MemorySink, sink_from
from coordexp_metrics.sinks.discovery import known_sinks

MODULE = """
from coordexp_metrics.contract.errors import MissingExtraError
from coordexp_metrics.sinks import Sink

class Lines:
    def __init__(self, target="stdout"):
        self.target, self.steps = target, []

    def write(self, record):
        self.steps.append(record.global_step)

class Derived(Sink):
    pass

def needs_an_extra():
    raise MissingExtraError("parquet", "ParquetSink")

def nothing():
    return object()

def quits():
    raise SystemError("no such \\x1b[2J device")
"""
NAMES = """[coordexp_metrics.sinks]
lines = their_sinks:Lines
derived = their_sinks:Derived
extra = their_sinks:needs_an_extra
nothing = their_sinks:nothing
quits = their_sinks:quits
broken = their_broken_sinks:Sink
absent = their_sinks:Absent
jsonl = their_sinks:Lines
twice = their_sinks:Lines
"""


def install(place: Path, package: str, names: str, **modules: str) -> None:
    """What pip would leave behind of ``package``."""
    metadata = place / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(names)
    for name, source in modules.items():
        (place / f"{name}.py").write_text(source)


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    install(
        tmp_path / "a",
        "their-sinks",
        NAMES,
        their_sinks=MODULE,
        their_broken_sinks="import nowhere",
    )
    install(tmp_path / "b", "other", "[coordexp_metrics.sinks]\ntwice = other:Sink\n")
    monkeypatch.syspath_prepend(tmp_path / "b")
    monkeypatch.syspath_prepend(tmp_path / "a")
    yield
    for name in ("their_sinks", "their_broken_sinks"):
        sys.modules.pop(name, None)


def test_our_own_sinks_go_by_short_names(tmp_path: Path) -> None:
    sink = sink_from(f"jsonl:{tmp_path}/a:b.jsonl")
    assert isinstance(sink, JsonlSink)
    assert str(sink.path) == f"{tmp_path}/a:b.jsonl"
    assert isinstance(sink_from("console"), ConsoleSink)


def test_tensorboard_goes_by_its_directory(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert sink_from(f"tensorboard:{tmp_path}").logdir == tmp_path  # type: ignore[attr-defined]


def test_wandb_is_the_run_of_the_process() -> None:
    pytest.importorskip("wandb")
    with pytest.raises(SinkError, match=r"call wandb\.init"):
        MetricsRegistry([sink_from("wandb")])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("jsonl", "jsonl needs a place: jsonl:PATH"),
        ("tensorboard:", "tensorboard needs a place: tensorboard:DIR"),
        ("console:x", "console takes no target; got 'x'"),
        ("csv:x", "no sink is named 'csv'; there are console, jsonl:PATH, tensorboard:DIR, wandb"),
        ("", "no sink is named ''"),
        ("a\x1b[2J", r"no sink is named 'a\x1b[2J'"),
        (7, "int is no sink: pass an object with a method write(record)"),
        (MemorySink, "type is no sink"),
    ],
)
def test_a_spec_that_means_nothing_says_what_there_is(spec: object, told: str) -> None:
    with pytest.raises(SinkError) as error:
        sink_from(spec)
    assert told in str(error.value)


def test_a_sink_stays_what_it_is() -> None:
    sink = MemorySink()
    assert sink_from(sink) is sink


def test_an_entry_point_is_imported_when_it_is_asked_for(theirs: None, header: Header) -> None:
    assert {"lines", "broken"} <= set(known_sinks())
    assert "their_sinks" not in sys.modules
    sink = sink_from("lines:host:80")
    assert sink.name == "lines"
    sink.open(header)
    sink.write(Record("train", 7, {"loss": 1.0}))
    sink.flush()
    sink.close()
    theirs_sink = sink._sink  # type: ignore[attr-defined]
    assert (theirs_sink.target, theirs_sink.steps) == ("host:80", [7])
    assert sink_from("lines")._sink.target == "stdout"  # type: ignore[attr-defined]


def test_a_class_that_derives_from_sink_is_used_as_it_is(theirs: None) -> None:
    assert type(sink_from("derived")).__name__ == "Derived"


def test_the_methods_that_an_object_has_are_called(header: Header) -> None:
    class Whole:
        def __init__(self) -> None:
            self.calls: list[object] = []

        def open(self, header: Header) -> None:
            self.calls.append(header)

        def write(self, record: Record) -> None:
            self.calls.append(record)

        def flush(self) -> None:
            self.calls.append("flush")

        def close(self) -> None:
            self.calls.append("close")

    whole, record = Whole(), Record("train", 1, {})
    sink = sink_from(whole)
    sink.open(header)
    sink.write(record)
    sink.flush()
    sink.close()
    assert sink.name == "Whole"
    assert whole.calls == [header, record, "flush", "close"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "broken",
            "sink broken (their_broken_sinks:Sink of their-sinks) cannot be made: "
            "ModuleNotFoundError: No module named 'nowhere'",
        ),
        ("absent", "AttributeError: module 'their_sinks' has no attribute 'Absent'"),
        ("quits", r"SystemError: no such \x1b[2J device"),
        ("nothing", "nothing is no sink: pass an object with a method write(record)"),
        (
            "twice",
            "two sinks are named twice: other:Sink of other and their_sinks:Lines of "
            "their-sinks; pass the sink itself",
        ),
    ],
)
def test_an_entry_point_that_fails_is_named(theirs: None, name: str, told: str) -> None:
    with pytest.raises(SinkError) as error:
        sink_from(name)
    assert told in str(error.value)
    assert error.value.sink == name


def test_a_missing_extra_of_theirs_stays_one(theirs: None) -> None:
    with pytest.raises(MissingExtraError) as error:
        sink_from("extra")
    assert error.value.extra == "parquet"


def test_our_own_names_cannot_be_taken(theirs: None, tmp_path: Path) -> None:
    assert isinstance(sink_from(f"jsonl:{tmp_path}/m.jsonl"), JsonlSink)
