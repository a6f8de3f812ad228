"""The durable log keeps every bit, every line and every earlier attempt."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import stat
import subprocess
import sys
from enum import StrEnum
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.contract.errors import SinkError
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.journal import unseal
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink, encode
from coordexp_metrics.sinks.spool import boot_id

EXACT = [-0.0, 5e-324, 1.7976931348623157e308, 0.1, 2**53 + 1, -(2**63), 2**64, 2**70, 10**300]
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300)
leaves = st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters())
sections = st.recursive(
    leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner)
)


def bits(number: float) -> tuple[type, str]:
    """What tells -0.0 from 0.0 and 1 from 1.0."""
    return type(number), number.hex() if isinstance(number, float) else str(number)


def refuse_constant(name: str) -> None:
    raise AssertionError(f"a bare {name}")


def parse(line: bytes) -> dict:
    """What a line says, if its checksum holds."""
    text = unseal(line.removesuffix(b"\n"))
    assert text is not None, line
    row = json.loads(line, parse_constant=refuse_constant)
    assert list(row)[-1] == "crc"
    del row["crc"]
    return row


def lines(path: Path) -> list[dict]:
    """The header and the records of a file whose lines are all whole, without its footer."""
    rows = [parse(line) for line in path.read_bytes().split(b"\n") if line]
    return [row for row in rows if "footer" not in row]


def without_orjson(record: Record) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encode, "orjson", None)
        return encode.record_line(record)


@given(st.lists(numbers) | st.just(EXACT))
def test_numbers_round_trip_with_every_bit(values: list[float]) -> None:
    record = Record("train", 7, {f"k{i}": value for i, value in enumerate(values)})
    for line in encode.record_line(record), without_orjson(record):
        read_back = list(parse(line)["metrics"].values())
        assert list(map(bits, read_back)) == list(map(bits, values))


@given(st.dictionaries(st.sampled_from(["a/b", "c", "d"]), numbers), sections)
def test_orjson_and_json_write_the_same_data(metrics: dict[str, float], section: object) -> None:
    record = Record("eval", 7, metrics, seq=3, time=1.5, dataset="val", extra={"mine": section})
    fast, plain = parse(encode.record_line(record)), parse(without_orjson(record))
    assert repr(fast) == repr(plain)


def test_orjson_is_what_writes_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> str:
        raise AssertionError("json was used")

    monkeypatch.setattr(encode.json, "dumps", refuse)
    assert parse(encode.record_line(Record("train", 7, {"loss": 1.0})))["metrics"] == {"loss": 1.0}


def test_a_log_opens_with_its_header(tmp_path: Path, header: Header) -> None:
    sink = JsonlSink(tmp_path / "runs" / "a" / "metrics.jsonl")
    sink.open(header)
    sink.write(Record("train", 7, {"loss": 1.25}, seq=0, time=12.5))
    sink.close()
    first, second = lines(sink.path)
    told = {"run": {"seed": 17, "lr": "inf"}, "checksum": "crc32", "pid": os.getpid()}
    place = {"boot": boot_id(), "attempt": 0, "resumed_from": None}
    assert first == {"header": {**header.to_data(), **told, **place}}
    assert second == {
        "schema_version": 1,
        "mode": "train",
        "global_step": 7,
        "seq": 0,
        "time": 12.5,
        "metrics": {"loss": 1.25},
    }


def test_every_section_of_a_record_is_written() -> None:
    record = Record(
        "eval",
        8,
        {"eval_loss": 1},
        {"eval_grad_norm": "nan"},
        seq=1,
        time=2.0,
        dataset="coco",
        coverage={"world_size": 8, "missing_ranks": [3]},
        health={"contract/dropped": 2},
        extra={"note": {"who": "me"}, "seq": "mine", "zero": 0},
    )
    assert parse(encode.record_line(record)) == {
        "schema_version": 1,
        "mode": "eval",
        "global_step": 8,
        "seq": 1,
        "time": 2.0,
        "dataset": "coco",
        "metrics": {"eval_loss": 1},
        "nonfinite": {"eval_grad_norm": "nan"},
        "coverage": {"world_size": 8, "missing_ranks": [3]},
        "health": {"contract/dropped": 2},
        "note": {"who": "me"},
        "zero": 0,
        "extra": {"seq": "mine"},
    }


def test_numbers_whose_sum_is_no_number_are_numbers() -> None:
    for values in ([1.7e308, 1.7e308], [10**308, 10**308, 0.5]):
        record = Record("train", 7, {f"k{at}": value for at, value in enumerate(values)})
        assert list(parse(encode.record_line(record))["metrics"].values()) == values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_never_a_bare_token(value: float) -> None:
    with pytest.raises(ValueError, match="'loss' is not finite"):
        encode.record_line(Record("train", 7, {"ok": 1.0, "loss": value}))
    line = encode.record_line(Record("train", 7, {"ok": 1.0}, extra={"mine": [value]}))
    assert parse(line)["mine"] == [str(value)]


def test_what_json_cannot_say_becomes_text_and_costs_no_number() -> None:
    class Split(StrEnum):
        TRAIN = "train"

    loop: list[object] = []
    loop.append(loop)
    extra = {
        "path": PurePosixPath("a/b"),
        "split": Split.TRAIN,
        "bytes": b"\xff",
        "surrogate": "\udcff",
        "huge": 10**5000,
        "loop": loop,
        "object": object(),
        "by int": {1: 2},
    }
    row = parse(encode.record_line(Record("train", 7, {"loss": 1.25}, extra=extra)))
    assert row["metrics"] == {"loss": 1.25}
    assert {name: row[name] for name in extra} == {
        "path": "a/b",
        "split": "train",
        "bytes": "b'\\xff'",
        "surrogate": "\\udcff",
        "huge": "a huge int",
        "loop": ["<builtins.list>"],
        "object": "<builtins.object>",
        "by int": {"1": 2},
    }


def test_a_second_attempt_leaves_the_first_as_it_was(tmp_path: Path, header: Header) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"schema_version":1,"mode":"tr')
    for number in 1, 2:
        sink = JsonlSink(path)
        sink.open(header)
        sink.write(Record("train", number, {"loss": 1.0}))
        sink.close()
        assert sink.path == tmp_path / f"metrics.{number}.jsonl"
        assert lines(sink.path)[1]["global_step"] == number
    assert path.read_bytes() == b'{"schema_version":1,"mode":"tr'


def test_only_the_owner_can_read_a_log(tmp_path: Path, header: Header) -> None:
    before = os.umask(0)
    try:
        sink = JsonlSink(tmp_path / "metrics.jsonl")
        sink.open(header)
        sink.close()
    finally:
        os.umask(before)
    assert stat.S_IMODE(sink.path.stat().st_mode) == 0o600


def directory(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


def link(tmp_path: Path) -> Path:
    (tmp_path / "target").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    return tmp_path / "link"


def dangling_link(tmp_path: Path) -> Path:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    return tmp_path / "link"


def linked_second_attempt(tmp_path: Path) -> Path:
    (tmp_path / "log.jsonl").write_text("")
    (tmp_path / "log.1.jsonl").symlink_to(tmp_path / "nowhere")
    return tmp_path / "log.jsonl"


def below_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "log.jsonl"


def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def no_such_place(tmp_path: Path) -> Path:
    return Path("/proc/nowhere/log.jsonl")


def too_long(tmp_path: Path) -> Path:
    return tmp_path / ("x" * 300)


def nul(tmp_path: Path) -> Path:
    return tmp_path / "a\0b"


@pytest.mark.parametrize(
    "place",
    [
        directory,
        link,
        dangling_link,
        linked_second_attempt,
        below_a_file,
        fifo,
        no_such_place,
        too_long,
        nul,
    ],
)
def test_a_path_that_cannot_be_a_log_is_named_before_the_first_step(
    place, tmp_path: Path, header: Header
) -> None:
    path = place(tmp_path)
    with pytest.raises(SinkError) as caught:
        JsonlSink(path).open(header)
    assert ascii(str(path))[1:-1] in str(caught.value)
    assert caught.value.sink == "JsonlSink"
    assert not (tmp_path / "nowhere").exists()
    if place is link:
        assert (tmp_path / "target").read_text() == "secret"


def test_a_full_disk_at_the_header_is_a_sink_error(header: Header, tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "m.jsonl")
    with small_files(64), pytest.raises(SinkError, match=r"m\.jsonl.*File too large"):
        sink.open(header)
    assert descriptors_of(sink.path) == []


class small_files:  # noqa: N801
    """Files of this process may not grow beyond ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __enter__(self) -> None:
        import resource

        self.signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.limits[1]))

    def __exit__(self, *error: object) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        signal.signal(signal.SIGXFSZ, self.signal)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink
