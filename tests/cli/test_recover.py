"""``recover`` gives every record once and in order, and says what it cannot know."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coordexp_metrics import read
from coordexp_metrics.audit.recovery import recover as recovered
from coordexp_metrics.cli.recover import recover
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.journal import seal, unseal
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink
from coordexp_metrics.sinks.spool import Spool
from coordexp_metrics.sinks.spool_frames import Kind

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command():
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(recover)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def journal(path, seqs, *, close=True, first_step=0, **header):
    """A journal of one attempt; the sink, for what comes after."""
    sink = JsonlSink(path)
    sink.open(Header(Catalogue(), **header))
    for seq in seqs:
        sink.write(Record("train", first_step + seq, {"loss": seq / 3}, seq=seq, time=1.0))
    if close:
        sink.close()
    return sink


def spooled(directory, seqs, run, capacity=1 << 20, **header):
    """A spool that a killed process left behind."""
    spool, _ = Spool.create([directory], capacity=capacity)
    spool.begin({"run": run, "rank": 0, **header})
    for seq in seqs:
        row = {"schema_version": 1, "mode": "train", "global_step": seq, "seq": seq,
               "time": 1.0, "metrics": {"loss": seq / 3}}  # fmt: skip
        spool.put(Kind.ROW, seq, json.dumps(row).encode())
    spool.close(remove=False)
    return spool.path


def rows(data):
    """The records in merged lines; each line is whole."""
    texts = [unseal(line) for line in data.split(b"\n")[:-1]]
    return [row for row in map(json.loads, texts) if "metrics" in row]


def test_a_run_that_was_closed_is_complete(tmp_path, command):
    journal(tmp_path / "metrics.jsonl", range(5))
    result = command(tmp_path)
    assert result.exit_code == 0
    assert [row["seq"] for row in rows(result.stdout_bytes)] == list(range(5))
    assert "nothing is missing" in result.stderr


def test_attempts_come_in_order_and_keep_their_headers(tmp_path, command):
    for first in (0, 3, 2):
        journal(tmp_path / "metrics.jsonl", range(4), first_step=first)
    output = tmp_path / "merged" / "all.jsonl"
    output.parent.mkdir()
    assert command(tmp_path, "--output", output).exit_code == 0
    records = read(output)
    steps = [0, 1, 2, 3, 3, 4, 5, 6, 2, 3, 4, 5]
    assert [record.global_step for record in records] == steps
    assert [header["attempt"] for header in records.headers] == [0, 1, 2]
    assert len(records.problems) == 0
    assert output.stat().st_mode & 0o777 == 0o600
    again = command(output)
    assert (again.exit_code, again.stdout_bytes) == (0, output.read_bytes())
    latest = command(tmp_path, "--latest")
    assert [row["global_step"] for row in rows(latest.stdout_bytes)] == [0, 1, 6, 2, 3, 4, 5]


def test_D02_what_only_the_spool_has_stands_in_its_place(tmp_path, command):
    spool = spooled(tmp_path, [3, 4, 5, 7], "run")
    sink = journal(
        tmp_path / "runs" / "metrics.jsonl", [0, 1, 2, 3, 6],
        close=False, run_id="run", spool=str(spool),
    )  # fmt: skip
    with sink.path.open("ab") as file:
        file.write(b'{"seq":7,"schema_ver')
    result = command(tmp_path / "runs")
    assert result.exit_code == 0, result.stderr
    found = rows(result.stdout_bytes)
    assert [row["seq"] for row in found] == list(range(8))
    assert [row["metrics"]["loss"] for row in found] == [seq / 3 for seq in range(8)]
    assert "found twice" in result.stderr


def test_what_neither_has_is_named_with_its_numbers(tmp_path, command):
    spool = spooled(tmp_path, [9, 10], "run")
    header = {"run_id": "run", "spool": str(spool)}
    journal(tmp_path / "metrics.jsonl", [0, 1, 4], close=False, **header)
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "missing: seq 2 to 3" in result.stderr
    assert "missing: seq 5 to 8" in result.stderr
    assert [row["seq"] for row in rows(result.stdout_bytes)] == [0, 1, 4, 9, 10]


def test_S06_behind_a_full_spool_there_may_have_been_more(tmp_path, command):
    spool = spooled(tmp_path, range(3, 10), "run", capacity=8 * 2048)
    header = {"run_id": "run", "spool": str(spool)}
    journal(tmp_path / "metrics.jsonl", range(3), close=False, **header)
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "may be missing: everything after seq 9: its spool was full" in result.stderr
    assert len(rows(result.stdout_bytes)) == 10


def test_D11_without_its_spool_the_end_of_a_killed_run_is_unknown(tmp_path, command):
    header = {"spool": str(tmp_path / "gone.spool")}
    journal(tmp_path / "metrics.jsonl", range(5), close=False, **header)
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "may be missing: everything after seq 4" in result.stderr
    assert "gone.spool is not there" in result.stderr


def test_D11_after_a_restart_nobody_looks_for_the_spool_in_memory(tmp_path, command, monkeypatch):
    header = {"spool": "/memory/gone.spool"}
    with monkeypatch.context() as patch:
        patch.setattr("coordexp_metrics.sinks.jsonl.boot_id", lambda: "another boot")
        journal(tmp_path / "metrics.jsonl", range(5), close=False, **header)
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "everything after seq 4: its spool /memory/gone.spool was on another machine" in (
        result.stderr
    )
    spool = spooled(tmp_path, [5], run_of(tmp_path))
    assert command(tmp_path, "--spool", spool).exit_code == 0


def run_of(directory, what="run_id"):
    records = read(directory / "metrics.jsonl")
    list(records)
    return records.headers[0][what]


def test_D11_an_attempt_that_is_not_there_is_missed(tmp_path, command):
    first = journal(tmp_path / "metrics.jsonl", range(5))
    journal(tmp_path / "metrics.jsonl", range(5))
    first.path.unlink()
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "missing: the attempt before" in result.stderr
    assert "(seq 4)" in result.stderr


def test_a_run_known_from_its_spool_alone_is_recovered(tmp_path, command):
    journal(tmp_path / "metrics.jsonl", range(3))
    spool = spooled(tmp_path, range(4), "other", boot="b")
    result = command(tmp_path, "--spool", spool)
    assert result.exit_code == 0
    assert len(rows(result.stdout_bytes)) == 7


def test_a_spool_of_another_run_is_not_mixed_in(tmp_path, command):
    spool = spooled(tmp_path, [5], "another")
    header = {"run_id": "run", "spool": str(spool)}
    journal(tmp_path / "metrics.jsonl", range(5), close=False, **header)
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "it is of another run" in result.stderr
    assert len(rows(result.stdout_bytes)) == 5


def test_a_damaged_line_may_have_been_a_record(tmp_path, command):
    sink = journal(tmp_path / "metrics.jsonl", range(6))
    whole = sink.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    sink.path.write_bytes(
        b"".join(lines[:3]) + lines[3].replace(b"0.6", b"0.7") + b"".join(lines[4:])
    )
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "missing: seq 2" in result.stderr
    sink.path.write_bytes(b"".join(lines[:6]) + lines[6].replace(b"1.6", b"1.7"))
    result = command(tmp_path)
    assert "may be missing: 1 damaged line(s)" in result.stderr
    sink.path.write_bytes(b"".join(lines[:6]) + lines[7])
    result = command(tmp_path)
    assert "missing: seq 5" in result.stderr


def test_a_rewritten_range_is_given_once(tmp_path, command):
    from errno import EIO

    from tests.sinks.disks import FailingDisk, error

    disk = FailingDisk()
    sink = JsonlSink(tmp_path / "metrics.jsonl", disk=disk)
    sink.open(Header(Catalogue()))
    for seq in range(6):
        if seq == 3:
            disk.syncs = [error(EIO)]
            sink.flush()
        sink.write(Record("train", seq, {"loss": 1.0}, seq=seq))
    sink.close()
    result = command(tmp_path)
    assert result.exit_code == 0
    assert [row["seq"] for row in rows(result.stdout_bytes)] == list(range(6))
    assert "3 of them found twice" in result.stderr


def test_ranks_stand_one_behind_the_other(tmp_path, command):
    for rank in (0, 3):
        sink = JsonlSink(tmp_path / "metrics.jsonl")
        sink = sink.for_rank(rank) if rank else sink
        sink.open(Header(Catalogue(), run_id=f"r{rank}", rank=rank))
        sink.write(Record("train", 1, {"loss": float(rank)}, seq=7 * rank))
        sink.close()
    result = command(tmp_path)
    assert result.exit_code == 0
    assert [row["metrics"]["loss"] for row in rows(result.stdout_bytes)] == [0.0, 3.0]
    assert "rank 3" in result.stderr


def test_a_log_of_an_earlier_version_is_recovered_and_claimed_by_nobody_to_be_whole(
    tmp_path, command
):
    path = tmp_path / "metrics.jsonl"
    header = {"header": {"format": 1, "package": "0.1.0"}}
    row = {"schema_version": 1, "mode": "train", "global_step": 1, "seq": 0, "metrics": {"a": 1}}
    path.write_text(json.dumps(header) + "\n" + json.dumps(row) + "\n")
    result = command(tmp_path)
    assert result.exit_code == 1
    assert rows(result.stdout_bytes) == [row]
    assert "had no spool" in result.stderr


def test_logs_of_trainers_are_left_alone(tmp_path, command):
    (tmp_path / "logging.jsonl").write_text('{"loss": 1.0, "step": 1}\n')
    assert command(tmp_path).exit_code == 2
    journal(tmp_path / "metrics.jsonl", range(2))
    result = command(tmp_path)
    assert result.exit_code == 0
    assert len(rows(result.stdout_bytes)) == 2


@pytest.mark.parametrize("source", ["nothing", "empty"])
def test_where_nothing_is_nothing_was_recovered(tmp_path, command, source):
    (tmp_path / "empty").mkdir()
    result = command(tmp_path / source, "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 2
    assert "nothing to recover" in result.stderr
    assert not (tmp_path / "out.jsonl").exists()


def test_D19_a_newer_journal_is_refused_and_the_others_are_recovered(tmp_path, command):
    newer = {"header": {"format": 2, "checksum": "crc32", "package": "3.0"}}
    (tmp_path / "a.jsonl").write_bytes(seal(json.dumps(newer).encode()))
    assert command(tmp_path).exit_code == 2
    journal(tmp_path / "b.jsonl", range(2))
    result = command(tmp_path)
    assert result.exit_code == 1
    assert "needs coordexp-metrics >= 3.0" in result.stderr
    assert len(rows(result.stdout_bytes)) == 2


def test_C21_no_input_is_written_over_and_no_half_output_stays(tmp_path, command, monkeypatch):
    sink = journal(tmp_path / "metrics.jsonl", range(5))
    spool = spooled(tmp_path, [5], "other")
    before = sink.path.read_bytes(), spool.read_bytes()
    (tmp_path / "same.jsonl").hardlink_to(sink.path)
    for target in (sink.path, tmp_path / "same.jsonl", spool):
        result = command(sink.path, "--spool", spool, "--output", target)
        assert result.exit_code == 2
        assert "one of the inputs" in result.stderr
    assert (sink.path.read_bytes(), spool.read_bytes()) == before
    output = tmp_path / "out.jsonl"
    output.write_text("good")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = command(sink.path, "--output", output)
    assert isinstance(result.exception, OSError)
    assert output.read_text() == "good"
    assert not list(tmp_path.glob(".*"))


def test_unknown_fields_and_exact_numbers_are_kept(tmp_path):
    row = (
        b'{"seq":0,"schema_version":1,"mode":"train","global_step":1,'
        b'"metrics":{"a":-0.0,"b":9007199254740993,"c":5e-324},"later":{"x":[1]}}'
    )
    header = b'{"header":{"format":1,"checksum":"crc32","run_id":"r","later":7}}'
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(seal(header) + seal(row))
    lines = list(recovered([str(path)]).lines())
    assert lines[1] == seal(row)
    assert json.loads(lines[0])["header"]["later"] == 7


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    journal(tmp_path / "metrics.jsonl", range(3000))
    shell = f"{sys.executable} -m coordexp_metrics.cli recover {tmp_path} | head -n 1 | wc -l"
    done = subprocess.run(
        ["bash", "-c", f"{shell}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


KILLED = """
import sys, time
from coordexp_metrics import MetricsRegistry
from coordexp_metrics.sinks import JsonlSink
from coordexp_metrics.sinks.files import Disk

