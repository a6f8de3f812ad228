"""Predicted objects against ground truth, and how they were parsed and supervised.

Absent from steps that generated nothing. A rate is read from totals after the fold; where a total
has no key of its own, an underscored line holds it.
"""

from __future__ import annotations

from ..contract.declare import derived, mean, rate, total
from ..contract.family import Family
from ..contract.law import identity
from ..contract.units import (
    CANDIDATE_PAIR,
    COORD_TOKEN,
    FRACTION,
    INTERSECTION_OVER_UNION,
    OBJECT,
    PAIR,
    TAIL_TOKEN,
)
from .conditions import ROLLOUT_RAN
from .rollout_eval import EvalRollout
from .vocabulary import BOTH, NOT_NEGATIVE, STAGE2, TRAIN, UNIT_INTERVAL, reference


class Matching(
    Family,
    pattern="rollout/{name}",
    modes=TRAIN,
    when=ROLLOUT_RAN,
    emitted_by=STAGE2,
    source=reference(201),
):
    """Predicted objects against ground truth. The totals have other names in evaluation."""

    gt_objects_total = total(
        "ground-truth objects",
        unit=OBJECT,
        modes=BOTH,
        eval_twin=EvalRollout.gt_objects,
        source=reference(195),
    )
    valid_pred_objects_total = total(
        "predicted objects that parsed",
        unit=OBJECT,
        modes=BOTH,
        eval_twin=EvalRollout.pred_objects,
        source=reference(195),
    )
    matched_for_supervision = total(
        "matched predictions that are supervised",
        unit=OBJECT,
        better="higher",
        modes=BOTH,
        eval_twin=EvalRollout.matched,
        source=reference(197),
    )
    excluded_from_supervision = total(
        "matched predictions left out because their target could not be constructed",
        unit=OBJECT,
        better="lower",
        source=reference(197),
    )
    fn_appended_total = total(
        "ground-truth objects appended to the target as missed",
        unit=OBJECT,
        source=reference(199),
    )
    fn_total = derived(
        "ground-truth objects that no supervised prediction matched",
        gt_objects_total - matched_for_supervision,
        unit=OBJECT,
        better="lower",
        bounds=NOT_NEGATIVE,
        modes=BOTH,
        eval_twin=EvalRollout.fn,
        source=reference(199),
    )
    _candidate_pairs = total("pairs that the gate judged", unit=CANDIDATE_PAIR)
    gating_rejections = total(
        "candidate pairs below the maskiou_gate threshold",
        unit=CANDIDATE_PAIR,
        source=reference(201),
    )
    gating_rejection_rate = rate(
        "share of candidate pairs below the maskiou_gate threshold",
        gating_rejections,
        _candidate_pairs,
        better="lower",
        source=reference(201),
    )
    precision = rate(
        "share of predicted objects that are matched",
        matched_for_supervision,
        valid_pred_objects_total,
        better="higher",
        modes=BOTH,
        source=reference(204, 299),
    )
    recall = rate(
        "share of ground-truth objects that are matched",
        matched_for_supervision,
        gt_objects_total,
        better="higher",
        modes=BOTH,
        source=reference(204, 299),
    )
    f1 = derived(
        "harmonic mean of precision and recall; 0 where nothing matches",
        2 * matched_for_supervision / (valid_pred_objects_total + gt_objects_total),
        unit=FRACTION,
        better="higher",
        modes=BOTH,
        source=reference(204, 299),
    )
    matched_maskiou_mean = mean(
        "mask overlap of matched pairs on the norm1000 canvas: geometry, apart from counts",
        per=PAIR,
        unit=INTERSECTION_OVER_UNION,
        better="higher",
        bounds=UNIT_INTERVAL,
        modes=BOTH,
        source=reference(207, 305),
    )
    matched_maskiou_count = total(
        "matched pairs whose overlap was measured", unit=PAIR, source=reference(207)
    )
    excluded_rate = derived(
        "share of matched predictions left out; high where target construction is unstable",
        excluded_from_supervision / (matched_for_supervision + excluded_from_supervision),
        unit=FRACTION,
        better="lower",
        source=reference(230),
    )


class Parsing(Family, pattern="rollout/{name}", modes=TRAIN, when=ROLLOUT_RAN, emitted_by=STAGE2):
    """What strict parsing made of the predicted objects."""

    parse_dropped_invalid = total(
        "predicted objects dropped as invalid",
        unit=OBJECT,
        better="lower",
        modes=BOTH,
        source=reference(180, 303),
    )
    parse_dropped_ambiguous = total(
        "predicted objects dropped as ambiguous",
        unit=OBJECT,
        better="lower",
        modes=BOTH,
        source=reference(180, 303),
    )
    parse_obj_total = derived(
        "predicted objects, valid or dropped",
        Matching.valid_pred_objects_total + parse_dropped_invalid + parse_dropped_ambiguous,
        unit=OBJECT,
        bounds=NOT_NEGATIVE,
        source=reference(184),
    )
    parse_obj_valid_frac = derived(
        "share of predicted objects that are valid",
        Matching.valid_pred_objects_total / parse_obj_total,
        unit=FRACTION,
        better="higher",
        source=reference(186),
    )
    parse_obj_drop_frac = derived(
        "share of predicted objects that strict parsing dropped",
        (parse_dropped_invalid + parse_dropped_ambiguous) / parse_obj_total,
        unit=FRACTION,
        better="lower",
        source=reference(186),
    )

    valid_or_dropped = identity(
        "an object is valid or dropped", parse_obj_valid_frac + parse_obj_drop_frac, 1
    )


class Coverage(
    Family,
    pattern="rollout/{name}",
    modes=TRAIN,
    when=ROLLOUT_RAN,
    emitted_by=STAGE2,
    source=reference(237),
):
    """How much of the prefix and of the appended tail is supervised."""

    prefix_coord_targets_total = total(
        "coordinate slots supervised in the rollout prefix",
        unit=COORD_TOKEN,
        source=reference(234),
    )
    prefix_coord_targets_per_matched = derived(
        "supervised coordinate slots of one matched object",
        prefix_coord_targets_total / Matching.matched_for_supervision,
        unit=COORD_TOKEN,
        bounds=NOT_NEGATIVE,
        source=reference(234),
    )
    _tail_tokens = total("tokens of the appended ground-truth tail", unit=TAIL_TOKEN)
    _tail_tokens_ignored = total("tail tokens that description masking ignores", unit=TAIL_TOKEN)
    tail_ignore_frac = rate(
        "share of appended tail tokens that description masking keeps out of the cross-entropy",
        _tail_tokens_ignored,
        _tail_tokens,
        source=reference(237),
    )
