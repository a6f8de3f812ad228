"""What one sink does is nothing to the others, and every record is accounted for."""

from __future__ import annotations

import itertools
import logging
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import MemorySink, channel
from coordexp_metrics.sinks.base import Sink
from coordexp_metrics.sinks.channel import Channel
from coordexp_metrics.sinks.entries import Backoff, Entry, Mark, on_schedule
from coordexp_metrics.sinks.fanout import FanOut
from coordexp_metrics.sinks.spool import read_spool

AT_ONCE = Backoff(delays=(0.0,), disable_after=10**9)


def payload(step=0, **metrics):
    return {
        "schema_version": 1,
        "mode": "train",
        "global_step": step,
        "metrics": metrics or {"loss": 1.0},
    }


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Doing(Sink):
    """Writes by calling ``act``; keeps what it got."""

    def __init__(self, act=lambda record: None, name="Doing"):
        self.act, self.got, self._name, self.calls = act, [], name, []

    @property
    def name(self):
        return self._name

    def write(self, record):
        self.act(record)
        self.got.append(record)

    def flush(self):
        self.calls.append("flush")

    def close(self):
        self.calls.append("close")


class Journal(Doing):
    """A durable sink in memory."""

    durable = True


def entry(seq=0, size=100, released=None):
    release = (lambda: None) if released is None else lambda: released.append(seq)
    return Entry(Record("train", seq, {"loss": 1.0}, seq=seq), size, release, 1)


def fails(error, times=10**9):
    left = itertools.count(1)

    def act(record):
        if next(left) <= times:
            raise error

    return act


def closes(sink):
    """Whether the account of a sink closes."""
    dropped = sum(sink["dropped"].values())
    return sink["accepted"] == sink["delivered"] + sink["pending"] + dropped


def test_S01_a_failing_sink_rests_1_2_4_up_to_60_seconds_and_is_then_disabled(caplog):
    clock = Clock()
    sink = Doing(fails(ValueError("no")))
    live = Channel(sink, Backoff(clock=clock, disable_after=9))
    for seq in range(20):
        live.put(entry(seq))
    waits = []
    while not live.disabled:
        live.pump()
        started = clock.now
        while sum(live.dropped.values()) == len(waits) + 1 and not live.disabled:
            clock.now += 0.5
            live.pump()
        waits.append(clock.now - started)
    assert waits[:7] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
    live.pump()
    assert live.dropped == {"ValueError": 9, "disabled": 11}
    assert live.pending == 0
    assert any("is disabled after 9 failures" in record.message for record in caplog.records)


def test_S08_failures_are_announced_at_1_10_100(caplog):
    live = Channel(Doing(fails(ValueError("no"))), AT_ONCE)
    for seq in range(150):
        live.put(entry(seq))
        live.pump()
    said = [record.args[2] for record in caplog.records]
    assert said == [1, 10, 100]
    assert [n for n in range(2000) if on_schedule(n)] == [1, 10, 100, 1000]


def test_a_sink_that_recovers_gets_what_follows():
    clock = Clock()
    sink = Doing(fails(OSError(28, "full"), times=2))
    live = Channel(sink, Backoff(clock=clock))
    for seq in range(5):
        live.put(entry(seq))
    for _ in range(10):
        live.pump()
        clock.now += 1
    assert [record.seq for record in sink.got] == [2, 3, 4]
    assert live.dropped == {"OSError": 2}
    assert (live.delivered, live.pending) == (3, 0)


def test_D08_a_journal_tries_a_record_again_until_the_disk_takes_it():
    clock, released = Clock(), []
    sink = Journal(fails(OSError(28, "No space left on device"), times=40))
    journal = Channel(sink, Backoff(clock=clock, disable_after=3))
    for seq in range(5):
        journal.put(entry(seq, released=released))
    for _ in range(3000):
        journal.pump()
        clock.now += 1
        if not sink.got:
            assert released == []
            assert journal.pending == 5
    assert [record.seq for record in sink.got] == released == [0, 1, 2, 3, 4]
    assert journal.dropped == {}


def test_a_record_that_no_journal_can_write_is_dropped_by_name_and_stays_in_the_spool():
    def refuse_one(record):
        tried.append(record.seq)
        if record.seq == 1:
            raise ValueError("not finite")

    clock, released, tried = Clock(), [], []
    journal = Channel(Journal(refuse_one), Backoff(clock=clock))
    for seq in range(3):
        journal.put(entry(seq, released=released))
    for _ in range(10):
        journal.pump()
        clock.now += 60
    assert released == [0, 2]
    assert journal.dropped == {"ValueError": 1}
    assert tried == [0, 1, 1, 1, 2], "a journal tries three times"


