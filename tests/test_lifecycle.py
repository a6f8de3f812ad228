"""A registry may be interrupted, copied, forked and outrun; what it says of itself stays exact."""

from __future__ import annotations

import asyncio
import copy
import ctypes
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
import torch

from coordexp_metrics import CATALOGUE, MetricsRegistry, PayloadError, PipelineIdentity, engine
from coordexp_metrics.catalogue import CATALOGUE as OURS
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink, MemorySink, spool
from coordexp_metrics.sinks.base import Sink
from coordexp_metrics.sinks.spool import read_spool
from coordexp_metrics.snapshot import InFlight, is_in_flight
from tests.small import SMALL

ROOT = Path(__file__).parents[1]
FDS = Path("/proc/self/fd")
METRICS = {"loss": 1.25, "token_count": 7, "grad_norm": -0.0}


def payload(step=0, metrics=METRICS, **more):
    return {"schema_version": 1, "mode": "train", "global_step": step, "metrics": metrics, **more}


def python(code, *args, **environment):
    command = [sys.executable, "-c", code, *map(str, args)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=100, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Interrupter:
    """Raises KeyboardInterrupt at the ``at``-th bytecode of the package."""

    def __init__(self, at):
        self.left = at

    def __call__(self, frame, event, argument):
        if "coordexp_metrics" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def sweep(registry, given, step=1):
    """Interrupt ``emit`` at every bytecode, every ``step``-th; how many there are."""
    at, interrupted = 1, 0
    while True:
        interrupter = Interrupter(at)
        sys.settrace(interrupter)
        try:
            registry.emit(given)
        except KeyboardInterrupt:
            interrupted += 1
        finally:
            sys.settrace(None)
        if interrupter.left > 0:
            return interrupted
        assert registry.emit(payload(10**6)).accepted == 3, at
        at += step


@pytest.mark.parametrize("way", ["usual", "with a NaN"])
def test_L06_an_interrupt_at_any_bytecode_leaves_whole_records(tmp_path, way):
    """It comes out, the next emit works, and each record is there once and whole, or not at all."""
    given = METRICS if way == "usual" else METRICS | {"loss": float("nan")}
    memory = MemorySink()
    journal = JsonlSink(tmp_path / "metrics.jsonl")
    with MetricsRegistry([memory, journal], on_violation="count") as registry:
        registry.emit(payload(1, given))
        interrupted = sweep(registry, payload(1, given), step=1 if way == "usual" else 7)
        assert interrupted > 50
        report = registry.report()
    assert report["received"] == report["accepted"] == len(memory.records)
    assert len({record.seq for record in memory.records}) == len(memory.records)
    assert sum(record.global_step == 10**6 for record in memory.records) == interrupted
    for record in memory.records:
        assert len(record.values()) == 3
        assert record.metrics["token_count"] == 7
    rows = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert len([row for row in rows if "seq" in row]) == len(memory.records)


def test_L06_an_interrupt_in_a_registry_without_sinks_leaves_its_accounts_whole():
    registry = MetricsRegistry(on_violation="count")
    registry.emit(payload(1))
    interrupted = sweep(registry, payload(1))
    assert interrupted > 50
    registry.emit(payload(2))
    report = registry.report()
    assert report["received"] == report["accepted"] + sum(report["rejected"].values())
    assert report["accepted"] >= interrupted


def test_L07_near_the_limit_of_recursion_emit_refuses_and_does_not_raise():
    """It uses fewer than 30 frames, so that it works wherever that many are left."""

    def dive(levels):
        if levels:
            return dive(levels - 1)
        return registry.emit(payload(1))

    with MetricsRegistry([memory := MemorySink()], on_violation="count") as registry:
        registry.emit(payload(0))
        before = sys.getrecursionlimit()
        depth = len(__import__("inspect").stack())
        sys.setrecursionlimit(depth + 130)
        try:
            reports, surfaced = [], []
            for levels in range(60, 127):
                try:
                    reports.append(dive(levels))
                except RecursionError as error:  # of the dive
                    surfaced += _frames_of_ours(error)
        finally:
            sys.setrecursionlimit(before)
    assert surfaced == []
    accepted = [report.accepted for report in reports]
    assert accepted[:30] == [3] * 30
    assert {report.accepted for report in reports} <= {0, 3}
    assert len(memory.records) == 1 + sum(map(bool, accepted))


def _frames_of_ours(error):
    frames = traceback.extract_tb(error.__traceback__)
    return [
        frame for frame in frames if "coordexp_metrics" in frame.filename.removeprefix(str(ROOT))
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_L07_an_asynchronous_exception_costs_at_most_its_own_record(request):
    """It may also land in a finaliser of somebody else, who says so."""

    class StopError(Exception):
        pass

    def work():
        try:
            while True:
                count.append(registry.emit(payload(1)).accepted)
        except StopError:
            return

    gc.disable()  # what a collector calls back is not ours to interrupt
    request.addfinalizer(gc.enable)
    with MetricsRegistry([memory := MemorySink()], on_violation="count") as registry:
        for _ in range(20):
            count = []
            thread = threading.Thread(target=work)
            thread.start()
            time.sleep(0.003)
            while thread.is_alive():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread.ident), ctypes.py_object(StopError)
                )
                thread.join(0.01)
        assert registry.emit(payload(2)).accepted == 3
        report = registry.report()
    assert report["received"] == report["accepted"] + sum(report["rejected"].values())
    assert len(memory.records) == report["accepted"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_L09_a_registry_pickles_to_settings_that_are_inert(tmp_path, protocol):
    """Whatever its sinks and its run hold: a checkpoint is not the place to fail."""
    run = {"seed": 3, "lock": threading.Lock(), "path": tmp_path}
    pipeline = PipelineIdentity(("token_ce",), ("coord_diag",), {"variant": "a"})
    registry = MetricsRegistry(
        [JsonlSink(tmp_path / "m.jsonl")], run=run, pipeline=pipeline, carry=["my/*"],
        on_violation="count", parameters={"w1_weight": 1.0}, aliases="none",
    )  # fmt: skip
    registry.emit(payload(0))
    threads = threading.active_count()
    twin = pickle.loads(pickle.dumps(registry, protocol))  # noqa: S301
    assert twin.emit(payload(1)).dropped == {"emit": "unpickled"}
    assert twin.report()["rejected"] == {"unpickled": 1}
    assert not twin.close().complete
    assert threading.active_count() == threads
    with pytest.raises(ValueError, match="sinks"):
        twin.reopen()
    with twin.reopen(sinks=[memory := MemorySink()]):
        assert twin.emit(payload(2, {"my/x": 1.0})).violations == ()
    assert [record.global_step for record in memory.records] == [2]
    assert twin._setup.pipeline.checksum == pipeline.checksum
    assert twin._setup.run["seed"] == 3
    registry.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_L09_a_copy_is_the_same_registry():
    registry = MetricsRegistry([MemorySink()])
    assert copy.copy(registry) is registry
    assert copy.deepcopy({"trainer": [registry]})["trainer"][0] is registry
    registry.close()


def test_L09_a_copy_over_another_catalogue_asks_for_it():
    twin = pickle.loads(pickle.dumps(MetricsRegistry(catalogue=SMALL, on_violation="count")))  # noqa: S301
    with pytest.raises(ValueError, match="catalogue"):
        twin.reopen(sinks=[MemorySink()])
    with twin.reopen(sinks=[MemorySink()], catalogue=SMALL):
        assert twin.emit(payload(1, {"diag/B/p_gt_mean": 0.5})).violations == ()


def test_L09_a_spawned_worker_gets_an_inert_copy(tmp_path):
    script = tmp_path / "spawning.py"
    script.write_text(
        "import multiprocessing as mp\n"
        "from coordexp_metrics import MetricsRegistry\n"
        "from coordexp_metrics.sinks import JsonlSink\n"
        "P = {'schema_version': 1, 'mode': 'train', 'global_step': 1, 'metrics': {'loss': 1.0}}\n"
        "def work(registry, queue):\n"
        "    queue.put(dict(registry.emit(P).dropped))\n"
        "if __name__ == '__main__':\n"
        "    context = mp.get_context('spawn')\n"
        "    queue = context.Queue()\n"
        f"    with MetricsRegistry([JsonlSink({str(tmp_path / 'm.jsonl')!r})]) as registry:\n"
        "        worker = context.Process(target=work, args=(registry, queue))\n"
        "        worker.start()\n"
        "        print(queue.get(timeout=60))\n"
        "        worker.join()\n"
        "        registry.emit(P)\n"
    )
    assert python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')") == (
        "{'emit': 'unpickled'}\n"
    )
    assert len((tmp_path / "m.jsonl").read_text().splitlines()) >= 2


