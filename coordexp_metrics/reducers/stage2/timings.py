"""Seconds of wall clock in which at least one block of a kind was open, on this rank.

So a block within a block of its kind, or beside one in another thread, adds nothing twice. What an
exception ends is counted too; what never ran is absent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from ...catalogue.generation import Timing
from ...contract.kinds import SlowestRank
from ...window import Window

__all__ = ["RolloutTimings"]


@dataclass
class _Clock:
    """How many blocks are open, and since when."""

    metric: SlowestRank
    open: int = 0
    since: float = 0.0
    lock: Lock = field(default_factory=Lock)


class RolloutTimings:
    """Context managers for ``time/rollout_*`` (metrics_and_losses.md:149).

    Args:
        window: where the seconds go as a block ends; they add up within a step.
        synchronize: called before the clock is read, such as ``torch.cuda.synchronize``, so that
            work queued on a device is counted where it was queued. By default nobody waits: what
            is queued counts where something waits for it, as reading generated tokens does.
        clock: seconds that never go back.

    >>> from coordexp_metrics import CATALOGUE
    >>> ticks = iter([10.0, 12.5])
    >>> window = Window(CATALOGUE, group="local")
    >>> timings = RolloutTimings(window, clock=lambda: next(ticks))
    >>> with timings.generate(), timings.generate():
    ...     pass
    >>> window.close(mode="train", global_step=1).metrics
    {'time/rollout_generate_s': 2.5}
    """

    def __init__(
        self,
        window: Window,
        synchronize: Callable[[], object] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._window = window
        self._synchronize = synchronize
        self._clock = clock
        self._generate = _Clock(Timing.rollout_generate_s)
        self._parse_match = _Clock(Timing.rollout_parse_match_s)
        self._teacher_encode = _Clock(Timing.rollout_teacher_encode_s)

    @contextmanager
    def generate(self) -> Iterator[None]:
        """Generating rollouts: ``time/rollout_generate_s``."""
        with self._running(self._generate):
            yield

    @contextmanager
    def parse_match(self) -> Iterator[None]:
        """Parsing rollouts and matching objects: ``time/rollout_parse_match_s``."""
        with self._running(self._parse_match):
            yield

    @contextmanager
    def teacher_encode(self) -> Iterator[None]:
        """Encoding teacher-forced targets: ``time/rollout_teacher_encode_s``."""
        with self._running(self._teacher_encode):
            yield

    @contextmanager
    def _running(self, clock: _Clock) -> Iterator[None]:
        with clock.lock:
            if not clock.open:
                clock.since = self._now()
            clock.open += 1
        try:
            yield
        finally:
            with clock.lock:
                clock.open -= 1
                if not clock.open:
                    self._window.observe(clock.metric, self._now() - clock.since)

    def _now(self) -> float:
        if self._synchronize is not None:
            self._synchronize()
        return self._clock()
