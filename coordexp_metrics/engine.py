"""A registry at work: intake, spool, delivery and sinks, from opening them to the last close.

A fork inherits none of it: the child neither writes, nor starts a thread, nor closes what is not
its own.
"""

from __future__ import annotations

import atexit
import logging
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from .contract.check import Checker, Violation
from .contract.header import Header
from .contract.payload import Payload
from .delivery import Delivery, FlushReport
from .emission import EmitReport, Laws, Namer
from .handover import HandOver
from .intake import Intake, Refusal
from .processes import LIVE
from .sinks.base import Sink
from .sinks.entries import Backoff, Mark
from .sinks.fanout import FanOut, OpenedLater
from .sinks.spool import Spool, reclaim
from .workers import is_at_work

__all__ = ["Engine", "sinks_of_child"]

PATIENCE = 10.0
MAX_INBOX = 16384
RELIEF = 0.1
_OVERRUN = Refusal("overrun", ())
_LOG = logging.getLogger("coordexp_metrics")


class Engine:
    """What one registry does in one process.

    Args:
        checker: the catalogue's word on keys and values.
        sinks: where records go; opened here.
        header: what the sinks are told.
        is_main: whether this rank writes; another one writes what is its own alone.
        aliases: whether the contract's further names are logged too.
        on_violation: ``warn``, ``count`` or ``raise``.
        backoff: how to treat failing sinks.

    Attributes:
        too_deep: payloads that came where no call was possible any more.

    Raises:
        SinkError: a sink cannot be opened.
    """

    def __init__(
        self,
        checker: Checker,
        sinks: Sequence[Sink],
        header: Header,
        *,
        is_main: bool,
        aliases: bool,
        on_violation: str,
        backoff: Backoff | None,
    ) -> None:
        self._inbox: deque[Any] = deque()
        namer, laws = Namer(checker, aliases=aliases), Laws(checker)
        self._hand_over = HandOver(namer, self._inbox)
        strict = Laws(checker) if on_violation == "raise" else None
        self._intake = Intake(namer, self._hand_over, self._inbox, strict)
        self._delivery = Delivery(
            self._inbox, namer, laws, self._hand_over, warns=on_violation == "warn"
        )
        self._header = header
        self._backoff = backoff
        self._stalled_at: object = None
        self._closing: Mark | None = None
        self.too_deep = 0
        self._is_let_go = False
        self._waiting_sinks = [] if is_main else _own_sinks(sinks, header.rank)
        if is_main:
            self._open(sinks)
        else:
            self._hand_over.writes = self._writes
        self._at_exit = partial(_close, weakref.ref(self))
        atexit.register(self._at_exit)
        LIVE.add(self)

    def _open(self, sinks: Sequence[Sink]) -> None:
        """Open spool and sinks, and start."""
        settle = partial(_settle, weakref.ref(self._delivery))
        header = self._header
        if any(getattr(sink, "durable", False) for sink in sinks):
            header = self._with_spool()
        spool = self._hand_over.spool
        try:
            fanout = FanOut(sinks, header, settle, self._backoff)
        except BaseException:
            if spool is not None:
                spool.close(remove=True)
            raise
        if spool is not None:
            place = {"run": header.run_id, "rank": header.rank, "journal": fanout.journal}
            spool.begin(place)
        self._delivery.start(fanout, self._let_go)

    def _with_spool(self) -> Header:
        spool, problems = Spool.create()
        self._hand_over.spool, self._hand_over.is_spooled = spool, True
        if spool is None:
            _say("no spool can be made, so a killed process loses its last records: %s", problems)
            return self._header
        with suppress(RuntimeError):
            Thread(target=_reclaim, name="coordexp-metrics-reclaim", daemon=True).start()
        return replace(self._header, spool=str(spool.path))

    def _writes(self, coverage: object) -> bool:
        """A rank that is not the main one writes what is of this rank alone, to its own journal."""
        if not isinstance(coverage, Mapping) or coverage.get("scope") != "local":
            return False
        waiting, self._waiting_sinks = self._waiting_sinks, []
        if waiting:
            self._open([OpenedLater(sink) for sink in waiting])
        return bool(self._delivery.fanout.channels)

    @property
    def refusal(self) -> str | None:
        """Why nothing is taken: ``closed``, ``forked``, ``unpickled``; or None."""
        return self._intake.refusal

    def refuse(self, why: str) -> None:
        """Take nothing any more; there is nothing to close."""
        self._intake.refusal = why
        atexit.unregister(self._at_exit)

    def emit(self, payload: Mapping[str, Any] | Payload) -> EmitReport:
        """Take ``payload``."""
        if len(self._inbox) > MAX_INBOX and not self._is_relieved():
            self._inbox.append(_OVERRUN)
            why = Violation("overrun", "emit", "outran the thread that checks; it is dropped")
            return EmitReport(0, {"emit": "overrun"}, (why,))
        report = self._intake.emit(payload)
        if self._delivery.is_inline:
            with suppress(RecursionError):  # the next one checks it too
                self._delivery.pump()
        return report

    def _is_relieved(self) -> bool:
        """Give way to the thread that checks, for once; not again while it does nothing."""
        until = time.monotonic() + RELIEF
        with suppress(IndexError):
            while self._inbox[0] is not self._stalled_at:
                time.sleep(0.001)
                if len(self._inbox) <= MAX_INBOX:
                    return True
                if time.monotonic() > until:
                    self._stalled_at = self._inbox[0]
        return len(self._inbox) <= MAX_INBOX

    def report(self) -> dict[str, Any]:
        """The accounts, once everything emitted before is checked, or a second has passed."""
        self._delivery.settle()
        accounts = self._delivery.accounts
        report = accounts.report(self._delivery.fanout.report(), {"recursion": self.too_deep})
        spool = self._hand_over.spool
        return {**report, "waiting": self._waiting(), "spool": str(spool.path) if spool else None}

    def _waiting(self) -> int:
        return sum(not isinstance(event, Mark) for event in list(self._inbox))

    def flush(self, timeout: float | None) -> FlushReport:
        """Bring everything emitted to where it is safe, or say what is not."""
        if is_at_work() or self._intake.refusal is not None:
            return self._flushed(Mark(), complete=False)
        mark = Mark(flush=True)
        deadline = time.monotonic() + (PATIENCE if timeout is None else timeout)
        return self._flushed(mark, complete=self._delivery.reach(mark, _is_done, deadline))

    def close(self, timeout: float) -> FlushReport:
        """Flush and close every sink, in ``timeout`` seconds together."""
        deadline = time.monotonic() + timeout
        if self._intake.refusal not in {None, "closed"} or is_at_work():
            return self._flushed(Mark(), complete=False)
        mark = self._closing or self._end()
        delivery = self._delivery
        delivery.wait(lambda: mark.done and not delivery.is_running, deadline)
        self._let_go()
        return self._flushed(mark, complete=mark.done)

    def abandon(self) -> None:
        """The registry is gone, unclosed: deliver what there is, and wait for nothing."""
        if self._intake.refusal is None:
            self._end()
        if self._delivery.is_inline:
            atexit.unregister(self._at_exit)

    def _end(self) -> Mark:
        mark = self._closing = Mark(flush=True, close=True)
        self._intake.refusal = "closed"
        self._inbox.append(mark)
        return mark

    def _let_go(self) -> None:
        """Remove the spool if nothing in it is needed, and say what is not delivered."""
        if self._is_let_go:
            return
        self._is_let_go = True
        atexit.unregister(self._at_exit)
        spool = self._hand_over.spool
        if spool is not None and self._delivery.fanout.is_safe() and not self._waiting():
            self._hand_over.spool = None
            spool.close(remove=True)
        elif spool is not None:  # a journal that still runs may yet take it, and give back its room
            _say("records that the journal lacks are kept in %s", spool.path)
        for sink in self._delivery.fanout.report():
            if sink.dropped or sink.pending:
                _say("sink %s: %d pending, dropped %s", sink.sink, sink.pending, sink.dropped)

    def _flushed(self, mark: Mark, *, complete: bool) -> FlushReport:
        spool = self._hand_over.spool
        return FlushReport(
            complete and not mark.failed,
            self._delivery.fanout.report(),
            self._waiting(),
            str(spool.path) if spool is not None else None,
            tuple(mark.failed),
        )

    def forked(self) -> None:
        """In the child of a fork: be inert."""
        self.refuse("forked")
        spool, self._hand_over.spool = self._hand_over.spool, None
        if spool is not None:
            spool.detach()
        self._delivery.forget()


