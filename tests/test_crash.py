"""What ``emit`` accepted is in the journal or in its spool, however the process ends."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coordexp_metrics.sinks.spool import read_spool

ROOT = Path(__file__).parents[1]

PRELUDE = """
import os, signal, sys, time, threading
sys.path[:0] = sys.argv[1:2]
from coordexp_metrics import MetricsRegistry
from coordexp_metrics.sinks import JsonlSink, MemorySink
from coordexp_metrics.sinks.base import Sink

class Slow(JsonlSink):
    def write(self, record):
        time.sleep(0.01)
        super().write(record)

class Hung(JsonlSink):
    def write(self, record):
        threading.Event().wait()

def payload(step):
    metrics = {"loss": step / 7, "token_count": step, "grad_norm": -0.0}
    if step % 5 == 4:
        metrics["learning_rate"] = float("nan")
    if step % 7 == 6:
        metrics["token_acc_top5"] = 2**60 + step
    more = {"coverage": {"steps": step}} if step % 3 == 0 else {}
    return {"schema_version": 1, "mode": "train", "global_step": step, "metrics": metrics, **more}

kind = {"healthy": JsonlSink, "slow": Slow, "hung": Hung}[sys.argv[3]]
folder = sys.argv[2]
registry = MetricsRegistry([kind(folder + "/metrics.jsonl")], on_violation="count")
acknowledged = os.open(folder + "/acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def emit(step):
    if registry.emit(payload(step)).accepted:
        os.write(acknowledged, b"%d\\n" % step)
"""


def begin(folder: Path, kind: str, code: str) -> subprocess.Popen:
    command = [sys.executable, "-c", PRELUDE + code, str(ROOT), str(folder), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def journal_of(folder: Path) -> tuple[dict, list[dict]]:
    """Header and whole rows of all files of a journal."""
    header, rows = {}, []
    for path in sorted(folder.glob("metrics*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if "header" in row:
                header = row["header"]
            elif "seq" in row:
                rows.append(row)
    return header, rows


def recovered(folder: Path) -> dict[int, dict]:
    """Journal and spool, by sequence number; the spool is removed."""
    header, rows = journal_of(folder)
    path = Path(header["spool"])
    assert len({row["seq"] for row in rows}) == len(rows), "the journal alone has no duplicates"
    if path.exists():
        spool = read_spool(path)
        assert spool.header["run"] == header["run_id"]
        rows += spool.records
        path.unlink()
    found = {}
    for row in rows:
        found.setdefault(row["seq"], row)
    return found


def check(folder: Path, found: dict[int, dict]) -> int:
    """Nothing that was acknowledged is lost, changed, or has a gap before it."""
    acknowledged = {int(line) for line in (folder / "acknowledged").read_text().split()}
    steps = {row["global_step"] for row in found.values()}
    assert acknowledged <= steps
    assert steps == set(range(len(steps))), "a prefix of what was emitted"
    assert len(steps - acknowledged) <= 1
    assert len(found) == len(steps)
    for row in found.values():
        step, metrics = row["global_step"], row["metrics"]
        assert metrics["loss"] == step / 7
        assert type(metrics["token_count"]) is int
        assert metrics["token_count"] == step
        assert str(metrics["grad_norm"]) == "-0.0"
        if step % 7 == 6:
            assert metrics["token_acc_top5"] == 2**60 + step
        if step % 5 == 4:
            assert row["nonfinite"] == {"learning_rate": "nan"}
        assert row.get("coverage") == ({"steps": step} if step % 3 == 0 else None)
    return len(acknowledged)


def killed_at_random(folder: Path, kind: str, seed: int) -> int:
    process = begin(folder, kind, "for step in range(3500):\n    emit(step); time.sleep(2e-4)\n"
                                  "time.sleep(30)\n")  # fmt: skip
    while not (folder / "acknowledged").exists() and process.poll() is None:
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0, 0.3))
    process.kill()
    process.communicate()
    return check(folder, recovered(folder))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["healthy", "slow", "hung"])
def test_D02_S02_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path, kind, seed):
    """At a random time, with a healthy, a slow and a hung disk."""
    killed_at_random(tmp_path, kind, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["healthy", "slow", "hung"])
def test_D02_soak_two_hundred_kills_lose_nothing(tmp_path, kind):
    for seed in range(200):
        (folder := tmp_path / str(seed)).mkdir()
        killed_at_random(folder, kind, seed)


ENDS = {
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)",
    "os._exit": "os._exit(0)",
    "abort": "os.abort()",
}


@pytest.mark.parametrize("kind", ["healthy", "hung"])
@pytest.mark.parametrize("end", ENDS)
def test_L11_a_process_that_ends_at_once_leaves_everything_behind(tmp_path, end, kind):
    process = begin(tmp_path, kind, f"[emit(step) for step in range(50)]\n{ENDS[end]}\n")
    process.communicate(timeout=60)
    assert check(tmp_path, recovered(tmp_path)) == 50


TIDY = {
    "return": ("", 0),
    "an exception": ("raise ValueError('mine')", 1),
    "sys.exit": ("sys.exit(3)", 3),
    "SIGINT": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(5)", -signal.SIGINT),
}


@pytest.mark.parametrize("end", TIDY)
def test_L11_a_process_that_ends_tidily_has_written_everything(tmp_path, end):
    """Without close: the spool is gone, the journal has all, and the exit code is its own."""
    code, expected = TIDY[end]
    process = begin(tmp_path, "slow", f"[emit(step) for step in range(20)]\n{code}\n")
    _, err = process.communicate(timeout=60)
    assert process.returncode in {expected, abs(expected) + 128 if expected < 0 else expected}, err
    header, rows = journal_of(tmp_path)
    assert [row["seq"] for row in rows] == list(range(20))
    assert not Path(header["spool"]).exists()
    assert ("ValueError: mine" in err) == (end == "an exception")


def test_L13_the_original_exception_comes_out_of_the_with_statement(tmp_path):
    code = "with registry:\n    emit(0)\n    raise KeyError('mine')\n"
    _, err = begin(tmp_path, "healthy", code).communicate(timeout=60)
    assert err.rstrip().endswith("KeyError: 'mine'")
    assert "During handling" not in err


def test_S07_a_hung_journal_leaves_its_records_in_the_spool_and_says_where(tmp_path):
    code = (
        "[emit(step) for step in range(20)]\n"
        "began = time.monotonic()\n"
        "report = registry.close(0.5)\n"
        "assert time.monotonic() - began < 1.5\n"
        "assert not report.complete and report.sinks[0].pending == 20, report\n"
        "print(report.spool)\n"
    )
    out, err = begin(tmp_path, "hung", code).communicate(timeout=60)
    assert out.strip(), err
    assert out.strip() in err
    assert len(read_spool(out.strip()).records) == 20
    assert check(tmp_path, recovered(tmp_path)) == 20


def test_S06_what_the_spool_cannot_hold_is_counted_exactly(tmp_path):
    """4,096 slots, two of which are header and plan; the rest is in memory, and lost with it."""
    code = (
        "row = payload(0)\n"
        "for step in range(6000):\n"
        "    row['global_step'] = step\n"
        "    assert registry.emit(row).accepted\n"
        "report = registry.report()\n"
        "pending = report['sinks'][0]['pending']\n"
        "print(report['unspooled'], report['accepted'], pending, flush=True)\n"
        "os._exit(0)\n"
    )
    out, err = begin(tmp_path, "hung", code).communicate(timeout=60)
    unspooled, accepted, pending = map(int, out.split())
    assert accepted == 6000, err
    assert accepted == pending
    found = recovered(tmp_path)
    assert len(found) == 6000 - unspooled
    assert sorted(found) == list(range(len(found)))
    assert unspooled == 6000 - 4094


def test_D12_two_registries_on_one_path_both_complete(tmp_path):
    code = (
        "other = MetricsRegistry([JsonlSink(folder + '/metrics.jsonl')], on_violation='count')\n"
        "for step in range(40):\n"
        "    emit(step); other.emit(payload(step))\n"
    )
    process = begin(tmp_path, "healthy", code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    paths = sorted(tmp_path.glob("metrics*.jsonl"))
    assert len(paths) == 2
    for path in paths:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["global_step"] for row in rows if "seq" in row] == list(range(40))


def test_L08_a_forked_child_is_inert_and_the_parent_unaffected(tmp_path):
    """Also while the journal's thread is in the middle of a write."""
    code = """
for step in range(30):
    emit(step)
    if step % 10 == 5:
        pid = os.fork()
        if pid == 0:
            before = threading.active_count()
            report = registry.emit(payload(999))
            assert report.dropped == {"emit": "forked"}, report
            assert registry.report()["rejected"] == {"forked": 1}
            assert not registry.flush().complete and not registry.close().complete
            assert threading.active_count() == before == 1
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""
    process = begin(tmp_path, "slow", code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    header, rows = journal_of(tmp_path)
    assert [row["global_step"] for row in rows] == list(range(30))
    assert not Path(header["spool"]).exists()
    assert len(list(tmp_path.glob("metrics*"))) == 1


def test_L08_a_child_that_asks_for_it_has_a_journal_of_its_own(tmp_path):
    code = """
emit(0)
pid = os.fork()
if pid == 0:
    with registry.reopen():
        registry.emit(payload(1))
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
emit(2)
"""
    process = begin(tmp_path, "healthy", code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    steps = {}
    for path in tmp_path.glob("metrics*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        steps[path.name] = [row["global_step"] for row in rows if "seq" in row]
    assert steps == {"metrics.jsonl": [0, 2], "metrics.rank0.jsonl": [1]}


def test_L08_workers_of_multiprocessing_leave_the_parents_log_alone(tmp_path):
    code = """
import multiprocessing as mp
emit(0)
context = mp.get_context("fork")
def work(n):
    registry.emit(payload(100 + n))
with context.Pool(2) as pool:
    pool.map(work, range(20))
emit(1)
"""
    process = begin(tmp_path, "healthy", code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [row["global_step"] for row in journal_of(tmp_path)[1]] == [0, 1]


STORM = """
import faulthandler, gc
faulthandler.dump_traceback_later(50, exit=True)
memory = MemorySink()
second = MetricsRegistry([memory], on_violation="count")
emitted = [0, 0]

def handler(signum, frame):
    emitted[0] += 1
    registry.emit(payload(10**6 + emitted[0]))
    second.emit(payload(10**6 + emitted[0]))

class Dies:
    def __del__(self):
        emitted[1] += 1
        second.emit(payload(2 * 10**6 + emitted[1]))

for number in signal.SIGALRM, signal.SIGUSR1, signal.SIGTERM:
    signal.signal(number, handler)
signal.setitimer(signal.ITIMER_REAL, 3e-4, 3e-4)
until, own = time.monotonic() + float(sys.argv[4]), 0
while time.monotonic() < until:
    cycle = Dies(); cycle.me = cycle; del cycle
    registry.emit(payload(own)); second.emit(payload(own)); own += 1
    if own % 500 == 0:
        os.kill(os.getpid(), signal.SIGUSR1); second.flush(); registry.report()
    time.sleep(1e-3 if own % 10 == 0 else 0)
signal.setitimer(signal.ITIMER_REAL, 0)
gc.collect()
assert registry.close().complete and second.close().complete
report = second.report()
assert report["received"] == own + sum(emitted), (report["received"], own, emitted)
assert report["accepted"] + sum(report["rejected"].values()) == report["received"]
assert len(memory.records) == report["accepted"] == len({r.seq for r in memory.records})
(sink,) = registry.report()["sinks"]
assert sink["delivered"] == own + emitted[0] - sum(registry.report()["rejected"].values()), sink
assert emitted[0] > 20, emitted
print("done")
"""


def storm(folder: Path, seconds: float) -> None:
    command = [
        sys.executable,
        "-c",
        PRELUDE + STORM,
        str(ROOT),
        str(folder),
        "healthy",
        str(seconds),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "done\n", done.stderr[-3000:]


def test_L05_signal_handlers_and_finalisers_that_emit_never_deadlock(tmp_path):
    """An alarm every 300 us; every record is whole, none twice, and the accounts close."""
    storm(tmp_path, 1.0)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_L05_soak(tmp_path):
    for number in range(10):
        (folder := tmp_path / str(number)).mkdir()
        storm(folder, 3.0)


def test_L05_a_handler_may_flush_and_close_while_a_close_waits(tmp_path):
    code = """
times = [0]
def handler(signum, frame):
    times[0] += 1
    if times[0] < 5:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    registry.flush(0.1); registry.close(0.1); registry.emit(payload(7))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.05)
