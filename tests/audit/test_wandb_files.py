"""Offline W&B files are read without W&B; a lost block costs its records and no others."""

import json
import math
import os
import struct
import subprocess
import sys
import time
import zlib

import pytest

from coordexp_metrics.audit.readers import Limits, SourceError, read
from coordexp_metrics.audit.validate import validate
from tests.audit.event_file import field, varint

BLOCK = 32 << 10
OPENING = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)


def history(**row):
    items = [field(1, key.encode()) + field(16, json.dumps(v).encode()) for key, v in row.items()]
    return field(1, 7) + field(2, b"".join(field(1, item) for item in items))


def pieces(messages, size=0):
    """The messages cut into pieces as LevelDB cuts them; ``size`` bytes stand before."""
    out = b""
    for message in messages:
        begun = False
        while message is not None:
            left = BLOCK - (size + len(out)) % BLOCK
            if left < 7:
                out += b"\0" * left
                continue
            part, rest = message[: left - 7], message[left - 7 :]
            message = rest or None
            kind = (4 if begun else 1) if message is None else (3 if begun else 2)
            begun = True
            body = bytes([kind]) + part
            out += struct.pack("<IHB", zlib.crc32(body), len(part), kind) + part
    return out


def whole(steps, pad=0):
    rows = [history(loss=step + 0.5, global_step=step, pad="x" * pad) for step in range(steps)]
    return OPENING + pieces(rows, len(OPENING))


