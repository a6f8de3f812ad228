"""Names that only evaluation has; some are what a total of training is called there."""

from __future__ import annotations

from ..contract.declare import derived, flag, mean, total
from ..contract.family import Family
from ..contract.units import OBJECT
from .conditions import DESC_MONITOR, EVAL_DETECTION, EVAL_DETECTION_OK, EVAL_RUNS
from .vocabulary import (
    AVERAGE_PRECISION,
    EVALUATION,
    NOT_NEGATIVE,
    STAGE2,
    UNIT_INTERVAL,
    reference,
)


class EvalRollout(
    Family, pattern="eval_rollout/{name}", modes=("eval",), when=EVAL_RUNS, emitted_by=STAGE2
):
    """Rollout, parse and match over the whole evaluation set, all ranks together."""

    pred_objects = total(
        "predicted objects that parsed, over the evaluation set",
        unit=OBJECT,
        source=reference(300),
    )
    gt_objects = total(
        "ground-truth objects of the evaluation set", unit=OBJECT, source=reference(300)
    )
    matched = total(
        "predictions matched to ground truth", unit=OBJECT, better="higher", source=reference(300)
    )
    fp = derived(
        "predicted objects that match no ground truth",
        pred_objects - matched,
        unit=OBJECT,
        better="lower",
        bounds=NOT_NEGATIVE,
        source=reference(301),
    )
    fn = derived(
        "ground-truth objects that no prediction matched",
        gt_objects - matched,
        unit=OBJECT,
        better="lower",
        bounds=NOT_NEGATIVE,
        source=reference(301),
    )
    desc_sem_enabled = flag(
        "whether every rank had the embedding model that compares descriptions",
        everywhere=True,
        when=DESC_MONITOR,
        source=reference(316),
    )
    mAP = mean(  # noqa: N815
        "COCO mean average precision, absent where COCO failed",
        per=EVALUATION,
        unit=AVERAGE_PRECISION,
        better="higher",
        bounds=UNIT_INTERVAL,
        when=EVAL_DETECTION_OK,
        source=reference(306),
    )
    coco_eval_ok = flag(
        "whether the COCO evaluation succeeded; 0 where it fell back",
        everywhere=True,
        better="higher",
        when=EVAL_DETECTION,
        source=reference(307),
    )