def test_the_spool_keeps_what_a_journal_has_not_synced():
    class Syncing(Journal):
        count = 0

        @property
        def synced(self):
            return self.count

    released, sink = [], Syncing()
    journal = Channel(sink, Backoff(clock=Clock()))
    for seq in range(6):
        journal.put(entry(seq, released=released))
    journal.pump()
    assert (journal.delivered, journal.pending, journal.unconfirmed, released) == (6, 0, 6, [])
    sink.count = 4
    journal.pump()
    assert (released, journal.unconfirmed) == ([0, 1, 2, 3], 2)
    mark = Mark(flush=True, close=True)
    journal.mark(mark)
    journal.pump()
    assert released == list(range(6))
    assert sink.calls == ["flush", "close"]


def test_a_journal_that_cannot_say_what_it_synced_is_taken_to_have_synced_nothing():
    class Confused(Journal):
        @property
        def synced(self):
            raise OSError(116, "stale")

    released, sink = [], Confused()
    with MetricsRegistry([sink, Doing()], on_violation="count") as registry:
        for step in range(3):
            registry.emit(payload(step))
        assert registry.flush(5).complete
    assert len(sink.got) == 3
    journal = Channel(Confused(), Backoff(clock=Clock()))
    journal.put(entry(0, released=released))
    journal.pump()
    assert released == []


def test_a_journal_that_nothing_follows_is_synced_after_a_second():
    clock = Clock()

    class Syncing(Journal):
        synced = 0

        def flush(self):
            self.synced = len(self.got)

    released, sink = [], Syncing()
    journal = Channel(sink, Backoff(clock=clock))
    journal.put(entry(0, released=released))
    journal.pump()
    clock.now += 0.9
    journal.pump()
    assert released == []
    clock.now += 0.2
    journal.pump()
    assert released == [0]


def test_S02_a_live_queue_is_bounded_by_count_and_drops_its_oldest(monkeypatch):
    monkeypatch.setattr(channel, "MAX_PENDING", 10)
    sink = Doing()
    live = Channel(sink)
    mark = Mark(flush=True)
    for seq in range(5):
        live.put(entry(seq))
    live.mark(mark)
    for seq in range(5, 25):
        live.put(entry(seq))
    assert live.dropped == {"queue_full": live.accepted - live.pending}
    live.pump()
    assert [record.seq for record in sink.got] == list(range(25 - len(sink.got), 25))
    assert len(sink.got) in {9, 10}
    assert list(mark.reached) == ["Doing"]


def test_S02_a_live_queue_is_bounded_by_bytes(monkeypatch):
    monkeypatch.setattr(channel, "MAX_BYTES", 1000)
    live = Channel(Doing())
    for seq in range(50):
        live.put(entry(seq, size=100))
    assert live.pending == 10
    live.put(entry(99, size=5000))
    assert live.pending == 1
    live.pump()
    assert [record.seq for record in live.sink.got] == [99]
    for seq in range(50):
        live.put(entry(seq, size=100))
    assert live.pending == 10


def test_S06_a_journals_queue_drops_its_newest_only_when_memory_is_full(monkeypatch):
    monkeypatch.setattr(channel, "MAX_BYTES", 1000)
    monkeypatch.setattr(channel, "MAX_PENDING", 3)
    journal = Channel(Journal())
    for seq in range(50):
        journal.put(entry(seq, size=100))
    assert journal.dropped == {"spool_full": 40}
    journal.pump()
    assert [record.seq for record in journal.sink.got] == list(range(10))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["put", "put", "pump", "mark", "tick"])), st.data())
def test_the_account_of_a_channel_closes_after_every_event(events, data):
    """Whatever is put, marked, written or refused, and in whatever order."""
    clock = Clock()
    failing = data.draw(st.sets(st.integers(0, 60)))
    tries = itertools.count()

    def act(record):
        if next(tries) in failing:
            raise random.Random(record.seq).choice(
                [OSError(5), ValueError(), SystemExit(), MemoryError()]
            )

    sink = data.draw(st.sampled_from([Doing, Journal]))(act)
    one = Channel(sink, Backoff(clock=clock, disable_after=4))
    put = 0
    for event in events:
        match event:
            case "put":
                one.put(entry(put))
                put += 1
            case "pump":
                one.pump()
            case "mark":
                one.mark(Mark(flush=True))
            case "tick":
                clock.now += 70
        assert one.accepted == put == one.delivered + one.pending + sum(one.dropped.values())
        assert one.pending >= 0
        assert one.delivered == len(sink.got)
        assert [r.seq for r in sink.got] == sorted({r.seq for r in sink.got})


