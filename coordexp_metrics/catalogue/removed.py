"""Keys that are gone, with what carries their meaning now, and keys dropped on purpose.

An entry that names its keys stands before the pattern that would also match them.
"""

from __future__ import annotations

from ..contract.catalogue import Removed, Suppressed
from .vocabulary import reference

TEXT_A = ("loss/A1_text/struct_ce", "loss/A1_text/desc_ce", "loss/A2_text/struct_ce")
TEXT_B = ("loss/B_rollout_text/struct_ce", "loss/B_rollout_text/desc_ce")
BOX_TERMS = ("bbox_smoothl1", "bbox_ciou")
COORD_TERMS = (
    "coord_token_ce",
    "coord_soft_ce",
    "coord_w1",
    "coord_el1",
    "coord_ehuber",
    "coord_entropy",
    "coord_gate",
    "text_gate",
)


def terms(names: tuple[str, ...], *passes: str) -> tuple[str, ...]:
    """The atoms ``names`` of each of ``passes``."""
    return tuple(f"loss/{source}/{name}" for source in passes for name in names)


BOX = terms(BOX_TERMS, "A2_coord", "B_coord")
COORD = terms(COORD_TERMS, "A2_coord", "B_coord")
COORD_B = terms(COORD_TERMS, "B_coord")

SUFFIX = "an objective key says its forward pass, not that it is an objective"
SUMMED = "terms of a module are logged one by one"
LEGACY = "replaced by nothing in the contract; the atoms nearest in meaning are named"

REMOVED = (
    Removed("loss/token_ce_obj", (*TEXT_A, *TEXT_B), reference(26), SUFFIX),
    Removed("loss/bbox_geo_obj", BOX, reference(26), SUFFIX),
    Removed("loss/coord_reg_obj", COORD, reference(26), SUFFIX),
    Removed("loss/*_obj", (), reference(18), SUFFIX),
    Removed("obj/*", ("loss/{1}",), reference(37), "atoms stand under loss/"),
    Removed("loss/ce", (*TEXT_A, *TEXT_B), reference(38), LEGACY),
    Removed("loss/coord", COORD, reference(38), LEGACY),
    Removed("loss/coord_prefix", COORD_B, reference(38), LEGACY),
    Removed("loss/coord_tail", COORD_B, reference(38), LEGACY),
    Removed("loss/geo", BOX, reference(23), SUMMED),
    Removed("loss/coord_reg", COORD, reference(23), SUMMED),
    Removed("loss/*/geo", terms(BOX_TERMS, "{1}"), reference(23), SUMMED),
    Removed("loss/*/coord_reg", terms(COORD_TERMS, "{1}"), reference(23), SUMMED),
)

ONE_SUMMARY = "mAP is the only COCO summary of an evaluation step"

SUPPRESSED = (
    Suppressed("eval_rollout/bbox_*", reference(311), ONE_SUMMARY),
    Suppressed("eval_rollout/segm_*", reference(311), ONE_SUMMARY),
)