def test_L10_a_subprocess_inherits_no_descriptor(tmp_path):
    with MetricsRegistry([JsonlSink(tmp_path / "m.jsonl")]):
        code = "import os; print([os.readlink(f'/proc/self/fd/{f}') for f in os.listdir('/proc/self/fd') if os.path.islink(f'/proc/self/fd/{f}')])"  # noqa: E501
        out = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            close_fds=False,
            check=True,
        ).stdout
    assert "m.jsonl" not in out
    assert ".spool" not in out


def test_L13_close_is_idempotent_and_reports_each_time():
    registry = MetricsRegistry([memory := MemorySink()])
    registry.emit(payload(1))
    first, second = registry.close(), registry.close()
    assert first.complete
    assert second.complete
    assert first.sinks[0].delivered == second.sinks[0].delivered == 1
    assert not registry.flush().complete
    assert len(memory.records) == 1


def test_a_closed_registry_can_be_reopened_and_writes_new_files(tmp_path):
    registry = MetricsRegistry([JsonlSink(tmp_path / "m.jsonl")])
    with registry:
        registry.emit(payload(1))
    with registry.reopen():
        registry.emit(payload(2))
    steps = {}
    for path in tmp_path.iterdir():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        steps[path.name] = [row["global_step"] for row in rows if "seq" in row]
    assert steps == {"m.jsonl": [1], "m.1.jsonl": [2]}