emit(0)
began = time.monotonic()
registry.close(0.6)
assert time.monotonic() - began < 3
assert times == [5]
print("done", flush=True)
os._exit(0)
"""
    out, err = begin(tmp_path, "hung", code).communicate(timeout=60)
    assert out == "done\n", err
    recovered(tmp_path)


def test_L12_emit_at_the_end_of_the_interpreter_raises_nothing(tmp_path):
    """After our own atexit, from a finaliser at shutdown, and in a daemon thread."""
    code = """
import atexit
def late():
    print(dict(registry.emit(payload(5)).dropped))
    MetricsRegistry([MemorySink()]).emit(payload(6))
    with MetricsRegistry([JsonlSink(folder + "/late.jsonl")]) as other:
        other.emit(payload(6))
class Dies:
    def __del__(self):
        registry.emit(payload(9))
kept = Dies()
"""
    first = "import atexit\natexit.register(lambda: late())\n"
    daemon = (
        "def spin():\n    while True:\n        registry.emit(payload(1)); time.sleep(1e-4)\n"
        "threading.Thread(target=spin, daemon=True).start()\ntime.sleep(0.05)\n"
    )
    script = first + PRELUDE + code + daemon
    command = [sys.executable, "-c", script, str(ROOT), str(tmp_path), "healthy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'emit': 'closed'}\n"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_registry_that_nobody_closed_or_kept_has_written_everything(tmp_path):
    code = """
