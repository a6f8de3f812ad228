"""The rules as a table: what is wrong, how bad it is, and what it looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["RULES", "RULE_OF_CODE", "Rule", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is checked.

    Attributes:
        id: ``CXM`` and a number that never changes its meaning.
        name: a short name.
        severity: errors gate; warnings gate under ``--strict``; notes never do.
        text: what a finding says, in one sentence.
        bad: an example with the fault.
        good: the same without.
        codes: what readers and the contract call it.
    """

    id: str
    name: str
    severity: Severity
    text: str
    bad: str
    good: str
    codes: tuple[str, ...] = ()


_FILES = (
    Rule(
        "CXM101",
        "unreadable-file",
        "error",
        "The file cannot be opened, is a link, pipe or device, or is beyond the cap on its size.",
        "latest.jsonl -> runs/a/metrics.jsonl",
        "runs/a/metrics.jsonl",
        ("file.unreadable", "file.not_regular", "file.too_large"),
    ),
    Rule(
        "CXM102",
        "foreign-file",
        "error",
        "The file holds something other than JSON: an archive, a pickle, a binary, CSV, HTML.",
        "metrics.jsonl.gz",
        "metrics.jsonl",
        ("file.foreign",),
    ),
    Rule(
        "CXM103",
        "newer-format",
        "error",
        "The log was written by a newer major version, so its numbers may mean something else.",
        '{"header": {"format": 2, "package": "2.0.0"}}',
        '{"header": {"format": 1, "package": "0.1.0"}}',
        ("file.newer", "schema_version.unsupported"),
    ),
    Rule(
        "CXM104",
        "changed-file",
        "warning",
        "The file changed while it was read; what it held when it was opened was checked.",
        "validating the log of a run that goes on",
        "validating the log of a run that is over",
        ("file.changed",),
    ),
    Rule(
        "CXM105",
        "empty-log",
        "warning",
        "The file holds no record, as after a run that ended before its first step.",
        '{"header": {"format": 1}}',
        '{"header": {"format": 1}}, then {"schema_version": 1, "mode": "train", ...}',
        ("file.empty",),
    ),
)

_LINES = (
    Rule(
        "CXM111",
        "long-line",
        "error",
        "The line is longer than 1 MiB and was skipped unread.",
        '{"loss": 1.0, "blob": "AAAA... 10 GB"}',
        '{"loss": 1.0, "step": 7}',
        ("line.too_long",),
    ),
    Rule(
        "CXM112",
        "no-json",
        "error",
        "The line is no JSON.",
        '{"loss": 1.0, "step": 7,}',
        '{"loss": 1.0, "step": 7}',
        ("json.syntax",),
    ),
    Rule(
        "CXM113",
        "torn-tail",
        "warning",
        "The last line breaks off, as after a crash; everything before it was checked.",
        '{"loss": 1.0, "st',
        '{"loss": 1.0, "step": 7}',
        ("torn_tail",),
    ),
    Rule(
        "CXM114",
        "two-values",
        "error",
        "The line holds more than one JSON value, as two writers of one file leave it.",
        '{"loss": 1.0, "step": 7}{"loss": 0.9, "step": 8}',
        '{"loss": 1.0, "step": 7}',
        ("json.two_values",),
    ),
    Rule(
        "CXM115",
        "duplicate-key",
        "error",
        "A key stands twice in one object; where its values differ, neither is taken.",
        '{"loss": 1.0, "loss": 2.0, "step": 7}',
        '{"loss": 1.0, "step": 7}',
        ("json.duplicate_key",),
    ),
    Rule(
        "CXM116",
        "nan-token",
        "warning",
        "NaN or Infinity stands as a bare word, which is not JSON; it is read as non-finite.",
        '{"loss": NaN, "step": 7}',
        '{"schema_version": 1, ..., "metrics": {}, "nonfinite": {"loss": "nan"}}',
        ("json.nan_token",),
    ),
    Rule(
        "CXM117",
        "overflowing-number",
        "error",
        "A number is beyond the range of a float; its key is not taken.",
        '{"loss": 1e999, "step": 7}',
        '{"loss": 1e9, "step": 7}',
        ("json.overflow",),
    ),
    Rule(
        "CXM118",
        "bad-encoding",
        "error",
        "The line is not UTF-8, or holds NUL bytes as a crash leaves them.",
        '{"loss\\xff": 1.0}',
        '{"loss": 1.0}',
        ("json.utf8", "json.nul"),
    ),
    Rule(
        "CXM119",
        "odd-form",
        "note",
        "Blank lines, CR LF, a byte order mark or -0: read without loss here, not by every tool.",
        '{"loss": -0, "step": 7}\\r\\n',
        '{"loss": 0.0, "step": 7}\\n',
        ("json.blank", "json.crlf", "json.bom", "json.minus_zero"),
    ),
    Rule(
        "CXM120",
        "too-much",
        "error",
        "The row is nested too deeply, or holds more keys than the contract takes.",
        '{"loss": [[[[[[[[...]]]]]]]]}',
        '{"loss": 1.0}',
        ("json.depth", "metrics.too_many"),
    ),
    Rule(
        "CXM121",
        "no-object",
        "error",
        "The line is JSON, but no object.",
        "[1.0, 7]",
        '{"loss": 1.0, "step": 7}',
        ("line.not_object",),
    ),
)

