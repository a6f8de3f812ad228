"""TensorBoard's files are read without TensorBoard, and damage costs what it hit and no more."""

import math
import os
import struct
import subprocess
import sys
import time

import pytest

from coordexp_metrics.audit.readers import Limits, SourceError, read
from coordexp_metrics.audit.validate import validate
from coordexp_metrics.contract.crc32c import by_table, crc32c, masked
from tests.audit.event_file import (
    OPENING,
    event,
    field,
    float_field,
    frame,
    scalars,
    tensor,
    value,
    varint,
)


@pytest.fixture
def events(tmp_path):
    def write(*parts, name="events.out.tfevents.1.host"):
        path = tmp_path / name
        path.write_bytes(b"".join(parts))
        return path

    return write


def steps_of(path, **options):
    records = read(path, **options)
    return {record.global_step: dict(record.metrics) for record in records}, records.problems


def test_the_checksum_is_that_of_the_standard_with_and_without_a_library():
    assert crc32c(b"123456789") == by_table(b"123456789") == 0xE3069283
    for size in range(70):
        data = os.urandom(size)
        assert by_table(data) == crc32c(data)


def test_what_the_sink_writes_comes_back(tmp_path):
    pytest.importorskip("tensorboard")
    from coordexp_metrics import MetricsRegistry
    from coordexp_metrics.sinks import TensorBoardSink

    with MetricsRegistry(sinks=[TensorBoardSink(tmp_path)]) as registry:
        for step in (1, 2):
            metrics = {"loss": step + 0.5, "train/samples_total": 4}
            envelope = {"schema_version": 1, "mode": "train", "global_step": step}
            registry.emit({**envelope, "metrics": metrics})
        metrics = {"rollout/f1": 0.5, "loss": math.nan}
        registry.emit({"schema_version": 1, "mode": "eval", "global_step": 2, "metrics": metrics})
    records = read(tmp_path)
    first, second, evaluation = records
    assert first.metrics == {"loss": 1.5, "train/samples_total": 4.0}
    assert (second.mode, second.global_step, second.metrics["loss"]) == ("train", 2, 2.5)
    assert (evaluation.mode, evaluation.metrics["eval_rollout/f1"]) == ("eval", 0.5)
    assert evaluation.nonfinite == {"eval_loss": "nan"}
    assert abs(first.time - time.time()) < 600
    assert len(records.problems) == 0


