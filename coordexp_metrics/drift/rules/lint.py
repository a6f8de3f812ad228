"""Sources and configurations: what a key that they name gets wrong. Examples are Python."""

from __future__ import annotations

from ...audit.rules.rule import Rule

__all__ = ["LINT"]

LINT = (
    Rule(
        "CXM201",
        "unknown-key",
        "error",
        "The key is not in the catalogue: it is misspelt, or its prefix is the catalogue's.",
        'registry.emit({"rolout/f1": 0.5})',
        'registry.emit({"rollout/f1": 0.5})',
    ),
    Rule(
        "CXM202",
        "removed-key",
        "error",
        "The key was removed from the contract; others carry its meaning.",
        'self.log({"loss/bbox_geo_obj": loss})',
        'self.log({"loss/B_coord/bbox_ciou": loss})',
    ),
    Rule(
        "CXM203",
        "internal-key",
        "error",
        "An internal helper is logged: its last segment starts with an underscore.",
        'self.log("rollout/_samples", count)',
        'window.observe("rollout/_samples", count)',
    ),
    Rule(
        "CXM205",
        "wrong-name-for-mode",
        "error",
        "The prefix of a mode was put on twice.",
        'args = Arguments(metric_for_best_model="eval_eval_rollout/f1")',
        'args = Arguments(metric_for_best_model="rollout/f1")',
    ),
    Rule(
        "CXM210",
        "deprecated-key",
        "warning",
        "The key is deprecated, and says what to use instead and until when.",
        'self.log("panels/found", count)',
        'self.log("panels/found_total", count)',
    ),
    Rule(
        "CXM221",
        "unused-ignore",
        "warning",
        "The comment excuses nothing: what it was for is gone.",
        'self.log("rollout/f1", f1)  # cxm: ignore[CXM201]',
        'self.log("rollout/f11", f1)  # cxm: ignore[CXM201]',
    ),
    Rule(
        "CXM222",
        "unparsable-source",
        "warning",
        "The source is no Python that this interpreter reads, so its keys are not checked.",
        'self.log("rollout/f1", f1',
        'self.log("rollout/f1", f1)',
    ),
)