class Slow(Disk):
    def write(self, descriptor, data):
        time.sleep(0.01 if sys.argv[2] == "slow" else 0)
        return super().write(descriptor, data)
    def sync(self, descriptor):
        time.sleep(60 if sys.argv[2] == "hung" else 0)

registry = MetricsRegistry(sinks=[JsonlSink(sys.argv[1], disk=Slow())], on_violation="count")
for step in range(10_000):
    mode = "eval" if step % 50 == 49 else "train"
    registry.emit({"schema_version": 1, "mode": mode, "global_step": step,
                   "metrics": {"loss": 1 / (step + 1)}})
    print(step, flush=True)
"""


@pytest.mark.parametrize("disk", ["healthy", "slow", "hung"])
@pytest.mark.parametrize("times", [3, pytest.param(70, marks=pytest.mark.soak)])
def test_D02_no_acknowledged_record_of_a_killed_run_is_lost(tmp_path, command, disk, times):
    for turn in range(times):
        run = tmp_path / f"{disk}{turn}"
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(run / "metrics.jsonl"), disk],
            stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        for _ in range(turn * 97 % 500 + 60):
            process.stdout.readline()
        process.kill()
        acknowledged = process.stdout.read().split(b"\n")[-2:-1]
        process.wait()
        process.stdout.close()
        result = command(run)
        found = [row["seq"] for row in rows(result.stdout_bytes)]
        assert found == list(range(len(found)))
        assert len(found) > int((acknowledged or [b"59"])[0])
        assert result.exit_code == 0, result.stderr
        Path(run_of(run, "spool")).unlink()