def test_what_the_callbacks_of_transformers_write_is_one_record_a_step(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    with tensorboard.SummaryWriter(tmp_path) as writer:
        for step in (10, 20):
            writer.add_scalar("train/loss", step / 4, step)
            writer.add_scalar("train/epoch", step / 20, step)
            writer.add_text("notes", "a text is no scalar", step)
        writer.add_scalar("eval/loss", 0.25, 20)
        writer.add_scalar("train/epoch", 1.0, 20)
        writer.add_scalar("as/tensor", 7.25, 30, new_style=True)
        writer.add_scalar("as/double", 0.125, 30, new_style=True, double_precision=True)
    records = read(tmp_path)
    found = [(r.mode, r.global_step, dict(r.metrics)) for r in records]
    assert found == [
        ("train", 10, {"train/loss": 2.5, "train/epoch": 0.5}),
        ("train", 20, {"train/loss": 5.0, "train/epoch": 1.0}),
        ("eval", 20, {"eval/loss": 0.25}),
        ("train", 30, {"as/tensor": 7.25, "as/double": 0.125}),
    ]
    assert validate(records, carry=["as/*"]).exit_code(strict=True) == 0
    names = [list(record.metrics) for record in records.canonical()]
    assert names[:3] == [["loss", "epoch"], ["loss", "epoch"], ["eval_loss"]]


def test_content_tells_an_event_file_and_its_name_helps_only_where_that_is_damaged(events):
    whole = scalars(3)
    assert len(list(read(events(whole, name="run.jsonl")))) == 3
    damaged = b"\x99" + whole[1:]
    assert len(list(read(events(damaged, name="run.jsonl")))) == 3
    assert len(list(read(events(damaged)))) == 3
    with pytest.raises(SourceError):
        read(events(os.urandom(64).replace(b"\x1f", b"a"), name="noise"))


TENSORS = {
    "float": (tensor(1, content=struct.pack("<f", 2.5)), 2.5),
    "double": (tensor(2, content=struct.pack("<d", 0.1)), 0.1),
    "int64": (tensor(9, content=struct.pack("<q", -7)), -7),
    "uint64": (tensor(23, content=struct.pack("<Q", 2**63 + 1)), 2**63 + 1),
    "bool": (tensor(10, content=b"\x01"), 1),
    "half": (tensor(19, content=struct.pack("<e", 0.5)), 0.5),
    "bfloat16": (tensor(14, content=b"\x80\x3f"), 1.0),
    "one of one": (tensor(1, sizes=(1, 1), content=struct.pack("<f", 2.5)), 2.5),
    "float_val": (tensor(1, listed=field(5, struct.pack("<f", 2.5))), 2.5),
    "float_val unpacked": (tensor(1, listed=float_field(5, 2.5)), 2.5),
    "double_val": (tensor(2, listed=field(6, 0.1)), 0.1),
    "int_val": (tensor(3, listed=field(7, varint(-7))), -7),
    "int64_val": (tensor(9, listed=field(10, varint(-7))), -7),
    "half_val": (tensor(19, listed=field(13, varint(0x3800))), 0.5),
    "shape of 1e9": (tensor(1, sizes=(10**9,), content=b"\0\0\0\0"), None),
    "shape of 1e18": (tensor(1, sizes=(10**9, 10**9), listed=float_field(5, 2.5)), None),
    "shape of 0": (tensor(1, sizes=(0,), content=struct.pack("<f", 2.5)), None),
    "unknown sizes": (tensor(1, sizes=(-1,), content=struct.pack("<f", 2.5)), None),
    "two numbers": (tensor(1, listed=field(5, struct.pack("<ff", 2.5, 3.5))), None),
    "content too long": (tensor(1, content=b"\0" * 8), None),
    "string": (tensor(7, listed=field(8, b"2.5")), None),
    "complex": (tensor(8, content=b"\0" * 8), None),
    "nothing": (tensor(1), None),
}


@pytest.mark.parametrize("case", TENSORS, ids=lambda case: case.replace(" ", "_"))
def test_C14_a_scalar_is_a_tensor_of_one_number_that_is_really_there(events, case):
    data, expected = TENSORS[case]
    good = value("good", simple=1.0)
    path = events(OPENING, frame(event(1, value("x", tensor=data, plugin="scalars"), good)))
    found, problems = steps_of(path)
    assert found == {1: {"good": 1.0} | ({} if expected is None else {"x": expected})}
    assert dict(problems.counts) == ({} if expected is not None else {"record.tensor": 1})


def test_C14_what_other_plugins_keep_is_read_over(events):
    one = tensor(1, content=struct.pack("<f", 2.5))
    parts = [
        event(
            1, value("h", tensor=one, plugin="histograms"), value("t", tensor=one, plugin="text")
        ),
        event(2, value("h", tensor=one), value("t", tensor=one)),  # only the first tells its plugin
        event(3, field(1, b"image") + field(4, b"PNG" * 1000)),
        event(4, value("loss", simple=1.0)),
    ]
    found, problems = steps_of(events(OPENING, *map(frame, parts)))
    assert found == {4: {"loss": 1.0}}
    assert len(problems) == 0


@pytest.mark.parametrize("size", [1, 2, 3])
def test_C14_bad_protobuf_behind_a_good_checksum_is_one_finding(events, size):
    for body in (
        b"\xff" * 20 * size,
        b"\x0f" * size,
        field(5, b"\x0a\xff\x01"),
        b"\x09\x00",
        b"\x2a",
    ):
        path = events(scalars(2), frame(body), frame(event(9, value("loss", simple=9.5))))
        found, problems = steps_of(path)
        assert found == {1: {"loss": 1.5}, 2: {"loss": 2.5}, 9: {"loss": 9.5}}
        assert dict(problems.counts) == {"record.proto": 1}


def test_C14_a_file_cut_at_any_byte_loses_only_what_was_cut(events):
    whole = scalars(4)
    ends = [0, *(len(scalars(number)) for number in range(5))]
    for size in range(len(whole)):
        found, problems = steps_of(events(whole[:size]))
        kept = max(0, sum(end <= size for end in ends) - 2)
        assert found == {step: {"loss": step + 0.5} for step in range(1, kept + 1)}, size
        cut = size not in ends
        expected = {"torn_tail": 1} if cut else {} if found else {"file.empty": 1}
        assert dict(problems.counts) == expected, size


def test_C14_a_bit_flipped_anywhere_costs_one_record_and_no_wrong_value(events):
    whole = scalars(4)
    truth = {step: {"loss": step + 0.5} for step in range(1, 5)}
    starts = [len(scalars(number)) for number in range(5)]
    for at in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            found, problems = steps_of(events(bytes(data)))
            hit = sum(start <= at for start in starts)
            expected = {step: row for step, row in truth.items() if step != hit}
            assert found == expected, (at, bit)
            assert sum(problems.counts.values()) == 1, (at, bit)


def test_C14_each_gap_is_named_with_its_bytes_and_about_how_many_records(events):
    whole = scalars(100)
    start, end = len(scalars(20)), len(scalars(50))
    data = whole[:start] + b"\xa5" * (end - start) + whole[end:]
    found, problems = steps_of(events(data))
    assert sorted(found) == [*range(1, 21), *range(51, 101)]
    (problem,) = problems
    assert f"byte {start} to {end} ({end - start} bytes): about 30 records" in problem.message
    assert (problem.line, problem.offset) == (22, start)


@pytest.mark.parametrize("size", range(20, 60))
def test_C14_a_record_behind_a_gap_is_found_wherever_a_chunk_ends(events, size):
    path = events(scalars(1), b"\xa5" * size, frame(event(9, value("loss", simple=9.5))))
    found, problems = steps_of(path, limits=Limits(chunk=32))
    assert (sorted(found), dict(problems.counts)) == ([1, 9], {"record.damaged": 1})


def test_C14_a_gap_of_zeros_and_a_missing_piece_are_read_over(events):
    whole = scalars(10)
    cut = len(scalars(4)) + 5
    for data in (whole[:cut] + b"\0" * 100_000 + whole[cut:], whole[:cut] + whole[cut + 7 :]):
        found, problems = steps_of(events(data))
        assert sorted(found) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
        assert dict(problems.counts) == {"record.damaged": 1}


@pytest.mark.parametrize("length", [(64 << 20) + 1, 2**33, 2**40, 2**63, 2**64 - 1])
def test_C15_a_length_that_lies_costs_no_memory_and_ends_in_2(events, length):
    path = events(
        scalars(2), frame(b"x", length=length), frame(event(9, value("loss", simple=1.0)))
    )
    found, problems = steps_of(path)
    assert sorted(found) == [1, 2, 9]
    assert problems.counts["record.too_large"] == 1
    assert validate(read(path)).exit_code() == 2


def test_C15_a_record_beyond_the_cap_is_read_over_and_one_at_the_cap_is_read(events):
    big = event(1, value("loss", simple=1.0)) + field(99, b"x" * 5000)
    path = events(OPENING, frame(big), frame(event(2, value("loss", simple=2.0))))
    found, problems = steps_of(path, limits=Limits(record=len(big)))
    assert (sorted(found), len(problems)) == ([1, 2], 0)
    found, problems = steps_of(path, limits=Limits(record=len(big) - 1))
    assert (sorted(found), dict(problems.counts)) == ([2], {"record.too_large": 1})


def test_C15_protobuf_can_nest_as_deep_as_it_likes(events):
    nested = b""
    for _ in range(5000):
        nested = field(5, nested)
    found, _ = steps_of(events(OPENING, frame(nested), frame(event(2, value("a", simple=2.0)))))
    assert found == {2: {"a": 2.0}}


def test_C17_a_file_full_of_false_candidates_is_given_up_and_never_passes(events):
    noise = (b"\x07\x01\x02\x03" + b"\0" * 4) * 5000
    path = events(scalars(1), noise, frame(event(9, value("loss", simple=1.0))))
    assert sorted(steps_of(path)[0]) == [1, 9]
    limits = Limits(candidates=4999)
    with pytest.raises(SourceError, match="too many places"):
        list(read(path, limits=limits))


def test_a_step_that_is_none_is_named_and_not_taken(events):
    path = events(OPENING, frame(event(-5, value("loss", simple=1.0))))
    found, problems = steps_of(path)
    assert (found, dict(problems.counts)) == ({}, {"step_unresolved": 1})


def test_non_finite_values_and_times_stay_what_they_are(events):
    rows = [value("a", simple=math.nan), value("b", simple=math.inf), value("c", simple=-math.inf)]
    (record,) = read(events(OPENING, frame(event(1, *rows, time=math.nan))))
    assert record.nonfinite == {"a": "nan", "b": "inf", "c": "-inf"}
    assert record.time is None


def test_a_directory_of_event_files_is_read_in_order(events, tmp_path):
    for name in ("events.out.tfevents.2.h", "events.out.tfevents.10.h", "events.out.tfevents.1.h"):
        step = int(name.split(".")[3])
        events(OPENING, frame(event(step, value("loss", simple=1.0))), name=name)
    assert sorted(r.global_step for r in read(tmp_path)) == [1, 2, 10]


def test_no_tensorboard_is_needed(events):
    path = events(scalars(2))
    script = (
        "import sys\n"
        "from coordexp_metrics import read\n"
        "assert len(list(read(sys.argv[1]))) == 2\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(loaded & {'tensorboard', 'wandb', 'torch', 'numpy', 'google', 'tensorflow'})\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, check=True, timeout=60
    )
    assert result.stdout.strip() == b"set()"


def test_masked_checksums_are_those_of_a_real_file(tmp_path):
    writer = pytest.importorskip("tensorboard.summary.writer.record_writer")
    with (tmp_path / "f").open("wb") as file:
        writer.RecordWriter(file).write(b"abc")
    assert (tmp_path / "f").read_bytes() == frame(b"abc")
    assert masked(crc32c(b"abc")) != crc32c(b"abc")