@pytest.mark.parametrize("verb", ["flush", "close"])
@pytest.mark.parametrize("error", [OSError(5, "EIO"), SystemExit(1), RecursionError()])
def test_S01_a_sink_that_cannot_flush_or_close_is_named(verb, error):
    sink = Doing()

    def refuse():
        raise error

    setattr(sink, verb, refuse)
    registry = MetricsRegistry([sink, memory := MemorySink()], on_violation="count")
    registry.emit(payload())
    report = registry.close(5)
    assert not report.complete
    assert type(error).__name__ in report.errors[0]
    assert len(memory.records) == len(sink.got) == 1


def test_S02_a_hung_sink_costs_no_other_sink_a_record_and_close_returns_in_time(tmp_path):
    """A FIFO without a reader; the record in its hands and those behind it are pending."""
    os.mkfifo(tmp_path / "fifo")
    hung = Doing(lambda record: (tmp_path / "fifo").open("w").close(), name="hung")
    healthy = Doing(name="healthy")
    registry = MetricsRegistry([hung, healthy], on_violation="count")
    for step in range(100):
        registry.emit(payload(step))
    assert not registry.flush(timeout=0.3).complete
    began = time.monotonic()
    report = registry.close(timeout=0.5)
    assert time.monotonic() - began < 0.7 + 0.5
    assert not report.complete
    assert {sink.sink: (sink.delivered, sink.pending) for sink in report.sinks} == {
        "hung": (0, 100),
        "healthy": (100, 0),
    }
    assert [record.seq for record in healthy.got] == list(range(100))
    assert healthy.calls == ["flush", "flush", "close"]
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(200):
        if registry.report()["sinks"][0]["delivered"]:
            break
        time.sleep(0.01)
    os.close(reader)


def test_S03_a_slow_sink_catches_up():
    slow = Doing(lambda record: time.sleep(0.002))
    with MetricsRegistry([slow], on_violation="count") as registry:
        for step in range(60):
            registry.emit(payload(step))
    assert [record.global_step for record in slow.got] == list(range(60))


def test_S12_a_sink_cannot_change_what_another_one_gets():
    """Its attributes are frozen; a sink that mutates a mapping breaks the documented rule."""

    def spoil(record):
        record.global_step = 9

    with MetricsRegistry([Doing(spoil), memory := MemorySink()], on_violation="count") as registry:
        registry.emit(payload(3))
    assert registry.report()["sinks"][0]["dropped"] == {"FrozenInstanceError": 1}
    assert memory.records[0].global_step == 3


def test_a_class_with_write_is_a_sink():
    class Mine:
        def __init__(self):
            self.got = []

        def write(self, record):
            self.got.append(record.global_step)

    with MetricsRegistry([mine := Mine()]) as registry:
        registry.emit(payload(5))
    assert mine.got == [5]
    assert registry.report()["sinks"][0]["sink"] == "Mine"


def test_after_a_success_a_failing_sink_rests_one_second_again():
    clock, bad = Clock(), {0, 1, 3}
    live = Channel(Doing(lambda record: 1 / (record.seq not in bad)), Backoff(clock=clock))
    for seq in range(6):
        live.put(entry(seq))
    waits = []
    while live.pending:
        before = live.pending
        live.pump()
        if live.pending == before:
            waits[-1] += 0.5
            clock.now += 0.5
        else:
            waits.append(0.0)
    assert waits == [1.0, 2.0, 1.0, 0.0]
    assert live.delivered == 3


def test_flush_makes_a_failing_sink_try_at_once():
    sink = Doing(fails(OSError(28, "full"), times=1))
    backoff = Backoff(delays=(60.0,))
    registry = MetricsRegistry([sink], on_violation="count", backoff=backoff)
    for step in range(3):
        registry.emit(payload(step))
    report = registry.flush(timeout=5)
    assert report.complete
    assert [record.global_step for record in sink.got] == [1, 2]
    assert report.sinks[0].dropped == {"OSError": 1}
    registry.close()


def test_losses_are_logged_beside_the_curves():
    sink = Doing(fails(ValueError("no"), times=1))
    with MetricsRegistry([sink, memory := MemorySink()], on_violation="count") as registry:
        registry.emit(payload(0))
        registry.flush()
        registry.emit(payload(1))
    first, second = memory.records
    assert first.health == {}
    assert second.health == {"contract/sink_dropped_total": 1}


def produce(registry, count, thread):
    for step in range(count):
        registry.emit(payload(step, loss=float(thread), grad_norm=float(step)))


