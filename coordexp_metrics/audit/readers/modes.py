"""A row tells its mode by its keys alone: names of evaluation, or none."""

from __future__ import annotations

from typing import TypeAlias

from ...contract.metric import Mode

__all__ = ["EVAL_FORMS", "NEUTRAL", "PROGRESS", "PROGRESS_TEXT", "STEP_KEYS", "Modes", "modes_of"]

EVAL_FORMS = ("eval_", "eval/", "test_", "test/")
PROGRESS = "global_step/max_steps"
STEP_KEYS = (PROGRESS, "step", "global_step")
# What trainers write into rows of either mode.
NEUTRAL = frozenset(
    {
        *STEP_KEYS,
        "epoch",
        "percentage",
        "elapsed_time",
        "remaining_time",
        "memory(GiB)",
        "train_speed(iter/s)",
        "total_flos",
        "num_input_tokens_seen",
    }
)
# What ms-swift shows to people.
PROGRESS_TEXT = frozenset({PROGRESS, "percentage", "elapsed_time", "remaining_time"})

Modes: TypeAlias = tuple[tuple[Mode, tuple[str, ...] | None], ...]


def modes_of(keys: tuple[str, ...]) -> Modes:
    """The modes in a row, with the keys of each where there are two.

    >>> modes_of(("eval/loss", "train/epoch"))
    (('eval', None),)
    """
    evaluated = frozenset(key for key in keys if key.startswith(EVAL_FORMS))
    if not evaluated:
        return (("train", None),)
    if all(key in evaluated or neutral(key) for key in keys):
        return (("eval", None),)
    rest = tuple(key for key in keys if key not in evaluated)
    return (("train", rest), ("eval", tuple(key for key in keys if key in evaluated)))


def neutral(key: str) -> bool:
    """Whether rows of either mode have ``key``; callbacks write ``train/`` before it."""
    return key.removeprefix("train/") in NEUTRAL or key.startswith("contract/")
