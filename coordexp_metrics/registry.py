"""The facade a trainer holds: catalogue, sinks, and ``emit``, which never raises.

``emit`` drops the one bad value, counts it and names it; everything else of the payload reaches
every sink, on threads of their own. Only ``on_violation="raise"``, for tests and CI, lets errors
out.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

from .catalogue import CATALOGUE
from .contract.catalogue import Catalogue
from .contract.check import Checker, Violation
from .contract.header import Header
from .contract.identity import PipelineIdentity
from .contract.payload import Payload
from .delivery import FlushReport
from .emission import EmitReport
from .engine import PATIENCE, Engine, sinks_of_child
from .processes import own_rank
from .sinks.base import Sink
from .sinks.discovery import sink_from
from .sinks.encode import plain
from .sinks.entries import Backoff

__all__ = ["EmitReport", "FlushReport", "MetricsRegistry"]

_TOO_DEEP = EmitReport(
    0,
    MappingProxyType({"emit": "recursion"}),
    (Violation("recursion", "emit", "came at the limit of recursion; the payload is dropped"),),
)


@dataclass(frozen=True)
class _Setup:
    """Everything that a registry is made with, but for its sinks and its catalogue."""

    on_violation: Literal["warn", "raise", "count"] = "warn"
    carry: Sequence[str] = ()
    aliases: Literal["contract", "none"] = "contract"
    run: Mapping[str, Any] = field(default_factory=dict)
    pipeline: PipelineIdentity | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    main: bool | None = None
    digest: str = ""

    def plain(self) -> dict[str, Any]:
        """As data that any process can load."""
        pipeline = self.pipeline and plain(self.pipeline.to_data())
        return {
            "on_violation": self.on_violation,
            "carry": [str(pattern) for pattern in self.carry],
            "aliases": self.aliases,
            "run": plain(self.run),
            "pipeline": pipeline,
            "parameters": plain(self.parameters),
            "main": self.main,
            "digest": self.digest,
        }


class MetricsRegistry:
    """Takes payloads to sinks under the contract.

    Args:
        sinks: where records go: sinks, or what ``sink_from`` reads, ``"console"``.
        catalogue: the declarations; extend it with ``CATALOGUE.extended(MyFamily)``.
        on_violation: ``warn`` logs the 1st, 10th, 100th of each kind; ``count`` only counts;
            ``raise`` raises PayloadError, for tests and CI.
        carry: patterns of further keys that are delivered without being declared, ``my/*``.
        aliases: ``contract`` also logs the aliases that the contract names, ``none`` does not.
        run: run context for the header: config, run_name, seed.
        pipeline: what the run optimises, for the header's checksum.
        parameters: numbers that formulas need, such as ``{"w1_weight": 1.0}``.
        main: whether this process is the one that writes; None: it is where the rank is 0. On the
            other ranks no sink is opened: payloads are checked and counted. Only what is of one
            rank alone (``coverage.scope`` is ``local``, after a group was lost) goes to a journal
            of that rank, beside the main one's.

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
        sinks: Sequence[Sink | str] = (),
        catalogue: Catalogue = CATALOGUE,
        on_violation: Literal["warn", "raise", "count"] = "warn",
        carry: Sequence[str] = (),
        aliases: Literal["contract", "none"] = "contract",
        run: Mapping[str, Any] | None = None,
        pipeline: PipelineIdentity | None = None,
        parameters: Mapping[str, float] | None = None,
        main: bool | None = None,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        if on_violation not in {"warn", "raise", "count"}:
            raise ValueError(f"on_violation is 'warn', 'raise' or 'count', not {on_violation!r}")
        if aliases not in {"contract", "none"}:
            raise ValueError(f"aliases is 'contract' or 'none', not {aliases!r}")
        setup = _Setup(
            on_violation, tuple(carry), aliases, dict(run or {}), pipeline, dict(parameters or {}),
            main, catalogue.digest,
        )  # fmt: skip
        self._begin(setup, tuple(map(sink_from, sinks)), catalogue, backoff)

    def _begin(
        self, setup: _Setup, sinks: Sequence[Sink], catalogue: Catalogue, backoff: Backoff | None
    ) -> None:
        self.catalogue = catalogue
        self._setup, self._sinks, self._backoff = setup, sinks, backoff
        rank = own_rank()
        self._engine = Engine(
            Checker(catalogue, setup.carry, setup.parameters),
            sinks,
            Header(
                catalogue, setup.run, setup.pipeline, setup.parameters, rank=rank
            ),
            is_main=rank == 0 if setup.main is None else setup.main,
            aliases=setup.aliases == "contract",
            on_violation=setup.on_violation,
            backoff=backoff,
        )  # fmt: skip
        weakref.finalize(self, self._engine.abandon).atexit = False

    def emit(self, payload: Mapping[str, Any] | Payload) -> EmitReport:
        """Check types, keys and names of ``payload``, and hand it over.

        Nothing here waits, locks or writes to a disk. Where a journal is among the sinks, a record
        is in memory that outlives the process before this returns. It may be called by any thread,
        by a signal handler and by a finaliser; a call by a sink or a log handler is refused.

        Args:
            payload: a mapping with ``schema_version``, ``mode``, ``global_step`` and ``metrics``
                under train names, or a :class:`Payload`. It is neither kept nor changed; tensors on
                a device are copied there, in order, and read when they arrive.

        Returns:
            what was accepted, what was dropped and why, and what its names violate.

        Raises:
            PayloadError: only with ``on_violation="raise"``.
        """
        try:
            return self._engine.emit(payload)
        except RecursionError:
            if self._setup.on_violation == "raise":
                raise
            self._engine.too_deep += 1  # nothing can be called here
            return _TOO_DEEP

    def report(self) -> dict[str, Any]:
        """The accounts: ``received = accepted + rejected``, breaches by code, and each sink's.

        Waits, at most a second, until what was emitted before is checked; not for sinks.

        >>> MetricsRegistry().report()["received"]
        0
        """
        return self._engine.report()

    def flush(self, timeout: float | None = None) -> FlushReport:
        """Bring everything that was emitted to where it is safe; failing sinks try again at once.

        Args:
            timeout: seconds, for all sinks together; None for 10.
        """
        return self._engine.flush(timeout)

    def close(self, timeout: float = PATIENCE) -> FlushReport:
        """Flush and close every sink. Further calls report again.

        Args:
            timeout: seconds, for all sinks together. A sink that hangs longer is left behind; what
                the journal lacks then stays in the spool, for ``coordexp-metrics recover``.
        """
        return self._engine.close(timeout)

    def reopen(
        self, sinks: Sequence[Sink | str] | None = None, catalogue: Catalogue | None = None
    ) -> Self:
        """Begin again: in a forked child, in a copy from another process, or after close.

        Args:
            sinks: where records go; None for those of before, in new files. In a forked child None
                is for a journal of its own beside the parent's, ``metrics.rank0.jsonl``.
            catalogue: the declarations, where a copy had other than the contract's.

        Raises:
            ValueError: a copy from another process has no sinks of its own, or another catalogue.
        """
        again = self._sinks if sinks is None else tuple(map(sink_from, sinks))
        if sinks is None:
            if self._engine.refusal == "unpickled":
                raise ValueError("a copy from another process has no sinks: reopen(sinks=[...])")
            if self._engine.refusal == "forked":
                again = tuple(sinks_of_child(again, own_rank()))
        chosen = self.catalogue if catalogue is None else catalogue
        if chosen.digest != self._setup.digest:
            raise ValueError("this registry had another catalogue: reopen(catalogue=...)")
        self.close()
        self._begin(self._setup, again, chosen, self._backoff)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(Exception):
                self.close()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), self._setup.plain()

    def __setstate__(self, data: dict[str, Any]) -> None:
        """Another process gets the settings without the sinks, and is inert until ``reopen``."""
        pipeline = data["pipeline"]
        if pipeline is not None:
            objective, diagnostics = tuple(pipeline["objective"]), tuple(pipeline["diagnostics"])
            pipeline = PipelineIdentity(objective, diagnostics, pipeline["extra"])
        self._setup = _Setup(**{**data, "pipeline": pipeline})
        self._engine.refuse("unpickled")