def flapping(threads, each):
    """Producers on their threads, and sinks that fail, stall and recover."""
    rng = random.Random(7)

    def flap(record):
        what = rng.random()
        if what < 0.02:
            raise OSError(5, "flap")
        if what < 0.0205:
            time.sleep(0.02)

    live, journal = Doing(flap, "live"), Journal(flap, "journal")
    backoff = Backoff(delays=(0.001,), disable_after=10**9)
    registry = MetricsRegistry(
        [live, journal, memory := MemorySink()], on_violation="count", backoff=backoff
    )
    producers = [threading.Thread(target=produce, args=(registry, each, n)) for n in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join()
    finally:
        sys.setswitchinterval(interval)
    registry.close(timeout=120)
    report = registry.report()
    accounts = {sink["sink"]: sink for sink in report["sinks"]}
    assert (
        report["received"]
        == threads * each
        == report["accepted"] + sum(report["rejected"].values())
    )
    assert all(map(closes, accounts.values()))
    assert all(sink["accepted"] == report["accepted"] for sink in accounts.values())
    for name, sink in ("live", live), ("journal", journal):
        assert accounts[name]["delivered"] == len(sink.got)
        assert accounts[name]["pending"] == 0
        assert len({record.seq for record in sink.got}) == len(sink.got)
    return registry, memory, journal, accounts


def test_S05_L03_accounts_are_exact_with_8_threads_and_flapping_sinks():
    """And each thread's records come in its order, none twice."""
    _, memory, journal, accounts = flapping(8, 2500)
    assert len(memory.records) == 20_000
    assert Counter(record.metrics["loss"] for record in memory.records) == dict.fromkeys(
        range(8), 2500
    )
    for thread in range(8):
        steps = [r.global_step for r in memory.records if r.metrics["loss"] == thread]
        assert steps == list(range(2500))
    assert accounts["journal"]["dropped"] == {}
    assert len(journal.got) == 20_000


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_S05_soak_accounts_are_exact_after_a_million_records():
    flapping(8, 125_000)


def test_no_sink_no_thread_and_few_threads_otherwise():
    before = threading.active_count()
    bare = MetricsRegistry(on_violation="count")
    bare.emit(payload())
    assert threading.active_count() == before
    registry = MetricsRegistry([MemorySink(), Doing(name="mine")])
    names = {thread.name for thread in threading.enumerate()}
    assert {"coordexp-metrics", "coordexp-metrics-mine"} <= names
    assert threading.active_count() == before + 2
    assert all(t.daemon for t in threading.enumerate() if t.name.startswith("coordexp-metrics"))
    registry.close()
    bare.close()


def test_L18_a_log_handler_that_fails_exits_or_emits_stops_nothing():
    class Handler(logging.Handler):
        def emit(self, record):
            registry.emit(payload(step=99))
            raise SystemExit(3)

    handler = Handler()
    logger = logging.getLogger("coordexp_metrics")
    logger.addHandler(handler)
    try:
        with MetricsRegistry([memory := MemorySink()]) as registry:
            for step in range(3):
                registry.emit(payload(step, rolout=1.0))
    finally:
        logger.removeHandler(handler)
    assert [record.global_step for record in memory.records] == [0, 1, 2]
    assert registry.report()["rejected"]["emit.reentrant"] >= 1


def test_S13_sinks_write_off_the_thread_that_trains():
    seen = []
    with MetricsRegistry(
        [Doing(lambda record: seen.append(threading.current_thread()))]
    ) as registry:
        registry.emit(payload())
    assert seen[0] is not threading.main_thread()


def test_a_sink_that_cannot_open_leaves_no_spool_and_no_thread(tmp_path, monkeypatch):
    from coordexp_metrics.sinks import spool

    class Closed(Journal):
        def open(self, header):
            raise OSError(30, "read-only")

    monkeypatch.setattr(spool, "spool_directories", lambda: [tmp_path])
    before = threading.active_count()
    with pytest.raises(OSError, match="read-only"):
        MetricsRegistry([Closed()])
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() <= before + 1


def test_two_journals_both_have_a_record_before_the_spool_lets_it_go(tmp_path, monkeypatch):
    from coordexp_metrics.sinks import spool

    monkeypatch.setattr(spool, "spool_directories", lambda: [tmp_path])
    gate = threading.Event()
    slow = Journal(lambda record: gate.wait(10), "slow")
    registry = MetricsRegistry([Journal(name="fast"), slow], on_violation="count")
    for step in range(5):
        registry.emit(payload(step))
    registry.flush(0.3)
    path = registry.report()["spool"]
    assert [row["global_step"] for row in read_spool(path).records] == list(range(5))
    gate.set()
    assert registry.close().complete
    assert not Path(path).exists()


def test_FanOut_closes_what_it_opened_when_a_later_sink_fails():
    first = Doing()

    class Closed(Doing):
        def open(self, header):
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        FanOut([first, Closed()], None)
    assert first.calls == ["close"]
