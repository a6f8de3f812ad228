"""What the coordinate distributions of a Stage-2 forward pass look like."""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from ..contract.declare import mean, quantile, total
from ..contract.family import FamilyOver
from ..contract.units import BIN, COORD_TOKEN, LOGIT, PROBABILITY
from .conditions import COORD_DIAG_SELF_CONTEXT, COORD_DIAG_WEIGHT
from .vocabulary import NOT_NEGATIVE, STAGE2, reference

per_token = partial(mean, per=COORD_TOKEN)


class Forward(StrEnum):
    """The forward pass whose logits were read."""

    GT_ANCHOR = "A1"
    SELF_CONTEXT = "A2"
    ROLLOUT = "B"


class CoordDiag(
    FamilyOver[Forward],
    pattern="coord_diag/{provenance}/{name}",
    when=COORD_DIAG_WEIGHT,
    when_over={Forward.SELF_CONTEXT: COORD_DIAG_SELF_CONTEXT},
    emitted_by=STAGE2,
    source=reference(116),
):
    """Read at tokens whose target is a coordinate bin; never part of the loss."""

    coord_tokens_total = total(
        "tokens read: those whose target is a coordinate bin",
        unit=COORD_TOKEN,
        absent_at_zero=True,
        source=reference(115),
    )
    acc_top5 = per_token("share whose target is among the five likeliest bins", better="higher")
    p_gt_mean = per_token(
        "probability of the target bin within the coordinate vocabulary, after temperature",
        unit=PROBABILITY,
        better="higher",
    )
    margin_mean = per_token(
        "how far the target's logit lies below the greatest of the bins, after temperature",
        unit=LOGIT,
        better="lower",
        bounds=NOT_NEGATIVE,
    )
    expected_bin_mae = per_token(
        "distance of the expected bin from the target bin", unit=BIN, better="lower"
    )
    expected_bin_abs_err_p90 = quantile(
        0.9,
        "distance from the target bin within which 90 % of the expected bins lie",
        unit=BIN,
        per=COORD_TOKEN,
        better="lower",
    )
    coord_vocab_mass_mean = per_token(
        "probability of the whole coordinate vocabulary", unit=PROBABILITY, better="higher"
    )