def sinks_of_child(sinks: Sequence[Sink], rank: int) -> list[Sink]:
    """What a forked child may write to: journals of its own, and lists in its memory."""
    lists = [sink for sink in sinks if getattr(sink, "instant", False)]
    return [*_own_sinks(sinks, rank), *lists]


def _own_sinks(sinks: Sequence[Sink], rank: int) -> list[Sink]:
    """The journals that a rank which is not the main one may need."""
    own = []
    for sink in sinks:
        if getattr(sink, "durable", False):
            with suppress(NotImplementedError, AttributeError):
                own.append(sink.for_rank(rank))
    return own


def _is_done(mark: Mark) -> bool:
    return mark.done


def _settle(delivery: weakref.ref[Delivery]) -> None:
    found = delivery()
    if found is not None:
        found.settle()


def _close(engine: weakref.ref[Engine]) -> None:
    found = engine()
    if found is not None:
        found.close(PATIENCE)


def _reclaim() -> None:
    """Tidy up after dead runs; name what they left for ``recover``."""
    left: list[Path] = []
    with suppress(Exception):
        left = reclaim()
    if left:
        _say("ended runs left records that their journals lack: %s", ", ".join(map(str, left)))


def _say(text: str, *parts: object) -> None:
    with suppress(Exception):
        _LOG.warning(text, *parts)
