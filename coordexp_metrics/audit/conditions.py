"""Whether a condition of the catalogue holds: by what a record says, or by what was told.

Where neither says anything the answer is None, and nothing is concluded from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..contract.metric import Mode
from .context import Context, Setting

__all__ = ["EVIDENCE", "SETTINGS", "Evidence", "Verdict", "judge"]

CHANNEL_B = "stage2/channel_b"
ROLLOUTS = "stage2/raw_rollouts"
COORD_LOSS = "coord_diag/enabled"
EMBEDDINGS = "rollout/desc_sem_enabled"
COCO_OK = "eval_rollout/coco_eval_ok"
# The keys whose values tell conditions, by train name.
EVIDENCE = (CHANNEL_B, ROLLOUTS, COORD_LOSS, EMBEDDINGS, "eval_rollout/desc_sem_enabled", COCO_OK)

ITERATIONS = "n_softctx_iter"
SELF_CONTEXT_WEIGHT = "token_ce.config.self_context_struct_ce_weight"
COORD_DIAG_WEIGHT = "coord_diag.weight"
COORD_LOSS_ENABLED = "custom.coord_soft_ce_w1.enabled"
TYPES = "custom.token_type_metrics.enabled"
TOP5 = "custom.token_type_metrics.log_top5"
MASS = "custom.token_type_metrics.coord_monitor_mass"
DETECTION = "rollout_matching.eval_detection.enabled"
DESC_MONITOR = "desc_monitor.enabled"
EVAL_STRATEGY = "training.eval_strategy"
# What can be told, for the message to somebody who tells something else.
SETTINGS = (
    ITERATIONS,
    SELF_CONTEXT_WEIGHT,
    COORD_DIAG_WEIGHT,
    COORD_LOSS_ENABLED,
    TYPES,
    TOP5,
    MASS,
    DETECTION,
    DESC_MONITOR,
    EVAL_STRATEGY,
    "custom.trainer_variant",
)
OFF = frozenset({0, "no", "false", "off", "none", ""})


class Verdict(NamedTuple):
    """Whether a condition holds, None where nothing tells, and what tells it."""

    holds: bool | None
    why: str = ""
    told: bool = False


@dataclass(frozen=True)
class Evidence:
    """What tells conditions in one record.

    Attributes:
        mode: its mode.
        flags: whether each of the keys in EVIDENCE that it has is above zero.
        context: what is known of the run.
    """

    mode: Mode
    flags: Mapping[str, bool]
    context: Context

    def flag(self, *keys: str) -> Verdict:
        """What the first of ``keys`` in the record says."""
        for key in keys:
            if key in self.flags:
                return Verdict(self.flags[key], f"{key} is {'above 0' if self.flags[key] else 0}")
        return UNKNOWN

    def on(self, name: str) -> Verdict:
        """What the setting ``name`` says."""
        value = self.context.setting(name)
        if value is None:
            return UNKNOWN
        return Verdict(_on(value), f"{name} is {value}", told=True)


UNKNOWN = Verdict(None)


def judge(condition: str, evidence: Evidence) -> Verdict:
    """Whether the condition of that name holds."""
    rule = RULES.get(condition)
    return UNKNOWN if rule is None else rule(evidence)


def _on(value: Setting) -> bool:
    return (value.lower() if isinstance(value, str) else value) not in OFF


def _all(*parts: Verdict) -> Verdict:
    """One that fails decides; all must hold for the whole to hold."""
    failing = next((part for part in parts if part.holds is False), None)
    if failing is not None:
        return failing
    return parts[-1] if all(part.holds for part in parts) else UNKNOWN


def _rollout(evidence: Evidence) -> Verdict:
    if evidence.mode == "eval":
        return UNKNOWN
    channel, rollouts = evidence.flag(CHANNEL_B), evidence.flag(ROLLOUTS)
    return rollouts if rollouts.holds or channel.holds is None else channel


def _iterations(evidence: Evidence) -> Verdict:
    value = evidence.context.setting(ITERATIONS)
    if type(value) not in {int, float}:
        return UNKNOWN
    return Verdict(float(value or 0) > 1, f"{ITERATIONS} is {value}", told=True)


def _coord_loss(evidence: Evidence) -> Verdict:
    found = evidence.flag(COORD_LOSS)
    return evidence.on(COORD_LOSS_ENABLED) if found.holds is None else found


def _two_channel(evidence: Evidence) -> Verdict:
    variant = evidence.context.variant
    told = Verdict(variant == "stage2_two_channel", f"the run is {variant}", told=True)
    return UNKNOWN if variant is None else told


def _desc_monitor(evidence: Evidence) -> Verdict:
    return _all(_rollout(evidence), evidence.on(DESC_MONITOR))


def _embeddings(evidence: Evidence) -> Verdict:
    found = evidence.flag(EMBEDDINGS, "eval_rollout/desc_sem_enabled")
    return _all(_desc_monitor(evidence), found) if found.holds is not False else found


RULES: dict[str, Callable[[Evidence], Verdict]] = {
    "rollout_ran": _rollout,
    "channel_b_ran": _rollout,
    "desc_monitor": _desc_monitor,
    "desc_embeddings": _embeddings,
    "two_channel": _two_channel,
    "self_context_text": lambda e: _all(_iterations(e), e.on(SELF_CONTEXT_WEIGHT)),
    "coord_diag_weight": lambda e: e.on(COORD_DIAG_WEIGHT),
    "coord_diag_self_context": lambda e: _all(_iterations(e), e.on(COORD_DIAG_WEIGHT)),
    "coord_loss": _coord_loss,
    "log_top5": lambda e: e.on(TOP5),
    "token_types": lambda e: e.on(TYPES),
    "token_types_top5": lambda e: _all(e.on(TYPES), e.on(TOP5)),
    "monitor_mass": lambda e: e.on(MASS),
    "monitor_mass_by_type": lambda e: _all(e.on(TYPES), e.on(MASS)),
    "eval_runs": lambda e: e.on(EVAL_STRATEGY),
    "eval_detection": lambda e: e.on(DETECTION),
    "eval_detection_ok": lambda e: _all(e.on(DETECTION), e.flag(COCO_OK)),
}
