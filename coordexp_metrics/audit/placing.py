"""Which keys of a record are out of place, and which are due: by conditions, variant and flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..catalogue import conditions as declared
from ..contract.catalogue import Catalogue
from ..contract.check import Plan
from ..contract.metric import Metric
from ..contract.units import Condition
from .conditions import Evidence, judge
from .context import VARIANTS, Variant

__all__ = ["TWO_CHANNEL", "Misplaced", "due_in", "lacking_in", "misplaced_in", "variant_of"]

TWO_CHANNEL: Variant = "stage2_two_channel"
ALIGNED: Variant = "stage2_rollout_aligned"
# What the contract says of whole families, be a key of theirs declared or not.
SPARSE = {
    "rollout/": "rollout_ran",
    "time/rollout_": "rollout_ran",
    "stage2_ab/channel_b/": "channel_b_ran",
    "coord_diag/B/": "channel_b_ran",
    "coord_diag/A2/": "coord_diag_self_context",
}
# The conditions that bring at least one key of a family into every record in which they hold.
BRINGING = {"rollout_ran": "rollout/", "channel_b_ran": "stage2_ab/channel_b/"}
# Kinds that are observed whenever their condition holds, be it with 0.
ALWAYS = frozenset({"total", "flag", "agreed"})
OPEN = "/reason/"
TEXTS = {c.name: c.text for c in vars(declared).values() if isinstance(c, Condition)}


class Misplaced(NamedTuple):
    """A key that should not be there."""

    position: int
    key: str
    metric: str | None
    rule: str
    why: str


def variant_of(plan: Plan) -> Variant | None:
    """The variant that the keys of a record prove: only one of them has a channel to choose."""
    proven = any(m.emitted_by == (TWO_CHANNEL,) for m in plan.names.metrics.values())
    return TWO_CHANNEL if proven else None


def misplaced_in(plan: Plan, evidence: Evidence) -> Iterator[Misplaced]:
    """The keys of ``plan`` that should not be there."""
    for position, key in enumerate(map(str, plan.names.keys)):
        metric = plan.names.metrics.get(position)
        canonical = None if metric is None else metric.key
        why = metric and _other_variant(metric, evidence)
        if why:
            yield Misplaced(position, key, canonical, "CXM415", why)
            continue
        why = _failing(key, metric, evidence)
        if why:
            yield Misplaced(position, key, canonical, "CXM411", why)


def _failing(key: str, metric: Metric | None, evidence: Evidence) -> str | None:
    """Why a condition of the key fails, None where none does."""
    name = key if metric is None else metric.key
    conditions = [condition for prefix, condition in SPARSE.items() if name.startswith(prefix)]
    if metric is not None and metric.when is not None:
        conditions.append(metric.when.name)
    for condition in conditions:
        verdict = judge(condition, evidence)
        if verdict.holds is False:
            return f"logged where {TEXTS[condition]}; here {verdict.why}"
    return None


def _other_variant(metric: Metric, evidence: Evidence) -> str | None:
    variant = evidence.context.variant
    if variant is None:
        return None
    if variant == ALIGNED and evidence.mode == "eval" and metric.key == "loss":
        return f"evaluation of {ALIGNED} computes no loss"
    trainers = set(metric.emitted_by)
    if not trainers or variant in trainers or not trainers <= set(VARIANTS):
        return None
    return f"logged by {' and '.join(metric.emitted_by)}; the run is {variant}"


def lacking_in(plan: Plan, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Families of which a record lacks every key, and why they are due."""
    if evidence.mode == "eval":
        return
    names = {str(key) for key in plan.names.keys} | set(plan.names.where)
    for condition, prefix in BRINGING.items():
        if condition == "channel_b_ran" and evidence.context.variant != TWO_CHANNEL:
            continue
        verdict = judge(condition, evidence)
        if verdict.holds and not any(name.startswith(prefix) for name in names):
            yield prefix, verdict.why


def due_in(catalogue: Catalogue, plan: Plan, evidence: Evidence) -> dict[str, bool]:
    """The counts that are due in a record, and whether it has them."""
    holding = {condition for condition in BRINGING if judge(condition, evidence).holds}
    if not holding:
        return {}
    return {
        metric.key: metric.key in plan.names.where
        for metric in catalogue.values()
        if metric.when is not None
        and metric.when.name in holding
        and metric.kind in ALWAYS
        and evidence.mode in metric.modes
        and not metric.internal
        and OPEN not in metric.key
    }