_ENVELOPE = (
    Rule(
        "CXM131",
        "bad-envelope",
        "error",
        "A required section of the payload is missing or wrong; the record was not taken.",
        '{"schema_version": "1", "mode": "train", "global_step": 7, "metrics": {"loss": 1.0}}',
        '{"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.0}}',
        (
            "schema_version.missing",
            "schema_version.type",
            "mode.missing",
            "mode.value",
            "global_step.missing",
            "global_step.type",
            "global_step.range",
            "metrics.missing",
            "metrics.type",
            "nonfinite.type",
            "nonfinite.value",
            "coverage.type",
            "dataset.type",
            "payload.section",
            "header.format",
            "trainer.log_history",
        ),
    ),
    Rule(
        "CXM132",
        "no-step",
        "error",
        "The row names no step, and none is invented; it was not taken.",
        '{"loss": 1.0}',
        '{"loss": 1.0, "step": 7}',
        ("step_unresolved",),
    ),
    Rule(
        "CXM133",
        "unknown-section",
        "warning",
        "The payload has a section that version 1 does not know; it is kept.",
        '{"schema_version": 1, ..., "metrics": {}, "notes": {}}',
        '{"schema_version": 1, ..., "metrics": {}}',
        ("section.unknown",),
    ),
)

_NAMES = (
    Rule(
        "CXM201",
        "unknown-key",
        "error",
        "The key is not in the catalogue.",
        "coord_diag/acc_topp5",
        "coord_diag/acc_top5",
        ("unregistered",),
    ),
    Rule(
        "CXM202",
        "removed-key",
        "error",
        "The key was removed from the contract; others carry its meaning.",
        "loss/ce",
        "base_ce/loss",
        ("removed",),
    ),
    Rule(
        "CXM203",
        "internal-key",
        "error",
        "An internal helper left the trainer: its last segment starts with an underscore.",
        "rollout/_samples",
        "rollout/gt_per_sample",
        ("internal",),
    ),
    Rule(
        "CXM204",
        "suppressed-key",
        "warning",
        "The key is suppressed in this mode, yet it was logged.",
        "eval_rollout/bbox_AP50",
        "eval_rollout/mAP",
        ("key.suppressed",),
    ),
    Rule(
        "CXM205",
        "wrong-name-for-mode",
        "error",
        "The key belongs to the other mode, or its prefix was put on twice.",
        "eval_eval_loss",
        "eval_loss",
        ("wrong_mode",),
    ),
    Rule(
        "CXM206",
        "conflicting-spellings",
        "error",
        "Two spellings of one metric stand in one record with different values.",
        '{"coord_diag/loss": 1.0, "coord_softce_w1/loss": 2.0}',
        '{"coord_diag/loss": 1.0, "coord_softce_w1/loss": 1.0}',
        ("collision",),
    ),
    Rule(
        "CXM207",
        "undeclared-family",
        "error",
        "No key with this prefix is in the catalogue: declare the family, or carry it.",
        "diag/duplicate_burst/num_terms",
        "the same with --carry 'diag/*'",
    ),
    Rule(
        "CXM208",
        "no-key",
        "error",
        "The name is no key: keys are segments of printable ASCII, joined by slashes.",
        "loss\\n",
        "loss",
        ("key.grammar", "key.type"),
    ),
    Rule(
        "CXM209",
        "other-definition",
        "warning",
        "The log was made under another definition of this key: kind, unit, population or formula.",
        'header: "definitions": {"rollout/f1": "0123456789abcdef"}',
        "the catalogue that the run used, given with --catalogue",
    ),
)

_VALUES = (
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

_LAWS = (
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

RULES: dict[str, Rule] = {
    rule.id: rule for rule in (*_FILES, *_LINES, *_ENVELOPE, *_NAMES, *_VALUES, *_LAWS)
}
RULE_OF_CODE: dict[str, str] = {code: rule.id for rule in RULES.values() for code in rule.codes}
