"""One close late: windows are reduced off the training thread, in the order of calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Lagging"]

T = TypeVar("T")


class Lagging(Generic[T]):
    """Runs one job after the other on one thread, and hands results out in order."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="coordexp-metrics")
        self._pending: deque[Future[T]] = deque()

    def run(self, job: Callable[[], object]) -> None:
        """A job without a result."""
        self._thread.submit(job)

    def close(self, job: Callable[[], T]) -> T | None:
        """Start ``job``; return the result of the one before, or None for the first."""
        self._pending.append(self._thread.submit(job))
        return self._pending.popleft().result() if len(self._pending) > 1 else None

    def settle(self) -> None:
        """Wait until nothing runs; results stay pending."""
        self._thread.submit(int).result()

    def drain(self) -> list[T]:
        """Every pending result, in order."""
        results = [future.result() for future in self._pending]
        self._pending.clear()
        return results
