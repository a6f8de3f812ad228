"""Every sink has a thread and a bounded queue: accepted = delivered + pending + dropped, exactly.

A sink that fails, hangs or falls behind keeps that to itself. A live sink then loses its oldest
records; a journal loses none that its queue can hold, and the spool keeps them meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread

from ..workers import at_work
from .base import Sink
from .entries import Backoff, Entry, Mark, SinkReport, on_schedule

__all__ = ["Channel"]

MAX_PENDING = 4096
MAX_BYTES = 64 * 1024 * 1024
IDLE = 0.2
SYNC_AFTER = 1.0  # seconds that a journal may keep to itself what nothing follows
POISON = 3  # a journal's failure that is no OSError is the record's own: it will not get better

_LOG = logging.getLogger("coordexp_metrics")


class Channel:
    """One sink, its queue, its thread and its account.

    The thread that feeds it and its own thread each count what they drop, so that no count is
    shared: a record is taken out of the queue by one of them, once.
    """

    def __init__(self, sink: Sink, backoff: Backoff | None = None) -> None:
        self.sink = sink
        self.name = str(getattr(sink, "name", type(sink).__name__))
        self.durable = bool(getattr(sink, "durable", False))
        self.instant = bool(getattr(sink, "instant", False))
        self.accepted = self.delivered = 0
        self.last_error = ""
        self.disabled = self.ended = False
        self._urges = self._urges_met = 0
        self.busy_since: float | None = None
        self._backoff = backoff or Backoff()
        self._failures = 0
        self._retry_at = self._written_at = 0.0
        self._bytes_in = self._bytes_out = 0
        self._overflowed: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._queue: deque[Entry | Mark] = deque()
        self._unsynced: deque[Entry] = deque()
        self._released = 0
        self._wake: SimpleQueue[None] = SimpleQueue()
        self.thread: Thread | None = None

    @property
    def dropped(self) -> dict[str, int]:
        """How many records were dropped, by reason."""
        return {**self._failed, **self._overflowed}

    @property
    def pending(self) -> int:
        """Records that are neither delivered nor dropped."""
        return self.accepted - self.delivered - sum(self.dropped.values())

    @property
    def unconfirmed(self) -> int:
        """Records of a journal that are not known to be safe."""
        return self.pending + len(self._unsynced)

    def report(self) -> SinkReport:
        """The account as it stands."""
        dropped = self.dropped
        delivered, accepted = self.delivered, self.accepted
        pending = accepted - delivered - sum(dropped.values())
        return SinkReport(self.name, accepted, delivered, pending, dropped, self.last_error)

    def start(self) -> None:
        """Start the thread; where the interpreter starts none any more, the feeder pumps."""
        if self.instant:
            return
        thread = Thread(target=self._run, name=f"coordexp-metrics-{self.name}", daemon=True)
        with suppress(RuntimeError):
            thread.start()
            self.thread = thread

    def put(self, entry: Entry) -> None:
        """Queue ``entry``, from the one thread that feeds; never waits."""
        self.accepted += 1
        if self.ended or (self.durable and self._is_full(entry.size)):
            self._overflowed["closed" if self.ended else "spool_full"] += 1
            return
        self._bytes_in += entry.size
        self._queue.append(entry)
        while not self.durable and self._is_full(0):
            if not self._drop_oldest():
                break

    def mark(self, mark: Mark) -> None:
        """Queue a mark; one that flushes does not wait for a failing sink's next turn."""
        if self.ended:
            mark.reached.append(self.name)
            return
        self._urges += mark.flush or mark.close
        self._queue.append(mark)

    def wake(self) -> None:
        """Let the thread look at once."""
        if self.thread is None:
            self.pump()
        elif self._wake.empty():
            self._wake.put(None)

    def _is_full(self, more: int) -> bool:
        count = len(self._queue)
        if not self.durable and count > MAX_PENDING:
            return True
        return count > 1 and self._bytes_in - self._bytes_out + more > MAX_BYTES

    def _drop_oldest(self) -> bool:
        marks = []
        dropped = False
        with suppress(IndexError):
            while not dropped:
                oldest = self._queue.popleft()
                if isinstance(oldest, Mark):
                    marks.append(oldest)
                else:
                    dropped = True
                    self._bytes_in -= oldest.size
                    self._overflowed["queue_full"] += 1
        self._queue.extendleft(reversed(marks))
        return dropped

    def _run(self) -> None:
        with at_work():
            while not self.ended:
                self.pump()
                if not self.ended:
                    self._rest()

    def _rest(self) -> None:
        waiting = self._retry_at - self._backoff.clock() if self._queue else IDLE
        with suppress(Empty):
            self._wake.get(timeout=min(max(waiting, 0.001), IDLE))
            while True:
                self._wake.get_nowait()

    def pump(self) -> None:
        """Do everything that can be done now."""
        while self._queue and not self.ended:
            if self._is_resting():
                break
            try:
                head = self._queue.popleft()
            except IndexError:
                break
            if isinstance(head, Mark):
                self._reach(head)
            else:
                self._take(head)
        self._confirm()
        self._sync_when_idle()

    def _is_resting(self) -> bool:
        if not self._failures or self.disabled or self._urges > self._urges_met:
            return False
        return self._backoff.clock() < self._retry_at

    def _take(self, entry: Entry) -> None:
        if self.disabled:
            self._bytes_out += entry.size
            self._failed["disabled"] += 1
            return
        error = self._contained(lambda: self.sink.write(entry.record))
        if error is None:
            self._bytes_out += entry.size
            self.delivered += 1
            self._failures = 0
            if self.durable:
                self._unsynced.append(entry)
                self._written_at = self._backoff.clock()
                self._confirm()
            return
        self._fails("write", error)
        entry.failures += 1
        if self.durable and (isinstance(error, OSError) or entry.failures < POISON):
            self._queue.appendleft(entry)
            self._urges_met = self._urges
            return
        self._bytes_out += entry.size
        self._failed[type(error).__name__] += 1

    def _confirm(self) -> None:
        """Let the spool forget what a journal has on the disk."""
        if not self._unsynced:
            return
        synced: int | None = 0
        with suppress(Exception):
            synced = getattr(self.sink, "synced", None)
        count = len(self._unsynced) if synced is None else synced - self._released
        for _ in range(min(count, len(self._unsynced))):
            self._unsynced.popleft().safe()
            self._released += 1

    def _sync_when_idle(self) -> None:
        late = self._backoff.clock() - self._written_at > SYNC_AFTER
        if self._unsynced and not self._queue and late and not self._is_resting():
            self._written_at = self._backoff.clock()
            error = self._contained(getattr(self.sink, "flush", _nothing))
            if error is not None:
                self._fails("flush", error)
            self._confirm()

    def _reach(self, mark: Mark) -> None:
        self._urges_met += mark.flush or mark.close
        verbs = [verb for verb in ("flush", "close") if getattr(mark, verb)]
        for verb in verbs:
            error = self._contained(getattr(self.sink, verb, _nothing))
            if error is not None:
                self._fails(verb, error)
                mark.failed.append(f"{self.name}: {self.last_error}")
        self._confirm()
        if mark.close:
            self._settle_unsynced(mark)
            self.ended = True
        mark.reached.append(self.name)

    def _settle_unsynced(self, mark: Mark) -> None:
        """A journal that closed without a fault has synced everything."""
        while self._unsynced and not mark.failed:
            self._unsynced.popleft().safe()

    def _contained(self, call: Callable[[], None]) -> BaseException | None:
        self.busy_since = time.monotonic()
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - the boundary that training relies on
            return error
        finally:
            self.busy_since = None
        return None

    def _fails(self, verb: str, error: BaseException) -> None:
        self._failures += 1
        self._retry_at = self._backoff.until(self._failures)
        with suppress(BaseException):
            self.last_error = f"{type(error).__name__}: {error}"[:300]
        if verb != "write" or on_schedule(self._failures):
            self._announce("fails to %s (%d in a row): %s", verb, self._failures, self.last_error)
        if not self.durable and self._failures >= self._backoff.disable_after:
            self.disabled = True
            self._announce("is disabled after %d failures in a row", self._failures)

    def _announce(self, text: str, *parts: object) -> None:
        with suppress(Exception, SystemExit):
            _LOG.warning("sink %s " + text, self.name, *parts)


def _nothing() -> None:
    """What a sink without flush or close does."""
