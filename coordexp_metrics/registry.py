"""The facade a trainer holds: catalogue, sinks, and ``emit``, which never raises.

``emit`` drops the one bad value, counts it and names it; everything else of the payload reaches
every sink. Only ``on_violation="raise"``, for tests and CI, lets errors out.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from .accounts import Accounts
from .catalogue import CATALOGUE
from .contract.catalogue import Catalogue
from .contract.check import Checker, Violation
from .contract.errors import PayloadError, Problem, SchemaVersionError, safe_text
from .contract.header import Header
from .contract.identity import PipelineIdentity
from .contract.payload import Payload, open_envelope
from .contract.record import Record
from .emission import Emission, Emitter
from .sinks.base import Sink
from .sinks.fanout import FanOut, on_schedule

__all__ = ["EmitReport", "MetricsRegistry"]

_LOG = logging.getLogger("coordexp_metrics")


class EmitReport(NamedTuple):
    """What became of one payload.

    Attributes:
        accepted: how many keys were handed to the sinks.
        dropped: the code of each key, or section, that was not.
        violations: what the contract says against the payload; each has .code, .key, .message.
    """

    accepted: int
    dropped: Mapping[str, str]
    violations: tuple[Violation, ...]


class MetricsRegistry:
    """Takes payloads to sinks under the contract.

    Args:
        sinks: where records go.
        catalogue: the declarations; extend it with ``CATALOGUE.extended(MyFamily)``.
        on_violation: ``warn`` logs the 1st, 10th, 100th of each kind; ``count`` only counts;
            ``raise`` raises PayloadError, for tests and CI.
        carry: patterns of further keys that are delivered without being declared, ``my/*``.
        aliases: ``contract`` also logs the aliases that the contract names, ``none`` does not.
        run: run context for the header: config, run_name, seed.
        pipeline: what the run optimises, for the header's checksum.
        parameters: numbers that formulas need, such as ``{"w1_weight": 1.0}``.

    Raises:
        SinkError: a sink cannot be opened; said here, before step 0.

    >>> from coordexp_metrics.sinks import MemorySink
    >>> registry = MetricsRegistry(sinks=[MemorySink()], on_violation="count")
    >>> registry.emit({"schema_version": 1, "mode": "train", "global_step": 7,
    ...                "metrics": {"loss": 1.25, "rolout/f1": 0.5}}).violations[0].message
    "is not in the catalogue; did you mean 'rollout/f1'?"
    """

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        catalogue: Catalogue = CATALOGUE,
        on_violation: Literal["warn", "raise", "count"] = "warn",
        carry: Sequence[str] = (),
        aliases: Literal["contract", "none"] = "contract",
        run: Mapping[str, Any] | None = None,
        pipeline: PipelineIdentity | None = None,
        parameters: Mapping[str, float] | None = None,
    ) -> None:
        if on_violation not in {"warn", "raise", "count"}:
            raise ValueError(f"on_violation is 'warn', 'raise' or 'count', not {on_violation!r}")
        if aliases not in {"contract", "none"}:
            raise ValueError(f"aliases is 'contract' or 'none', not {aliases!r}")
        self.catalogue = catalogue
        self._on_violation = on_violation
        checker = Checker(catalogue, carry, parameters)
        self._emitter = Emitter(checker, aliases=aliases == "contract")
        self._accounts = Accounts()
        self._seq = itertools.count()
        self._lock = threading.RLock()
        self._inside = threading.local()
        self._closed = False
        header = Header(catalogue, dict(run or {}), pipeline, dict(parameters or {}))
        self._fanout = FanOut(sinks, header)

    def emit(self, payload: Mapping[str, Any] | Payload) -> EmitReport:
        """Validate ``payload`` and hand it to every sink.

        Args:
            payload: a mapping with ``schema_version``, ``mode``, ``global_step`` and ``metrics``
                under train names, or a :class:`Payload`. It is neither kept nor changed.

        Returns:
            what was accepted, what was dropped and why, and what the contract says against it.

        Raises:
            PayloadError: only with ``on_violation="raise"``.
        """
        if getattr(self._inside, "emit", False):
            return self._refused("emit.reentrant", "emit", "was called by a sink or its handler")
        if self._closed:
            return self._refused("closed", "emit", "came after close; the payload is dropped")
        self._inside.emit = True
        try:
            with self._lock:
                return self._emit(payload)
        except PayloadError:
            if self._on_violation == "raise":
                raise
            return self._refused("payload.unreadable", "payload", "cannot be read")
        except Exception as error:
            why = f"cannot be read: {type(error).__name__}"
            if self._on_violation == "raise":
                problem = Problem("payload.unreadable", "payload", why)
                raise PayloadError([problem]) from error
            return self._refused("payload.unreadable", "payload", why)
        finally:
            self._inside.emit = False

    def _emit(self, payload: Mapping[str, Any] | Payload) -> EmitReport:
        envelope, problems = open_envelope(payload)
        if envelope is None:
            return self._rejected(problems, payload)
        emission = self._emitter.emission(envelope)
        if self._on_violation == "raise":
            self._raise(emission)
        self._accounts.accept(emission)
        if emission.violations:
            self._warn(emission.violations)
        self._fanout.write(
            Record(
                mode=envelope.mode,
                global_step=envelope.global_step,
                metrics=emission.metrics,
                nonfinite=emission.nonfinite,
                seq=next(self._seq),
                time=time.time(),
                dataset=envelope.dataset,
                coverage=envelope.coverage,
                health=self._accounts.health(),
                extra=emission.extra,
            )
        )
        accepted = len(envelope.metrics) + len(envelope.nonfinite) - len(emission.dropped)
        return EmitReport(accepted, emission.dropped, tuple(emission.violations))

    def _raise(self, emission: Emission) -> None:
        problems = [problem for problem in emission.problems if problem.code != "law.weak"]
        if problems:
            raise PayloadError(problems)

    def _rejected(
        self, problems: list[Problem], payload: Mapping[str, Any] | Payload
    ) -> EmitReport:
        if self._on_violation == "raise":
            if problems[0].path == "schema_version":
                found = payload.get("schema_version") if isinstance(payload, Mapping) else None
                raise SchemaVersionError(problems, found)
            raise PayloadError(problems)
        self._accounts.reject(problems[0].code)
        violations = tuple(Violation(*problem) for problem in problems)
        self._warn(violations)
        return EmitReport(0, {problem.path: problem.code for problem in problems}, violations)

    def _refused(self, code: str, path: str, why: str) -> EmitReport:
        self._accounts.reject(code)
        violation = Violation(code, path, why)
        self._warn([violation])
        return EmitReport(0, {path: code}, (violation,))

    def _warn(self, violations: Sequence[Violation]) -> None:
        for violation in violations:
            count = self._accounts.count(violation)
            if self._on_violation == "warn" and on_schedule(count):
                with suppress(Exception):
                    _LOG.warning(
                        "%s: %s %s (%d so far)",
                        violation.code,
                        safe_text(violation.key)[1:-1],
                        violation.message,
                        count,
                    )

    def report(self) -> dict[str, Any]:
        """The accounts: ``received = accepted + rejected``, breaches by code, and each sink's.

        >>> MetricsRegistry().report()["received"]
        0
        """
        return self._accounts.report(self._fanout.channels)

    def flush(self) -> None:
        """Bring everything that was emitted to where it is safe."""
        with self._lock:
            self._fanout.flush()

    def close(self) -> None:
        """Flush and close every sink. Further calls do nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._fanout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