def test_L16_registries_that_come_and_go_leave_nothing(tmp_path, monkeypatch):
    """Closed or just dropped: no thread, no descriptor, no object, no spool."""
    place = tmp_path / "spools"  # of its own: other tests have spools as well
    place.mkdir()
    monkeypatch.setattr(spool, "spool_directories", lambda: [place])

    def come_and_go(number):
        registry = MetricsRegistry([MemorySink(), JsonlSink(tmp_path / f"{number}.jsonl")])
        registry.emit(payload(1))
        assert registry.report()["spool"].startswith(str(place))
        if number % 2:
            registry.close()

    others = set(threading.enumerate())  # a sink of another test may hang still

    def settled():
        until = time.monotonic() + 20
        while time.monotonic() < until:
            gc.collect()
            ours = set(threading.enumerate()) - others
            if not any(thread.name.startswith("coordexp-metrics") for thread in ours):
                break
            time.sleep(0.02)
        return threading.active_count(), len(list(FDS.iterdir())), len(gc.get_objects())

    come_and_go(0)
    threads, descriptors, objects = settled()
    for number in range(1, 41):
        come_and_go(number)
    threads_now, descriptors_now, objects_now = settled()
    assert threads_now <= threads
    assert descriptors_now <= descriptors
    assert objects_now - objects < 4000
    assert list(place.iterdir()) == []


GROWTH = """
import gc, os, sys, threading
from coordexp_metrics import MetricsRegistry
from coordexp_metrics.sinks import JsonlSink
from coordexp_metrics.sinks.base import Sink

class Away(Sink):
    def write(self, record):
        return

def size():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

registry = MetricsRegistry([JsonlSink(sys.argv[1] + "/m.jsonl"), Away()], on_violation="count")
metrics = {f"my/k{i}": float(i) for i in range(20)} | {"loss": 1.0}
payload = {"schema_version": 1, "mode": "train", "metrics": metrics}
def emit(count):
    for step in range(count):
        registry.emit({**payload, "global_step": step})
        if step % 500 == 499:
            registry.flush()
    registry.flush()
emit(4000)
state = size(), threading.active_count(), len(os.listdir("/proc/self/fd"))
emit(int(sys.argv[2]))
now = size(), threading.active_count(), len(os.listdir("/proc/self/fd"))
assert registry.report()["sinks"][0]["dropped"] == {}
print(now[0] - state[0], now[1] - state[1], now[2] - state[2])
"""


def grown(tmp_path, count):
    growth, threads, descriptors = map(int, python(GROWTH, tmp_path, count).split())
    assert growth < 8e6
    assert (threads, descriptors) == (0, 0)


