"""Presence: what stands where it should not, and what is missing; seen only by ``live-check``."""

from __future__ import annotations

from .rule import Rule

__all__ = ["PRESENCE"]

PRESENCE = (
    Rule(
        "CXM411",
        "present-without-cause",
        "error",
        "The key stands in a record although the condition under which it is logged fails.",
        '"rollout/f1": 0.4 beside "stage2/channel_b": 0',
        "no rollout/* on a step without a rollout",
    ),
    Rule(
        "CXM412",
        "zero-for-absent",
        "error",
        "A literal 0 stands where nothing was measured; absent is not zero.",
        '"time/rollout_generate_s": 0.0 beside "stage2/channel_b": 0',
        "no time/rollout_generate_s on a step without a rollout",
    ),
    Rule(
        "CXM413",
        "absent-though-due",
        "error",
        "A condition holds, yet none of the keys that it brings is there.",
        '"stage2/raw_rollouts": 96 and no rollout/*',
        '"stage2/raw_rollouts": 96 beside "rollout/gt_objects_total": 512',
    ),
    Rule(
        "CXM414",
        "now-and-then",
        "warning",
        "A count is missing from some of the records whose condition holds, and stands in others.",
        "rollout/gt_objects_total in 60 of 100 steps with a rollout",
        "rollout/gt_objects_total in all of them, 0 where nothing was counted",
    ),
    Rule(
        "CXM415",
        "other-variant",
        "error",
        "The key belongs to another trainer variant than the run's.",
        '"coord_diag/loss" beside "stage2/channel_b"',
        '"coord_diag/B/acc_top5" beside "stage2/channel_b"',
    ),
    Rule(
        "CXM416",
        "required-key",
        "error",
        "A key that was required was never met.",
        "--require eval_rollout/f1 on a log without evaluation",
        "--require eval_rollout/f1 on a log that has it",
    ),
    Rule(
        "CXM417",
        "low-coverage",
        "error",
        "Fewer of the declared keys were met than asked for.",
        "--fail-on-coverage-below 80 on a log with 40 % of them",
        "--fail-on-coverage-below 80 on a log with 90 % of them",
    ),
    Rule(
        "CXM418",
        "changed-definition",
        "error",
        "Two logs were made under different definitions of this key; do not compare its numbers.",
        "rollout/f1 over all objects in one run, over matched ones in the next",
        "one definition in both headers",
    ),
)
