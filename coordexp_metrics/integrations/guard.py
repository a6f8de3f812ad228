"""Diagnostics are best effort; objectives fail fast.

A fault is counted and named, and the diagnostic is tried again at the next micro-batch: what one
rank gave up on for ever, the others would wait for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType

from ..contract.errors import MetricsError, safe_text
from ..sinks.entries import on_schedule

__all__ = ["Fault", "Guard"]

_LOG = logging.getLogger("coordexp_metrics")


@dataclass(slots=True)
class Fault:
    """What went wrong at one place, and how often.

    Attributes:
        count: how often.
        error: the last error, named.
    """

    count: int = 0
    error: str = ""


class Guard:
    """The only place where an integration swallows an error.

    Args:
        strict: let errors out, for tests and CI.

    Attributes:
        faults: for each diagnostic that failed, how often and why.

    >>> guard = Guard()
    >>> with guard.diagnostic("token accuracy"):
    ...     [][0]
    >>> guard.faults["token accuracy"].count, guard.faults["token accuracy"].error
    (1, 'IndexError: list index out of range')
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.faults: dict[str, Fault] = {}
        self._new = 0

    def diagnostic(self, what: str, of: str = "") -> _Diagnostic:
        """Run the body; an error in it is counted under ``what of`` and goes no further."""
        return _Diagnostic(self, what, of)

    @contextmanager
    def objective(self, what: str) -> Iterator[None]:
        """Run the body; an error in it ends the run and says which objective it was.

        Raises:
            MetricsError: the objective cannot be computed.

        >>> try:
        ...     with Guard().objective("coord_loss"):
        ...         raise ValueError("no coordinate ids")
        ... except MetricsError as error:
        ...     print(str(error).partition(";")[0])
        the objective 'coord_loss' failed: ValueError: no coordinate ids
        """
        try:
            yield
        except MetricsError:
            raise
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            way_out = "training without it would be another run; repair it or switch it off"
            raise MetricsError(f"the objective {what!r} failed: {why}; {way_out}") from error

    def note(self, what: str, why: str) -> None:
        """Count a fault that raised nothing; warn of the 1st, 10th, 100th."""
        fault = self.faults.setdefault(what, Fault())
        fault.count += 1
        fault.error = safe_text(why, limit=300)[1:-1]
        self._new += 1
        if on_schedule(fault.count):
            with suppress(Exception):
                _LOG.warning("%s left out (%d so far): %s", what, fault.count, fault.error)

    def taken(self) -> int:
        """How many faults are new since this was last asked."""
        new, self._new = self._new, 0
        return new


class _Diagnostic:
    """A body that may fail; a generator would cost every step as much as the body."""

    __slots__ = ("_guard", "_of", "_what")

    def __init__(self, guard: Guard, what: str, of: str) -> None:
        self._guard, self._what, self._of = guard, what, of

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception) or self._guard.strict:
            return False
        what = f"{self._what} {safe_text(self._of)[1:-1]}" if self._of else self._what
        self._guard.note(what, f"{type(error).__name__}: {error}")
        return True
