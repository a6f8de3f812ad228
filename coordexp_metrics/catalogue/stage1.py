"""The Stage-1 objective in parts: cross-entropy of text, and distribution losses at coordinates.

Counts are totals of everything in the window, so a value per sample is a ratio of sums and does not
depend on how the batch was cut.
"""

from __future__ import annotations

from functools import partial

from ..contract.declare import derived, flag, mean, quantile, total
from ..contract.family import Family
from ..contract.formula import parameter
from ..contract.functions import exp
from ..contract.law import at_most
from ..contract.units import BIN, COORD_TOKEN, LOGIT, NAT, OBJECTIVE, PROBABILITY, TEXT_TOKEN
from .conditions import COORD_LOSS
from .progress import Packing
from .vocabulary import COORD_RANGE, NOT_NEGATIVE, STAGE1, reference

ENABLED = COORD_LOSS.text

per_token = partial(mean, per=COORD_TOKEN)
per_sample = partial(derived, bounds=NOT_NEGATIVE)


class BaseCE(Family, pattern="base_ce/{name}", when=COORD_LOSS, emitted_by=(STAGE1,)):
    """The language-model term, over supervised tokens that are no coordinates."""

    loss = mean(
        "cross-entropy over the full vocabulary, coordinate targets masked out",
        per=TEXT_TOKEN,
        unit=NAT,
        better="lower",
        bounds=NOT_NEGATIVE,
        in_loss=True,
        source=reference(343),
    )
    noncoord_tokens = total(
        "supervised tokens that the base term is a mean over",
        unit=TEXT_TOKEN,
        absent_at_zero=True,
        source=reference(346),
    )
    noncoord_tokens_per_sample = per_sample(
        "supervised non-coordinate tokens of one original sample",
        noncoord_tokens / Packing.num_samples,
        unit=TEXT_TOKEN,
        source=reference(349),
    )
    loss_per_sample = per_sample(
        "what one original sample adds to the base term, summed over its tokens",
        loss * noncoord_tokens / Packing.num_samples,
        unit=NAT,
        better="lower",
        source=reference(352),
    )


class Stage1CoordDiag(Family, pattern="coord_diag/{name}", emitted_by=(STAGE1,)):
    """The coordinate term and its raw parts; a part with weight zero is still measured.

    In a pure cross-entropy ablation the keys stay, none is in the loss, and ``enabled`` says so.
    """

    enabled = flag("whether the coordinate term is added to the loss", source=reference(373))
    soft_ce = per_token(
        "cross-entropy between the distribution over bins and a Gaussian around the target bin",
        unit=NAT,
        better="lower",
        bounds=NOT_NEGATIVE,
        in_loss=True,
        in_loss_when=ENABLED,
        logged_aliases=("coord_softce_w1/soft_ce",),
        alias_switch="coord_diag/enabled",
        source=reference(382),
    )
    w1 = per_token(
        "Wasserstein-1 distance to the soft target, as a share of the range of the bins",
        unit=COORD_RANGE,
        better="lower",
        bounds=NOT_NEGATIVE,
        in_loss=True,
        in_loss_when=ENABLED,
        logged_aliases=("coord_softce_w1/w1",),
        alias_switch="coord_diag/enabled",
        source=reference(387),
    )
    ce = per_token(
        "cross-entropy of the target bin within the coordinate vocabulary",
        unit=NAT,
        better="lower",
        bounds=NOT_NEGATIVE,
        in_loss=True,
        in_loss_when=f"{ENABLED} and ce_weight != 0",
        logged_aliases=("coord_softce_w1/ce",),
        alias_switch="coord_diag/enabled",
        source=reference(391),
    )
    gate = per_token(
        "-log of the probability of the whole coordinate vocabulary, after temperature",
        unit=NAT,
        better="lower",
        bounds=NOT_NEGATIVE,
        in_loss=True,
        in_loss_when=f"{ENABLED} and gate_weight != 0",
        logged_aliases=("coord_softce_w1/gate",),
        alias_switch="coord_diag/enabled",
        source=reference(395),
    )
    loss = per_token(
        "the coordinate term, weights included",
        unit=OBJECTIVE,
        formula=parameter("soft_ce_weight") * soft_ce
        + parameter("w1_weight") * w1
        + parameter("ce_weight") * ce
        + parameter("gate_weight") * gate,
        better="lower",
        in_loss=True,
        in_loss_when=ENABLED,
        logged_aliases=("coord_softce_w1/loss",),
        alias_switch="coord_diag/enabled",
        source=reference(377),
    )
    coord_vocab_mass = per_token(
        "probability of the whole coordinate vocabulary",
        unit=PROBABILITY,
        better="higher",
        source=reference(400),
    )
    coord_tokens = total(
        "tokens whose target is a coordinate bin",
        unit=COORD_TOKEN,
        absent_at_zero=True,
        source=reference(405),
    )
    acc_top5 = per_token(
        "share whose target is among the five likeliest bins",
        better="higher",
        source=reference(410),
    )
    p_gt_mean = per_token(
        "probability of the target bin within the coordinate vocabulary, after temperature",
        unit=PROBABILITY,
        better="higher",
        source=reference(414),
    )
    margin_mean = per_token(
        "how far the target's logit lies below the greatest of the bins, after temperature",
        unit=LOGIT,
        better="lower",
        bounds=NOT_NEGATIVE,
        source=reference(418),
    )
    expected_bin_mae = per_token(
        "distance of the expected bin from the target bin",
        unit=BIN,
        better="lower",
        source=reference(422),
    )
    expected_bin_abs_err_p90 = quantile(
        0.9,
        "distance from the target bin within which 90 % of the expected bins lie",
        unit=BIN,
        per=COORD_TOKEN,
        better="lower",
        source=reference(427),
    )
    w1_to_delta = per_token(
        "expected distance from the target bin, which sees flatness that an expected bin hides",
        unit=BIN,
        better="lower",
        source=reference(433),
    )
    coord_tokens_per_sample = per_sample(
        "coordinate targets of one original sample",
        coord_tokens / Packing.num_samples,
        unit=COORD_TOKEN,
        source=reference(440),
    )
    loss_per_sample = derived(
        "what one original sample adds to the coordinate term, summed over its tokens",
        loss * coord_tokens / Packing.num_samples,
        unit=OBJECTIVE,
        better="lower",
        source=reference(444),
    )

    mass_and_gate = at_most(
        "a mean of exp(-gate) is at least exp of the mean (Jensen)",
        exp(0 - gate),
        coord_vocab_mass,
    )
    delta_and_expectation = at_most(
        "an expected distance is at least the distance of the expectation (Jensen)",
        expected_bin_mae,
        w1_to_delta,
    )


class Stage1(Family, pattern="stage1/{name}", when=COORD_LOSS, emitted_by=(STAGE1,)):
    """The Stage-1 objective as a whole."""

    total_loss_per_sample_est = derived(
        "what one original sample adds to both terms, about",
        BaseCE.loss_per_sample + Stage1CoordDiag.loss_per_sample,
        unit=OBJECTIVE,
        better="lower",
        source=reference(449),
    )
