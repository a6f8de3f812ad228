"""What dashboards keep: event files and offline W&B files, as samples of one step each."""

from __future__ import annotations

from collections.abc import Iterator

from .events import samples_of_events
from .limits import Limits
from .problems import Say
from .sampled import Sample
from .source import Shape
from .tfrecord import Frames
from .wandb_log import Messages
from .wandb_rows import samples_of_wandb
from .window import Window

__all__ = ["samples_in"]


def samples_in(
    path: str, shape: Shape, window: Window, size: int | None, limits: Limits, say: Say
) -> Iterator[Sample]:
    """The samples in a file of the given shape.

    Args:
        path: the file.
        shape: ``events`` or ``wandb``.
        window: its bytes.
        size: how many there are, None where that is unknown.
        limits: caps.
        say: takes what cannot be read.
    """
    if shape == "events":
        return samples_of_events(Frames(path, window, size, limits, say), limits, say)
    return samples_of_wandb(Messages(window, limits, say), limits, say)