@pytest.fixture
def wandb_file(tmp_path):
    def write(data, name="run-1.wandb"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def steps_of(path, **options):
    records = read(path, **options)
    return [record.global_step for record in records], records.problems


REAL = """
import math, sys, wandb
settings = wandb.Settings(x_disable_meta=True, save_code=False, silent=True, console="off")
run = wandb.init(mode="offline", project="x", settings=settings, dir=sys.argv[1])
run.config.update({"password": "canary-5d1f"})
for step in range(3):
    run.log({"global_step": step, "eval/rollout/f1": 0.5, "epoch": 1.0})
    run.log({"global_step": step, "loss": step + 0.1, "x.y": 2, "nest": {"a": {"b": 1}},
             "nan": math.nan, "inf": math.inf, "flag": True, "text": "words", "big": 2**53 + 1})
run.finish()
"""


def test_what_wandb_writes_comes_back(tmp_path, command):
    pytest.importorskip("wandb")
    environment = {**os.environ, "WANDB_MODE": "offline"}
    subprocess.run(
        [sys.executable, "-c", REAL, str(tmp_path)], check=True, timeout=120, env=environment
    )
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    until = time.monotonic() + 30  # its service ends writing after finish()
    while len(records := list(read(path))) < 6 and time.monotonic() < until:
        time.sleep(0.1)
    evaluation, train = records[:2]
    assert (evaluation.mode, evaluation.metrics) == ("eval", {"epoch": 1.0, "eval/rollout/f1": 0.5})
    assert (train.mode, train.global_step) == ("train", 0)
    assert train.metrics == {"loss": 0.1, "x.y": 2, "nest.a.b": 1, "big": 2**53 + 1}
    assert train.nonfinite == {"nan": "nan", "inf": "inf"}
    assert train.skipped == {"flag": "true", "text": '"words"'}
    assert abs(train.time - time.time()) < 600
    assert len(list(read(path.parent))) == 6
    result = command("validate", path, "--format", "json")
    assert "canary" not in result.stdout  # nothing but the history is looked at


def test_the_step_is_the_optimizers_where_a_row_tells_it(wandb_file):
    rows = [
        history(loss=1.0, _step=90, global_step=7),
        history(loss=1.0, _step=91, **{"train/global_step": 8}),
        history(loss=1.0, _step=92),
        history(loss=1.0),
    ]
    found, problems = steps_of(wandb_file(OPENING + pieces(rows, len(OPENING))))
    assert found == [7, 8, 92]
    assert dict(problems.counts) == {"step_unresolved": 1}


def test_values_of_newer_writers_have_fields_of_their_own(wandb_file):
    typed = {
        "whole": field(5, 13),  # -7 in zigzag
        "number": field(6, 0.25),
        "flag": field(4, 1),
        "text": field(7, b"words"),
    }
    items = [field(1, key.encode()) + value for key, value in typed.items()]
    items.append(field(1, b"global_step") + field(5, 6))
    message = field(2, b"".join(field(1, item) for item in items))
    (record,) = read(wandb_file(OPENING + pieces([message], len(OPENING))))
    assert (record.global_step, record.metrics) == (3, {"whole": -7, "number": 0.25})
    assert record.skipped == {"flag": "true", "text": '"words"'}


def test_C16_an_empty_file_and_a_header_alone_hold_nothing(wandb_file, command):
    for data, code in ((b"", "file.empty"), (OPENING, "file.empty"), (OPENING[:3], "torn_tail")):
        path = wandb_file(data)
        found, problems = steps_of(path)
        assert (found, dict(problems.counts)) == ([], {code: 1})
        assert command("validate", path).exit_code == 2


def test_C16_another_version_is_refused(wandb_file, command):
    data = bytearray(whole(3))
    data[6] = 1
    with pytest.raises(SourceError, match="version 1"):
        read(wandb_file(bytes(data)))
    assert command("validate", wandb_file(bytes(data))).exit_code == 2


@pytest.mark.parametrize("at", range(6))
def test_C16_a_bad_magic_is_named_and_the_records_are_read(wandb_file, at):
    data = bytearray(whole(3))
    data[at] ^= 0x10
    found, problems = steps_of(wandb_file(bytes(data)))
    assert (found, dict(problems.counts)) == ([0, 1, 2], {"record.damaged": 1})


def test_C16_a_file_cut_at_any_byte_loses_only_what_was_cut(wandb_file):
    data = whole(6)
    ends = [len(whole(steps)) for steps in range(7)]
    for size in range(len(OPENING) + 1, len(data)):
        found, problems = steps_of(wandb_file(data[:size]))
        assert found == list(range(sum(end <= size for end in ends) - 1)), size
        assert problems.counts["torn_tail"] == (size not in ends), size


def test_C16_a_flipped_bit_costs_one_record_or_the_rest_of_its_block(wandb_file):
    data = whole(6)
    starts = [len(whole(steps)) for steps in range(7)]
    for at in range(len(OPENING), len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        records = read(wandb_file(bytes(flipped)))
        rows = {record.global_step: record.metrics for record in records}
        hit = sum(start <= at for start in starts) - 1
        assert all(row == {"loss": step + 0.5} for step, row in rows.items()), at
        in_length = at - starts[hit] in {4, 5}
        lost = set(range(hit, 6)) if in_length else {hit}
        assert set(range(6)) - set(rows) == lost, at
        assert len(records.problems) == 1, at


@pytest.mark.parametrize("kind", [0, 5, 255])
def test_C16_a_type_that_is_none_costs_its_piece(wandb_file, kind):
    data = bytearray(whole(3))
    data[len(whole(1)) + 6] = kind
    found, problems = steps_of(wandb_file(bytes(data)))
    assert (found, dict(problems.counts)) == ([0, 2], {"record.damaged": 1})


def test_C16_a_block_of_zeros_costs_its_records_and_no_others(wandb_file):
    data = bytearray(whole(40, pad=5000))
    data[BLOCK : 2 * BLOCK] = b"\0" * BLOCK
    found, problems = steps_of(wandb_file(bytes(data)))
    lost = set(range(40)) - set(found)
    assert 6 <= len(lost) <= 8
    assert sorted(lost) == list(range(min(lost), max(lost) + 1))
    assert problems.counts["record.damaged"] == 1
    (problem,) = problems
    assert f"from byte {BLOCK} to {2 * BLOCK} ({BLOCK} bytes)" in problem.message


def test_records_longer_than_a_block_are_joined(wandb_file):
    found, problems = steps_of(wandb_file(whole(5, pad=100_000)))
    assert (found, len(problems)) == ([0, 1, 2, 3, 4], 0)


def test_C15_a_record_of_a_million_pieces_is_capped(wandb_file):
    body = b"\x03" + b"x" * 10
    piece = struct.pack("<IHB", zlib.crc32(body), 10, 3) + body[1:]
    first = struct.pack("<IHB", zlib.crc32(b"\x02"), 0, 2)
    count = (BLOCK - len(OPENING) - len(first)) // len(piece)
    data = OPENING + first + piece * count
    data += b"\0" * (BLOCK - len(data)) + whole(3)[len(OPENING) :]
    found, problems = steps_of(wandb_file(data), limits=Limits(record=10 * count - 1))
    assert problems.counts["record.too_large"] == 1
    assert found == [0, 1, 2]
    found, problems = steps_of(wandb_file(data), limits=Limits(record=10 * count))
    assert problems.counts["record.too_large"] == 0
    assert found == [0, 1, 2]
    path = wandb_file(data)
    assert validate(read(path, limits=Limits(record=9))).exit_code() == 2


def test_bad_protobuf_behind_a_good_checksum_is_one_finding(wandb_file):
    good = history(loss=1.0, global_step=1)
    data = OPENING + pieces([good, b"\xff" * 20, field(2, varint(9)), good], len(OPENING))
    found, problems = steps_of(wandb_file(data))
    assert (found, dict(problems.counts)) == ([1, 1], {"record.proto": 2})


def test_numbers_that_json_blurs_are_withheld_here_too(wandb_file):
    items = {b"a": b"1e999", b"b": b"NaN", b"c": b'"-Infinity"', b"d": b"nonsense", b"e": b"1"}
    items[b"global_step"] = b"3"
    parts = [field(1, field(1, key) + field(16, text)) for key, text in items.items()]
    records = read(wandb_file(OPENING + pieces([field(2, b"".join(parts))], len(OPENING))))
    (record,) = records
    assert record.metrics == {"e": 1}
    assert record.nonfinite == {"b": "nan", "c": "-inf"}
    assert set(record.skipped) == {"a", "d"}
    assert math.isnan(record.values()["b"])