sink = JsonlSink(sys.argv[2])
sink.open(Header(Catalogue()))
for step in range(100):
    sink.write(Record("train", step, {"loss": 1.0}))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_leaves_every_line_that_it_wrote(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    path = tmp_path / "metrics.jsonl"
    command = [sys.executable, "-c", KILLED, str(root), str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert [row["global_step"] for row in lines(path)[1:]] == list(range(100))


def test_a_closed_sink_takes_nothing_and_closes_again(tmp_path: Path, header: Header) -> None:
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.flush()
    sink.open(header)
    sink.close()
    sink.close()
    with pytest.raises(SinkError, match="not open"):
        sink.write(Record("train", 1, {"loss": 1.0}))


def test_a_log_is_not_inherited_by_child_processes(tmp_path: Path, header: Header) -> None:
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.open(header)
    (descriptor,) = descriptors_of(sink.path)
    assert not os.get_inheritable(descriptor)
    sink.close()


def descriptors_of(path: Path) -> list[int]:
    """The descriptors under which this process holds ``path`` open."""
    links = Path("/proc/self/fd").iterdir()
    return [int(link.name) for link in links if os.path.realpath(link) == str(path)]


def test_a_record_is_not_changed_by_being_written(tmp_path: Path, header: Header) -> None:
    record = Record("train", 1, {"loss": 1.0}, {"x": "nan"}, coverage={"steps": 1}, extra={"n": []})
    before = dataclasses.astuple(record)
    encode.record_line(record)
    assert dataclasses.astuple(record) == before


def test_sections_never_make_a_line_too_long_to_be_read(tmp_path: Path, header: Header) -> None:
    blob = "x" * (1 << 20)
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.open(dataclasses.replace(header, run={"config": blob, "seed": 17}))
    metrics = {f"{at:x>200}": 1.7976931348623157e308 for at in range(4096)}
    sink.write(Record("train", 1, metrics, {"a": "nan"}, seq=0, extra={"blob": blob, "b": 1}))
    sink.write(Record("train", 2, {"loss": 1.0}, seq=1, extra={"short": "x" * 1000}))
    sink.close()
    first, long, short = lines(sink.path)
    assert first["header"]["run"] == {"left_out": ["config", "seed"]}
    assert first["header"]["run_id"] == header.run_id
    assert (long["metrics"], long["nonfinite"]) == (metrics, {"a": "nan"})
    assert long["left_out"] == ["blob", "b"]
    assert short["short"] == "x" * 1000
    assert max(map(len, sink.path.read_bytes().split(b"\n"))) < 1 << 20