def test_L16_emits_leave_memory_threads_and_descriptors_as_they_were(tmp_path):
    grown(tmp_path, 15_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_L16_soak_a_million_emits(tmp_path):
    grown(tmp_path, 1_000_000)


def test_L17_order_is_by_seq_and_waits_ignore_the_wall_clock(monkeypatch):
    times = iter([1e9, 1e9 - 3600, 4e9, 5.0])
    with MetricsRegistry([memory := MemorySink()], on_violation="count") as registry:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: next(times))
            for step in range(3):
                registry.emit(payload(step))
        assert registry.flush(5).complete
    assert [record.seq for record in memory.records] == [0, 1, 2]
    assert [record.time for record in memory.records] == [1e9, 1e9 - 3600, 4e9]
    ticks = [record.monotonic for record in memory.records]
    assert ticks == sorted(ticks)


def test_L19_tasks_of_asyncio_may_emit():
    async def work(number):
        for step in range(20):
            registry.emit(payload(step, {"loss": float(number)}))
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(*(work(number) for number in range(5)))

    with MetricsRegistry([memory := MemorySink()], on_violation="count") as registry:
        asyncio.run(main())
    assert len(memory.records) == 100


def test_L02_a_dict_that_another_thread_fills_is_taken_whole_or_refused():
    shared, stop = dict(METRICS), threading.Event()

    def fill():
        number = 0
        while not stop.is_set():
            number += 1
            shared[f"my/k{number % 50}"] = float(number)
            shared.pop(f"my/k{(number * 7) % 50}", None)

    thread = threading.Thread(target=fill)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with MetricsRegistry(
            [memory := MemorySink()], on_violation="count", carry=["my/*"]
        ) as registry:
            thread.start()
            for step in range(300):
                registry.emit(payload(step, shared))
            report = registry.report()
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert report["received"] == 300
    assert len(memory.records) == report["accepted"]
    assert all(record.metrics["loss"] == 1.25 for record in memory.records)


class Opened(MemorySink):
    """Says whether it was opened."""

    opened = False

    def open(self, header):
        self.opened = True
        self.header = header


@pytest.mark.parametrize("how", ["argument", "torchrun"])
def test_a_rank_that_is_not_the_main_one_opens_nothing_and_counts(tmp_path, monkeypatch, how):
    main = False if how == "argument" else None
    monkeypatch.setenv("RANK", "3")
    threads = threading.active_count()
    sinks = [opened := Opened(), JsonlSink(tmp_path / "run" / "m.jsonl")]
    with MetricsRegistry(sinks, on_violation="count", main=main) as registry:
        assert registry.emit(payload(1, {"loss": 1.0, "rolout/f1": 1.0})).accepted == 2
        assert registry.emit({"schema_version": 2}).accepted == 0
        report = registry.report()
    assert (report["received"], report["accepted"], report["sinks"]) == (2, 1, [])
    assert report["violations"]["unregistered"] == 1
    assert not opened.opened
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads


