"""One thread checks what was handed over and feeds the sinks; whoever waits for it waits bounded.

It polls, so that ``emit`` need not wake it: a lock between the two would be one that a signal
handler, a fork or a finaliser finds held. And it polls seldom: each look takes the interpreter from
the thread that trains, and what waits for one is in the spool.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import RLock, Thread
from typing import Any, NamedTuple

from .accounts import Accounts
from .contract.check import Violation
from .contract.errors import safe_text
from .contract.payload import Payload
from .contract.record import Record
from .emission import Emission, Laws, Namer
from .handover import NOWHERE, HandOver, Shape
from .intake import Refusal, Sorted
from .sinks.entries import Mark, SinkReport, on_schedule
from .sinks.fanout import FanOut
from .workers import at_work, is_at_work

__all__ = ["Delivery", "FlushReport"]

PACE = 0.05  # seconds between two looks at the inbox
SETTLE = 1.0
HUNG = 30.0
_SILENT = frozenset({"forked", "unpickled"})
_LOG = logging.getLogger("coordexp_metrics")


class FlushReport(NamedTuple):
    """What became of everything emitted.

    Attributes:
        complete: whether every sink has, or has counted as dropped, all of it, and flushed.
        sinks: the account of each.
        waiting: payloads that are not checked yet, such as those that wait for a device.
        spool: the file that still holds what the journal has not, or None.
        errors: which flush or close failed.
    """

    complete: bool
    sinks: tuple[SinkReport, ...] = ()
    waiting: int = 0
    spool: str | None = None
    errors: tuple[str, ...] = ()


class Delivery:
    """Takes events out of the inbox of one registry, one at a time.

    Args:
        inbox: payloads, refusals and marks, in order.
        namer: puts names on.
        laws: checks bounds and laws.
        hand_over: whose spool to give back to.
        warns: whether breaches are logged.
    """

    def __init__(
        self, inbox: deque[Any], namer: Namer, laws: Laws, hand_over: HandOver, *, warns: bool
    ) -> None:
        self.accounts = Accounts()
        self.fanout = FanOut((), None)
        self.thread: Thread | None = None
        self._inbox = inbox
        self._namer = namer
        self._laws = laws
        self._hand_over = hand_over
        self._warns = warns
        self._ended = False
        self._mine = RLock()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._watched: set[str] = set()

    @property
    def is_inline(self) -> bool:
        """Whether whoever hands over checks too: there are no sinks, or no thread any more."""
        return self.thread is None or self._ended

    def start(self, fanout: FanOut, ended: Callable[[], None]) -> None:
        """Feed ``fanout`` from now on; a registry without sinks needs no thread.

        The thread calls ``ended`` when every sink is closed, or hangs.
        """
        self.fanout = fanout
        fanout.start()
        if fanout.channels:
            thread = Thread(target=self._run, args=[ended], name="coordexp-metrics", daemon=True)
            with suppress(RuntimeError):  # the interpreter is ending
                thread.start()
                self.thread = thread

    @property
    def is_running(self) -> bool:
        """Whether a thread is still at work."""
        return self.fanout.is_running or (self.thread is not None and self.thread.is_alive())

    def forget(self) -> None:
        """In a forked child: nothing that was the parent's is anybody's here."""
        self.accounts = Accounts()
        self.fanout = FanOut((), None)
        self.thread = None
        self._mine = RLock()
        self._inbox.clear()

    def _run(self, ended: Callable[[], None]) -> None:
        with at_work():
            while not self._ended:
                with suppress(Exception):  # whatever it is, this thread goes on
                    self.pump()
                    self._watch()
                with suppress(Empty):
                    self._wake.get(timeout=PACE)
                    while True:
                        self._wake.get_nowait()
            until = time.monotonic() + HUNG
            while self.fanout.is_running and time.monotonic() < until:
                time.sleep(PACE / 50)
            ended()

    def pump(self) -> int:
        """Check what is there, unless another thread does; how many events that were."""
        if not self._mine.acquire(blocking=False):
            return 0
        done = 0
        try:
            while self._inbox and self._is_ready(self._inbox[0]):
                self._contained(self._inbox.popleft())
                done += 1
                if done % 64 == 0:
                    self.fanout.wake()
        except IndexError:  # a nested call was faster
            pass
        finally:
            self._mine.release()
        if done:
            self.fanout.wake()
        return done

    def _contained(self, event: Any) -> None:
        try:
            self._process(event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, the next record comes
            code = f"internal.{type(error).__name__}"
            self.accounts.reject(code)
            self._say([Violation(code, "payload", f"cannot be checked: {error}"[:200])])

    @staticmethod
    def _is_ready(event: Any) -> bool:
        waiting = event.waiting if type(event) is Sorted else None
        return waiting is None or waiting.is_here or waiting.is_lost

    def _process(self, event: Any) -> None:
        if type(event) is tuple:
            self._usual(*event)
        elif type(event) is Sorted:
            self._sorted(event)
        elif type(event) is Refusal:
            self.accounts.reject(event.code)
            if event.code not in _SILENT:
                self._say(event.violations)
        else:
            self.fanout.mark(event)
            self._ended = self._ended or event.close

    def _usual(
        self,
        shape: Shape,
        values: list[float],
        step: int,
        tail: bytes,
        seq: int,
        now: float,
        monotonic: float,
        slots: Sequence[int] | None,
    ) -> None:
        names = shape.plan.names
        metrics = self._namer.metrics(shape.plan, values)
        found = [*names.violations, *self._laws.broken(shape.plan, values, shape.mode, step)]
        self.accounts.accept(names.dropped, 0, spooled=slots is not None)
        if found:
            self._say(found)
        record = Record(
            shape.mode,
            step,
            metrics,
            seq=seq,
            time=now,
            health=self._health(),
            monotonic=monotonic,
            **(json.loads(tail) if tail else {}),
        )
        self._put(record, slots)

    def _sorted(self, event: Sorted) -> None:
        emission, payload, stamp = event.emission, event.payload, event.stamp
        if event.waiting is not None:
            emission = self._arrived(event)
        found = emission.violations
        if not event.is_checked:
            mode, step = payload.mode, payload.global_step
            found += self._laws.broken(emission.plan, emission.values, mode, step)
        nonfinite = len(emission.nonfinite)
        self.accounts.accept(emission.dropped, nonfinite, spooled=stamp.slots is not None)
        if found:
            self._say(found)
        record = Record(
            payload.mode,
            payload.global_step,
            emission.metrics,
            emission.nonfinite,
            seq=stamp.seq,
            time=stamp.time,
            dataset=payload.dataset,
            coverage=payload.coverage,
            health=self._health(),
            extra=emission.extra,
            monotonic=stamp.monotonic,
        )
        self._put(record, stamp.slots)

    def _arrived(self, event: Sorted) -> Emission:
        """The emission with its numbers from the device; without them if the device is hung."""
        waiting = event.waiting
        if waiting is None or not waiting.is_here:
            event.emission.violations.append(
                Violation("value.late", "payload", "holds numbers that their device never gave")
            )
            return event.emission
        envelope = Payload(event.payload.mode, event.payload.global_step, {})
        return self._namer.joined(event.emission, waiting.numbers(), envelope)

    def _health(self) -> dict[str, float]:
        return self.accounts.health(self.fanout.losses())

    def _put(self, record: Record, slots: Sequence[int] | None) -> None:
        if slots is not NOWHERE:
            self.fanout.put(record, self._hand_over.spool, slots or ())

    def _say(self, violations: Sequence[Violation]) -> None:
        for violation in violations:
            count = self.accounts.count(violation)
            if self._warns and on_schedule(count):
                self._log(violation, count)

    @staticmethod
    def _log(violation: Violation, count: int) -> None:
        with at_work():
            try:
                _LOG.warning(
                    "%s: %s %s (%d so far)",
                    violation.code,
                    safe_text(violation.key)[1:-1],
                    violation.message,
                    count,
                )
            except KeyboardInterrupt:
                raise
            except BaseException:  # noqa: BLE001 - a log handler's fault is not the run's
                return

    def _watch(self) -> None:
        """Say once which sink has hung, and where it stands."""
        for channel in self.fanout.channels:
            since, thread = channel.busy_since, channel.thread
            if since is None or thread is None or channel.name in self._watched:
                continue
            if time.monotonic() - since > HUNG:
                self._watched.add(channel.name)
                frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001
                where = "".join(traceback.format_stack(frame)[-3:]) if frame else "nowhere"
                with suppress(Exception):
                    _LOG.warning("sink %s has hung for %d s at\n%s", channel.name, HUNG, where)

    def settle(self, timeout: float = SETTLE) -> bool:
        """Wait until what was emitted before is checked; False if that took too long."""
        if is_at_work():
            return False
        return self.reach(Mark(), lambda mark: mark.checked, time.monotonic() + timeout)

    def reach(self, mark: Mark, reached: Callable[[Mark], bool], deadline: float) -> bool:
        """Put ``mark`` behind everything emitted, and wait until it is ``reached``."""
        self._inbox.append(mark)
        return self.wait(lambda: reached(mark), deadline)

    def wait(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait for ``condition`` without any lock: a signal handler may wait inside a wait."""
        pause = 0.0002
        while True:
            if self.is_inline:
                self.pump()
            elif self._wake.empty():
                self._wake.put(None)
            if condition():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.005)
