"""``tail`` shows the newest records, and those that arrive."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coordexp_metrics.audit.follow import Follower
from coordexp_metrics.cli.tail import tail
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command():
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(tail)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def opened(path):
    sink = JsonlSink(path)
    sink.open(Header(Catalogue()))
    return sink


def train(seq, **metrics):
    return Record("train", seq, metrics or {"loss": seq / 2}, seq=seq)


@pytest.fixture
def log(tmp_path):
    sink = opened(tmp_path / "metrics.jsonl")
    for seq in range(30):
        sink.write(train(seq))
    sink.write(Record("eval", 29, {"eval_loss": 0.5}, {"eval_grad_norm": "nan"}, 30, dataset="val"))
    yield sink
    sink.close()


def test_the_last_records_are_a_table_and_both_modes_share_a_column(log, tmp_path, command):
    result = command(tmp_path, "--lines", 3)
    assert result.exit_code == 0
    titles, *rows = (line.split() for line in result.stdout.splitlines())
    assert titles == ["log", "seq", "step", "mode", "loss", "grad_norm"]
    assert rows == [
        ["metrics.jsonl", "28", "28", "train", "14"],
        ["metrics.jsonl", "29", "29", "train", "14.5"],
        ["metrics.jsonl", "30", "29", "eval", "'val'", "0.5", "nan"],
    ]


def test_keys_are_chosen_by_patterns(tmp_path, command):
    sink = opened(tmp_path / "metrics.jsonl")
    sink.write(train(0, loss=1.0, **{"rollout/f1": 0.5, "rollout/recall": 0.25, "x": 3.0}))
    sink.close()
    result = command(tmp_path, "--keys", "x,rollout/*")
    assert result.stdout.split()[4:7] == ["x", "rollout/f1", "rollout/recall"]
    assert (
        result.stdout.split()
        == command(tmp_path, "--keys", "x", "--keys", "rollout/*").stdout.split()
    )


def test_C08_a_key_from_a_file_controls_no_terminal(tmp_path, command):
    hostile = "\x1b[2J[link=x]loss[/]\u202e"
    sink = opened(tmp_path / "metrics.jsonl")
    sink.write(train(0, **{hostile: 1.0}))
    sink.close()
    assert "\\x1b[2J[link=x]loss[/]\\u202e" in command(tmp_path, "--keys", "*").stdout
    shown = in_terminal("tail", tmp_path, "--keys", "*", COLUMNS="200")
    assert "\\x1b[2J[link=x]loss[/]\\u202e" in shown
    assert "\x1b[2J" not in shown


def in_terminal(*arguments, until="", **environment):
    """What the command prints on a terminal, until it ends or has printed ``until``."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "coordexp_metrics.cli", *map(str, arguments)],
        stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(follower)
    shown = b""
    end = time.monotonic() + 30
    while time.monotonic() < end and not (until and until.encode() in shown):
        if not select.select([leader], [], [], 0.1)[0]:
            continue
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the last one has closed the terminal
            break
        shown += piece
    if until:
        process.send_signal(signal.SIGINT)
    process.wait(30)
    os.close(leader)
    assert process.returncode == (130 if until else 0), shown
    return shown.decode()


def test_in_a_terminal_the_table_is_live_until_interrupted(log, tmp_path):
    shown = in_terminal("tail", tmp_path, "--follow", "-n", "3", until="14.5", COLUMNS="120")
    assert "metrics.jsonl" in shown
    assert "Traceback" not in shown


def test_what_arrives_is_shown_once_and_a_new_attempt_too(log, tmp_path):
    follower = Follower(str(tmp_path))
    assert len(list(follower.poll())) == 31
    assert list(follower.poll()) == []
    log.write(train(31))
    assert [record.seq for record in follower.poll()] == [31]
    second = opened(tmp_path / "metrics.jsonl")
    assert list(follower.poll()) == []
    second.write(train(0))
    second.close()
    (record,) = follower.poll()
    assert record.origin[0] == str(tmp_path / "metrics.1.jsonl")
    assert not follower.problems