def test_the_main_rank_may_be_another_one(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    with MetricsRegistry([opened := Opened()], main=True) as registry:
        registry.emit(payload(1))
    assert opened.header.rank == 3
    assert len(opened.records) == 1


def test_a_rank_that_lost_its_group_keeps_a_journal_of_its_own(tmp_path):
    """Of its local payloads alone, spooled, and opened by the first of them."""
    sinks = [opened := Opened(), JsonlSink(tmp_path / "metrics.jsonl")]
    local = {"world_size": 4, "missing_ranks": [1], "steps": 1, "scope": "local"}
    code_of = {"local/loss": 1.0}
    os.environ["RANK"] = "2"
    try:
        with MetricsRegistry(sinks, on_violation="count") as registry:
            registry.emit(payload(0, coverage={"scope": "global"}))
            assert list(tmp_path.iterdir()) == []
            registry.emit(payload(1, code_of, coverage=local))
            registry.emit(payload(2, coverage={"scope": "global"}))
            registry.emit(payload(3, {"local/loss": float("nan")}, coverage=local))
            report = registry.report()
    finally:
        del os.environ["RANK"]
    assert (report["accepted"], [sink["accepted"] for sink in report["sinks"]]) == (4, [2])
    (path,) = tmp_path.iterdir()
    assert path.name == "metrics.rank2.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["global_step"] for row in rows if "seq" in row] == [1, 3]
    assert rows[0]["header"]["rank"] == 2
    assert rows[0]["header"]["spool"]
    assert not opened.opened


def test_a_strict_registry_checks_everything_before_it_returns(tmp_path):
    journal = JsonlSink(tmp_path / "m.jsonl")
    with MetricsRegistry([journal], on_violation="raise") as registry:
        with pytest.raises(PayloadError, match="token_acc"):
            registry.emit(payload(1, {"token_acc": 1.5}))
        assert registry.emit(payload(2)).accepted == 3
    assert registry.report()["accepted"] == 1
    rows = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert [row["global_step"] for row in rows if "seq" in row] == [2]


def test_what_no_slot_can_pack_is_spooled_as_it_would_be_logged(tmp_path):
    """Ints beyond 64 bits, NaN, data sets, sections, numbers of numpy and torch, wide payloads."""

    class Stuck(JsonlSink):
        def write(self, record):
            raise OSError(28, "No space left on device")

    wide = {f"my/k{i}": i / 7 for i in range(700)}
    given = [
        payload(0, {"token_count": 2**70, "loss": 0.1}),
        payload(1, {"loss": float("nan"), "grad_norm": float("-inf")}),
        payload(2, METRICS, dataset="coco", mode="eval"),
        payload(3, {"loss": torch.tensor(0.5)}, note={"a": [1, float("inf")]}, seq="mine"),
        payload(4, wide),
        payload(5, {}),
        payload(6, {"coord_diag/loss": 1.0, "coord_softce_w1/loss": 2.0}),
    ]
    registry = MetricsRegistry(
        [Stuck(tmp_path / "m.jsonl"), memory := MemorySink()], on_violation="count", carry=["my/*"]
    )
    for one in given:
        registry.emit(one)
    report = registry.close(0.3)
    found = read_spool(report.spool)
    Path(report.spool).unlink()
    assert found.problems == []
    assert [row["seq"] for row in found.records] == list(range(7))
    for row, record in zip(found.records, memory.records, strict=True):
        assert repr(row["metrics"]) == repr(dict(record.metrics))
        assert row.get("nonfinite", {}) == record.nonfinite
        assert (row["mode"], row["time"], row["global_step"]) == (
            record.mode, record.time, record.global_step,
        )  # fmt: skip
        assert row.get("dataset") == record.dataset
        assert row["monotonic"] == record.monotonic
    assert found.records[3]["note"] == {"a": [1, "inf"]}
    assert found.records[3]["extra"] == {"seq": "mine"}
    assert found.records[6]["doubles"] == memory.records[6].extra["doubles"]
    assert report.sinks[0].pending == 7


def test_L01_coverage_and_sections_are_snapshots(tmp_path):
    coverage, note, metrics = {"steps": 1, "missing_ranks": [2]}, {"a": [1]}, dict(METRICS)
    with MetricsRegistry([memory := MemorySink()], on_violation="count") as registry:
        for more in ({"coverage": coverage}, {"coverage": coverage, "note": note}):
            registry.emit(payload(1, metrics, **more))
        coverage["missing_ranks"].append(3)
        note["a"].append(2)
        metrics["loss"] = 9.0
    for record in memory.records:
        assert record.coverage == {"steps": 1, "missing_ranks": [2]}
        assert record.metrics["loss"] == 1.25
    assert memory.records[1].extra == {"note": {"a": [1]}}


def test_an_inbox_that_is_outrun_gives_way_then_refuses_and_counts(monkeypatch):
    """With the thread that checks held up: a bounded wait, once, and no record counted twice."""
    monkeypatch.setattr(engine, "MAX_INBOX", 50)
    gate = threading.Event()

    class Held(MemorySink):
        def write(self, record: Record) -> None:
            gate.wait(20)
            super().write(record)

    registry = MetricsRegistry([held := Held()], on_violation="count")
    began = time.monotonic()
    reports = [registry.emit(payload(step)) for step in range(500)]
    assert time.monotonic() - began < 5
    refused = [report for report in reports if report.dropped == {"emit": "overrun"}]
    assert len(refused) >= 440
    gate.set()
    assert registry.flush(20).complete
    assert registry.emit(payload(999)).accepted == 3
    report = registry.report()
    assert report["rejected"] == {"overrun": len(refused)}
    assert report["received"] == 501
    assert len(held.records) == report["accepted"] == 501 - len(refused)
    registry.close()


class FakeDevice:
    """Numbers on their way: here when they are told to be."""

    def __init__(self, numbers):
        self.is_here, self.is_lost, self._numbers = False, False, numbers

    def numbers(self):
        return self._numbers


@pytest.fixture
def device(monkeypatch):
    """Tensors of float64 count as being on a device; their copies arrive when told."""
    from coordexp_metrics import intake

    flights = []

    def fly(tensors):
        flights.append(FakeDevice({key: tensor.item() for key, tensor in tensors.items()}))
        return flights[-1]

    monkeypatch.setattr(
        intake, "is_in_flight", lambda value: getattr(value, "dtype", None) is torch.float64
    )
    monkeypatch.setattr(intake, "InFlight", fly)
    return flights


def test_numbers_on_a_device_are_pending_until_they_arrive(device, tmp_path):
    """Order is kept, the host's part is in the spool, and the laws see all of it."""
    given = {
        "loss": torch.tensor(2.5, dtype=torch.float64),
        "token_acc": torch.tensor(1.5, dtype=torch.float64),
        "rolout/f1": torch.tensor(float("nan"), dtype=torch.float64),
        "grad_norm": 0.5,
        "epoch": True,
    }
    registry = MetricsRegistry(
        [memory := MemorySink(), JsonlSink(tmp_path / "m.jsonl")], on_violation="count"
    )
    report = registry.emit(payload(1, given, coverage={"steps": 3}))
    registry.emit(payload(2))
    assert report.accepted == 4
    assert report.dropped == {"epoch": "value.bool"}
    assert "unregistered" in {violation.code for violation in report.violations}
    assert memory.records == []
    assert registry.report()["waiting"] == 2
    (row, _) = read_spool(registry.report()["spool"]).records
    assert row["metrics"] == {"grad_norm": 0.5}
    assert row["pending"] == ["loss", "token_acc", "rolout/f1"]
    device[0].is_here = True
    registry.close()
    first, second = memory.records
    assert first.metrics == {"loss": 2.5, "token_acc": 1.5, "grad_norm": 0.5}
    assert first.nonfinite == {"rolout/f1": "nan"}
    assert first.coverage == {"steps": 3}
    assert (first.seq, second.seq) == (0, 1)
    violations = registry.report()["violations"]
    assert violations["out_of_range"] == 1
    assert violations["unregistered"] == 1
    assert registry.report()["dropped"] == {"value.bool": 1}


def test_a_device_that_hangs_costs_its_own_numbers_alone(device):
    given = {"loss": torch.tensor(2.5, dtype=torch.float64), "grad_norm": 0.5}
    with MetricsRegistry([memory := MemorySink()], on_violation="count") as registry:
        registry.emit(payload(1, given))
        registry.emit(payload(2))
        device[0].is_lost = True
    assert [dict(record.metrics) for record in memory.records] == [{"grad_norm": 0.5}, METRICS]
    assert registry.report()["violations"]["value.late"] == 1


def test_tensors_of_the_host_are_never_in_flight():
    assert not any(map(is_in_flight, (1.0, torch.tensor(1.0), torch.ones(2), "torch", None)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_tensor_is_read_as_it_was_when_it_was_emitted():
    """Behind the work that makes it and before what is done to it later, without a sync."""
    value = torch.zeros((), device="cuda")
    with MetricsRegistry([memory := MemorySink()], on_violation="count") as registry:
        for step in range(20):
            value.add_(1)
            registry.emit(payload(step, {"loss": value, "grad_norm": value.to(torch.bfloat16)}))
            value.add_(1)
    assert [record.metrics["loss"] for record in memory.records] == list(range(1, 40, 2))
    assert memory.records[3].metrics["grad_norm"] == 7.0
    flight = InFlight({"a": value, "b": value.long()})
    torch.cuda.synchronize()
    assert flight.is_here
    assert flight.numbers() == {"a": 40.0, "b": 40}


def test_a_report_does_not_wait_for_sinks():
    gate = threading.Event()

    class Waits(Sink):
        def write(self, record):
            gate.wait(20)

    registry = MetricsRegistry([Waits()], on_violation="count")
    registry.emit(payload(1, {"token_acc": 2.0}))
    report = registry.report()
    assert report["violations"] == {"out_of_range": 1}
    assert (report["sinks"][0]["delivered"], report["sinks"][0]["pending"]) == (0, 1)
    gate.set()
    registry.close()


def test_the_catalogue_is_the_one_of_the_contract():
    assert MetricsRegistry().catalogue is OURS is CATALOGUE