import gc
for step in range(5):
    emit(step)
del registry
gc.collect()
"""
    process = begin(tmp_path, "slow", code)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    header, rows = journal_of(tmp_path)
    assert [row["global_step"] for row in rows] == list(range(5))
    assert not Path(header["spool"]).exists()


def test_D17_without_any_place_for_a_spool_records_are_counted_as_unspooled(tmp_path):
    code = """
from coordexp_metrics.sinks import spool
from pathlib import Path
spool.spool_directories = lambda: [Path("/proc/nowhere")]
other = MetricsRegistry([JsonlSink(folder + "/other.jsonl")], on_violation="count")
for step in range(3):
    other.emit(payload(step))
print(other.close().complete, other.report()["unspooled"], other.report()["spool"])
"""
    out, err = begin(tmp_path, "healthy", code).communicate(timeout=60)
    assert out == "True 3 None\n"
    assert "no spool can be made" in err


def test_X01_no_secret_of_the_environment_reaches_journal_or_spool(tmp_path, monkeypatch):
    for name in "WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY":
        monkeypatch.setenv(name, f"canary-{name}")
    _, err = begin(tmp_path, "hung", "emit(0)\nos._exit(0)\n").communicate(timeout=60)
    header, _ = journal_of(tmp_path)
    image = Path(header["spool"]).read_bytes()
    Path(header["spool"]).unlink()
    assert b"canary" not in image + b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert "canary" not in err
