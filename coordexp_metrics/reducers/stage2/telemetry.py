"""What a Stage-2 trainer says of a step is observed where it is said.

A Channel-A step says nothing of rollouts, so their keys and times are absent from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from ...catalogue.progress import PostRolloutPacking, Progress
from ...catalogue.two_channel import Stage2
from ...contract.errors import DeclarationError, ObservationError
from ...window import Window
from ..fact_reading import Samples
from ..rollouts import RolloutReducer
from .atoms import Channel, Number, ObjectiveAtoms
from .coord_diagnostics import CoordDiagnostics
from .timings import RolloutTimings

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Schedule", "Stage2Telemetry"]


class Schedule(Protocol):
    """What says how often Channel-B ran of late."""

    def record(self, ran_b: bool, /) -> tuple[int, int]:
        """Note one optimizer step; Channel-B steps and all steps of the rolling window."""


class Stage2Telemetry:
    """What a Stage-2 trainer calls; whatever is not given is not observed.

    Args:
        window: where everything goes.
        rollouts: reads the facts of rollouts; its variant is the trainer's.
        atoms: which atoms the objective has.
        coord_diag: which forward passes are diagnosed.
        schedule: the schedule of the channels, with ``record(ran_b)``.
        synchronize: see ``RolloutTimings``.

    >>> from coordexp_metrics import CATALOGUE
    >>> from coordexp_metrics.rollouts import RolloutFacts
    >>> window = Window(CATALOGUE, group="local")
    >>> say = Stage2Telemetry(window, RolloutReducer(variant="stage2_two_channel"))
    >>> with say.generate():
    ...     generated = [RolloutFacts(gen_new_tokens=7, truncated=False)]
    >>> say.rollouts(generated)
    >>> say.pack(tokens=900, capacity=1000, segments=3, buffer=1)
    >>> say.micro_step(samples=1)
    >>> say.end_step("B")
    >>> metrics = window.close(mode="train", global_step=1).metrics
    >>> metrics["stage2/channel_b"], metrics["packing/post_rollout_fill"]
    (1, 0.9)
    """

    def __init__(
        self,
        window: Window,
        rollouts: RolloutReducer | None = None,
        atoms: ObjectiveAtoms | None = None,
        coord_diag: CoordDiagnostics | None = None,
        schedule: Schedule | None = None,
        synchronize: Callable[[], object] | None = None,
    ) -> None:
        self.window = window
        self.reducer = rollouts or RolloutReducer(variant="stage2_two_channel")
        self.atoms = atoms
        self.diagnostics = coord_diag
        self.schedule = schedule
        self.timings = RolloutTimings(window, synchronize)

    def generate(self) -> AbstractContextManager[None]:
        """Time spent generating."""
        return self.timings.generate()

    def parse_match(self) -> AbstractContextManager[None]:
        """Time spent parsing and matching."""
        return self.timings.parse_match()

    def teacher_encode(self) -> AbstractContextManager[None]:
        """Time spent encoding teacher-forced targets."""
        return self.timings.teacher_encode()

    def rollouts(self, samples: Samples) -> None:
        """The facts of rollouts; see ``RolloutReducer.observe``."""
        self.reducer.observe(self.window, samples)

    def objective(
        self,
        channel: Channel,
        terms: Mapping[str, Number],
        *,
        weight: Number,
        loss: Number | None = None,
        as_means: bool = False,
    ) -> None:
        """The objective of one micro-batch; see ``ObjectiveAtoms.observe``.

        Raises:
            DeclarationError: nobody said which atoms there are.
        """
        if self.atoms is None:
            raise DeclarationError("atoms must be given before an objective can be observed")
        self.atoms.observe(self.window, channel, terms, weight=weight, loss=loss, as_means=as_means)

    def coord_diag(
        self, logits: Tensor, labels: Tensor, *, channel: Channel, iteration: int = 0
    ) -> None:
        """The logits of one forward pass; see ``CoordDiagnostics.observe``."""
        if self.diagnostics is not None:
            self.diagnostics.observe(
                self.window, logits, labels, channel=channel, iteration=iteration
            )

    def pack(self, *, tokens: int, capacity: int, segments: int, buffer: int) -> None:
        """One pack made after the rollout (metrics_and_losses.md:250).

        Args:
            tokens: what it holds.
            capacity: what it could hold.
            segments: the samples in it.
            buffer: the samples that wait for a later pack.

        Raises:
            ObservationError: a pack that cannot be.
        """
        if not 0 <= tokens <= capacity or not capacity:
            why = f"must be from 0 to the capacity of {capacity!r}, which is above 0"
            raise ObservationError(PostRolloutPacking.post_rollout_fill.key, "tokens", tokens, why)
        self.window.observe(PostRolloutPacking.post_rollout_fill, tokens / capacity, 1)
        self.window.observe(PostRolloutPacking.post_rollout_segments, segments, 1)
        self.window.observe(PostRolloutPacking.post_rollout_buffer, buffer, 1)

    def micro_step(self, samples: Number) -> None:
        """One micro-step of so many raw samples, whatever the packing (metrics_and_losses.md:537).

        On Channel-A they come from the dataset, on Channel-B from the rollouts.
        """
        self.window.observe(Progress.samples_total, samples)
        self.window.observe(Progress.micro_steps, 1)

    def end_step(self, channel: Channel) -> None:
        """The end of an optimizer step of a two-channel trainer: what ran, and how often of late.

        Every rank calls it once an optimizer step.

        Raises:
            ObservationError: no such channel.
        """
        if channel not in {"A", "B"}:
            raise ObservationError(Stage2.channel_b.key, "channel", channel, "must be 'A' or 'B'")
        if self.reducer.variant != "stage2_two_channel":
            return
        self.window.observe(Stage2.channel_b, int(channel == "B"))
        if self.schedule is not None:
            of_channel_b, steps = self.schedule.record(channel == "B")
            self.window.observe("stage2_ab/_channel_b_steps", of_channel_b)
            self.window.observe("stage2_ab/_window_steps", steps)
