"""What every trainer integration holds: two windows, a reducer, a registry, and a guard.

An adapter calls, on every rank and in the same order: ``observe_batch`` for each micro-batch,
``end_step`` after each optimizer step, ``close`` where the trainer logs. Only ``end_step`` and
``close`` communicate, on groups of their own and never on the groups that train.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..catalogue.health import Health
from ..contract.metric import Mode
from ..contract.payload import Payload
from ..registry import MetricsRegistry
from ..token_types import BatchExtras
from ..window import Window
from .guard import Guard
from .outputs import found_logits
from .reading import read_batch

if TYPE_CHECKING:
    from torch import Tensor

    from ..contract.family import Family
    from ..reducers import LogitsReducer
    from ..window.window import Group
    from .hidden import HiddenTap

__all__ = ["TrainerMetrics", "numbers"]

MODES: tuple[Mode, ...] = ("train", "eval")


class TrainerMetrics:
    """The contract inside one trainer.

    Args:
        registry: where finished payloads go; None computes and logs through the trainer alone.
        reducer: what reads the logits; None leaves them unread.
        hidden: where the logits come from while a fused loss returns none.
        group: the data-parallel ranks, as for :class:`Window`.
        families: the families in use, as for :class:`Window`.
        timeout: how many seconds a collective may take before its group is retired.
        strict: let errors of diagnostics out, for tests and CI.

    Attributes:
        guard: counts and names what failed.
        mode: which window is observed.
        in_step: whether a step has begun that ``close`` has not reported.

    >>> metrics = TrainerMetrics(group="local")
    >>> metrics.open()
    >>> metrics.begin("train")
    >>> metrics.observe("token_acc", 3.0, 4)
    >>> metrics.end_step()
    >>> metrics.close("train", 1, {"loss": 1.25})
    {'token_acc': 0.75}
    """

    def __init__(
        self,
        registry: MetricsRegistry | None = None,
        reducer: LogitsReducer | None = None,
        *,
        hidden: HiddenTap | None = None,
        group: Group = None,
        families: Iterable[type[Family] | str] | None = None,
        timeout: float = 30.0,
        strict: bool = False,
    ) -> None:
        self.registry = registry if registry is not None else MetricsRegistry()
        self.reducer = reducer
        self.hidden = hidden
        self.guard = Guard(strict=strict)
        self._make_window = partial(
            Window, self.registry.catalogue, group, families=families, timeout=timeout
        )
        self._windows: dict[Mode, Window] = {}
        self.mode: Mode = "train"
        self.in_step = self._reducible = False
        self._begun = 0

    def open(self) -> None:
        """Make the windows: on every rank, once there are ranks. Further calls do nothing.

        Raises:
            RankError: ranks with another package or catalogue, or a rank that did not come.
        """
        for mode in MODES:
            if mode not in self._windows:
                self._windows[mode] = self._make_window()

    @property
    def window(self) -> Window:
        """The window of the mode that runs now: an evaluation does not touch an open step."""
        return self._windows[self.mode]

    def begin(self, mode: Mode) -> None:
        """A micro-batch of ``mode`` begins. What follows may fail; that it was there is known.

        So all ranks agree about which steps there are, whatever fails on one of them. What an
        interrupted micro-batch left unread is forgotten.
        """
        self.mode = mode
        for source in (self.reducer, self.hidden):
            if source is not None:
                source.discard()
        if mode == "train":
            self._begun += not self._reducible
            self.in_step = self._reducible = True

    def observe(self, metric: Any, *statistics: Any) -> None:
        """Fold one observation of yours into the open window; a fault costs only itself."""
        with self.guard.diagnostic("observing", getattr(metric, "key", metric)):
            self._windows[self.mode].observe(metric, *statistics)

    def reads(self, extras: BatchExtras) -> bool:
        """Whether ``observe_batch`` has anything to do for such a batch."""
        return self.reducer is not None or bool(extras.dropped)

    def observe_batch(
        self,
        outputs: Any,
        labels: Any,
        extras: BatchExtras | None = None,
        *,
        samples: int | None = None,
    ) -> None:
        """Read one micro-batch's logits.

        Args:
            outputs: what the model returned: a mapping or an object with ``logits``, or a tuple.
                Without logits, what ``update`` was given or the hidden states stand for them.
            labels: ``[B, S]``, as they were before any loss masked them.
            extras: what the collator sent along.
            samples: only the first so many rows count; the others pad the last batch of a set.
        """
        extras = extras or BatchExtras()
        if extras.dropped:
            with self.guard.diagnostic("counting dropped token types"):
                extras.observe(self.window)
        if self.reducer is None or self._passed_over(self.reducer, outputs):
            return
        with self.guard.diagnostic("reading the logits"):
            states = None if self.hidden is None else self.hidden.take()
            read_batch(self.reducer, self.window, outputs, labels, extras, samples, states)

    def _passed_over(self, reducer: LogitsReducer, outputs: Any) -> bool:
        """Whether only a tap could tell, and it reads another step; the same on all ranks."""
        if self.hidden is None or self.mode == "eval" or not (self._begun - 1) % self.hidden.every:
            return False
        return found_logits(outputs) is None and reducer.pending_rows is None

    def update(self, logits_chunk: Tensor, labels_chunk: Tensor, token_types: Any = None) -> None:
        """For a fused loss, on each of its chunks, as :meth:`LogitsReducer.update`.

        ``observe_batch`` then observes them with the token types of the batch; a fault costs only
        the metrics, never the loss.
        """
        if self.reducer is not None:
            with self.guard.diagnostic("reading a chunk of the logits"):
                self.reducer.update(logits_chunk, labels_chunk, token_types)

    def observe_loss(self, loss: Tensor, weight: float) -> None:
        """One micro-batch's share of the step's loss, and of the step; NaN stays NaN."""
        self.observe("loss", loss.item() if loss.is_cpu and not loss.dim() else loss, weight)

    def end_step(self) -> None:
        """Reduce what was observed since the last optimizer step, where that was not logged."""
        if self._reducible:
            self._reducible = False
            with self.guard.diagnostic("ending a step"):
                self._windows["train"].step()

    def close(
        self,
        mode: Mode,
        global_step: int,
        logged: Mapping[str, Any] | None = None,
        dataset: str | None = None,
    ) -> dict[str, float]:
        """Close the window of ``mode`` and emit its payload together with what the trainer logs.

        Args:
            logged: the trainer's own values, under names that the catalogue resolves.
            dataset: the name of the evaluation set.

        Returns:
            the finished values under train names, as floats; NaN where the loss or an atom is.
        """
        payload = self.finish(mode, global_step)
        self.emit(payload, logged or {}, dataset)
        return numbers(payload)

    def finish(self, mode: Mode, global_step: int) -> Payload:
        """Close the window of ``mode`` without emitting it."""
        self._count_faults()
        payload = Payload(mode, global_step, {})
        with self.guard.diagnostic(f"closing the {mode} window"):
            payload = self._windows[mode].close(mode=mode, global_step=global_step)
        if mode == "train":
            self.in_step = self._reducible = False
        return payload

    def emit(self, payload: Payload, logged: Mapping[str, Any], dataset: str | None = None) -> None:
        """Emit a payload, completed by what only the trainer knows; its own loss stands."""
        metrics = {**payload.metrics, **logged}
        metrics = {key: value for key, value in metrics.items() if key not in payload.nonfinite}
        with self.guard.diagnostic("emitting a payload"):
            self.registry.emit(replace(payload, metrics=metrics, dataset=dataset))

    def _count_faults(self) -> None:
        new = self.guard.taken()
        if new and Health.diagnostics_failed_total.key in self.registry.catalogue:
            self.window.observe(Health.diagnostics_failed_total, new)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, as plain numbers, the same on all ranks."""
        self.end_step()
        return self._windows["train"].state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, in a world of any size."""
        with self.guard.diagnostic("restoring the state of the metrics"):
            self._windows["train"].load_state_dict(state)


def numbers(payload: Payload) -> dict[str, float]:
    """All values of a payload as floats, NaN and infinities too.

    >>> numbers(Payload("train", 1, {"token_count": 4}, {"loss": "nan"}))
    {'token_count': 4.0, 'loss': nan}
    """
    return {key: float(value) for key, value in {**payload.metrics, **payload.nonfinite}.items()}
