"""Values and laws: what a number may be, alone and beside others."""

from __future__ import annotations

from .rule import Rule

__all__ = ["LAWS", "VALUES"]

VALUES = (
    Rule(
        "CXM301",
        "no-number",
        "error",
        "The value is no number: a string, null, or a container.",
        '"loss": "0.5"',
        '"loss": 0.5',
    ),
    Rule(
        "CXM302",
        "bool",
        "error",
        "The value is a bool; a flag is declared as one, and sent as 0 or 1.",
        '"rollout/do_sample": true',
        '"rollout/do_sample": 1',
    ),
    Rule(
        "CXM303",
        "non-finite",
        "warning",
        "The value is NaN or infinite.",
        '"nonfinite": {"loss": "nan"}',
        '"metrics": {"loss": 0.5}',
    ),
    Rule(
        "CXM304",
        "out-of-bounds",
        "error",
        "The value lies outside the bounds of its metric.",
        '"rollout/f1": 1.2',
        '"rollout/f1": 0.6',
        ("out_of_range",),
    ),
    Rule(
        "CXM305",
        "not-whole",
        "error",
        "A count is no whole number.",
        '"rollout/gt_objects_total": 12.5',
        '"rollout/gt_objects_total": 12',
        ("not_whole",),
    ),
    Rule(
        "CXM306",
        "progress-text",
        "warning",
        "A trainer's progress display stands among the metrics as text; it is read over.",
        '"percentage": "12.50%"',
        "a log without it",
    ),
)

LAWS = (
    Rule(
        "CXM401",
        "broken-law",
        "error",
        "An identity or inequality between metrics of one record does not hold.",
        '"rollout/precision": 0.9 beside 160 matched of 207 predictions',
        '"rollout/precision": 0.772947',
        ("law",),
    ),
    Rule(
        "CXM402",
        "doubtful-law",
        "warning",
        "A relation that nearly always holds does not.",
        "see the laws in the key reference",
        "see the laws in the key reference",
        ("law.weak",),
    ),
    Rule(
        "CXM501",
        "lossy-log",
        "error",
        "The writer says that it refused or lost something: the log is not all that happened.",
        '"health": {"contract/rejected_total": 3}',
        '"health": {}',
    ),
)
