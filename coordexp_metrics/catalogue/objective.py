"""The loss and its atoms: one population, so that the atoms add up to the loss.

An atom is a term of the objective after its weights. An active atom without tokens observes
``(0, weight)``; an atom whose weight is zero is absent.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from ..contract.declare import mean
from ..contract.family import Family, FamilyOver
from ..contract.units import NORMALISER, OBJECTIVE
from .conditions import ATOM_WEIGHT, SELF_CONTEXT_TEXT
from .vocabulary import ALL_STAGES, STAGE2, TRANSFORMERS, TWO_CHANNEL, reference

atom = partial(mean, per=NORMALISER, unit=OBJECTIVE, in_loss=True, better="lower")


class Objective(Family, pattern="{name}", emitted_by=(*ALL_STAGES, TRANSFORMERS)):
    """What the optimizer minimises. Rollout-aligned evaluation has none: it only rolls out."""

    loss = atom("mean objective of one optimizer step", source=reference(556))


class TextContext(StrEnum):
    """What the model had read before the text whose cross-entropy is taken."""

    GT_ANCHOR = "A1_text"
    ROLLOUT = "B_rollout_text"


class TextLoss(
    FamilyOver[TextContext],
    pattern="loss/{provenance}/{name}",
    when=ATOM_WEIGHT,
    emitted_by=STAGE2,
    source=reference(65, 70),
):
    """Cross-entropy of text after ground truth, or after the model's own rollout."""

    struct_ce = atom("cross-entropy at JSON structure, the closing markers included")
    desc_ce = atom("cross-entropy at the tokens of description values")


class SelfContextTextLoss(
    Family,
    pattern="loss/A2_text/{name}",
    provenance="A2_text",
    when=SELF_CONTEXT_TEXT,
    emitted_by=(TWO_CHANNEL,),
    source=reference(66),
):
    """Keeps format and closure stable in the last self-context pass: structure only."""

    struct_ce = atom("cross-entropy at JSON structure and <|im_end|>")


class Pass(StrEnum):
    """The forward pass whose coordinate logits are trained."""

    A2 = "A2_coord"
    B = "B_coord"


class CoordLoss(
    FamilyOver[Pass],
    pattern="loss/{provenance}/{name}",
    when=ATOM_WEIGHT,
    emitted_by=STAGE2,
    source=reference(68, 72),
):
    """Terms on decoded boxes, and on the distribution over coordinate bins."""

    bbox_smoothl1 = atom("smooth L1 between decoded and true boxes", source=reference(67, 71))
    bbox_ciou = atom("complete-IoU loss of decoded boxes", source=reference(67, 71))

    coord_token_ce = atom("cross-entropy of the token of the target bin alone")
    coord_soft_ce = atom("cross-entropy against a Gaussian around the target bin")
    coord_w1 = atom("Wasserstein-1 distance from the target distribution over bins")
    coord_el1 = atom("absolute error of the coordinate decoded by expectation")
    coord_ehuber = atom("Huber error of the coordinate decoded by expectation")
    coord_entropy = atom("entropy regulariser on the distribution over bins")
    coord_gate = atom("penalty on mass outside the coordinate vocabulary at coordinate slots")
    text_gate = atom("penalty on mass inside the coordinate vocabulary at text slots")