def test_half_a_line_is_waited_for(tmp_path):
    sink = opened(tmp_path / "metrics.jsonl")
    sink.write(train(0))
    sink.close()
    whole = sink.path.read_bytes()
    cut = whole.index(b'"loss"')
    sink.path.write_bytes(whole[:cut])
    follower = Follower(str(sink.path))
    assert list(follower.poll()) == []
    with sink.path.open("ab") as file:
        file.write(whole[cut:])
    assert [record.seq for record in follower.poll()] == [0]
    assert not follower.problems


def test_a_file_that_was_replaced_is_read_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = opened(path)
    first.write(train(0))
    first.close()
    follower = Follower(str(path))
    assert [record.seq for record in follower.poll()] == [0]
    path.unlink()
    second = opened(path)
    for seq in range(1, 9):
        second.write(train(seq))
    second.close()
    assert [record.seq for record in follower.poll()] == list(range(1, 9))


def test_of_a_long_log_only_the_end_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("coordexp_metrics.audit.follow.REACH", 2000)
    sink = opened(tmp_path / "metrics.jsonl")
    for seq in range(500):
        sink.write(train(seq))
    sink.close()
    follower = Follower(str(tmp_path))
    found = [record.seq for record in follower.poll()]
    assert found == list(range(found[0], 500))
    assert 5 < len(found) < 40
    assert not follower.problems


def test_a_damaged_line_is_counted_and_the_rest_shown(log, tmp_path, command):
    whole = log.path.read_bytes()
    log.path.write_bytes(whole.replace(b'"loss":14.0', b'"loss":19.0'))
    result = command(tmp_path, "-n", "3")
    assert "19" not in result.stdout
    assert "1 line(s) could not be read: line.damaged" in result.stderr


@pytest.mark.parametrize("place", ["", "nothing", "metrics.jsonl"])
def test_nothing_to_show_is_exit_code_2(tmp_path, command, place):
    if place.endswith("jsonl"):
        opened(tmp_path / place).close()
    result = command(tmp_path / place)
    assert result.exit_code in {1, 2}
    if place.endswith("jsonl"):
        assert result.exit_code == 2
        assert "no record could be read" in result.stderr


class Following:
    """``tail --follow`` in a process of its own, with a pipe for its output."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "coordexp_metrics.cli", "tail", *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def line(self):
        return self.process.stdout.readline().decode()


def test_a_run_that_has_not_begun_is_waited_for_and_ctrl_c_is_130(tmp_path):
    following = Following(tmp_path / "run", "--follow")
    sink = opened(tmp_path / "run" / "metrics.jsonl")
    sink.write(train(7))
    assert following.line() == "metrics.jsonl  seq 7  step 7  train  loss 3.5\n"
    sink.write(train(8))
    assert following.line() == "metrics.jsonl  seq 8  step 8  train  loss 4\n"
    following.process.send_signal(signal.SIGINT)
    _, errors = following.process.communicate(timeout=30)
    assert following.process.returncode == 130
    assert b"Traceback" not in errors
    sink.close()


def test_a_reader_that_has_gone_ends_it_quietly(log, tmp_path):
    following = Following(tmp_path, "--follow")
    following.line()
    following.process.stdout.close()
    for seq in range(100):
        if following.process.poll() is not None:
            break
        log.write(train(31 + seq))
        time.sleep(0.1)
    assert following.process.wait(30) == 0
    assert following.process.stderr.read() == b""
    following.process.stderr.close()


def test_D18_a_record_can_be_read_as_soon_as_it_was_written(log):
    follower = Follower(str(log.path))
    list(follower.poll())
    for seq in range(31, 131):
        log.write(train(seq))
        assert [record.seq for record in follower.poll()] == [seq]
