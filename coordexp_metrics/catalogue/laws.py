"""Laws that hold between families."""

from __future__ import annotations

from ..contract.functions import present_sum
from ..contract.law import identity
from .generation import Generation
from .objective import CoordLoss, Objective, SelfContextTextLoss, TextLoss
from .two_channel import DropReasons, Stage2, StrictDrop

_atoms = [
    atom
    for family in (TextLoss, SelfContextTextLoss, CoordLoss)
    for atom in family.metrics_and_laws()[0]
]
_reasons = DropReasons.metrics_and_laws()[0]

LAWS = (
    identity(
        "the atoms of a step add up to its loss",
        present_sum(*_atoms),
        Objective.loss,
        weak=True,
    ),
    identity(
        "the reasons of a step add up to what it dropped",
        present_sum(*_reasons),
        StrictDrop.N_drop_invalid,
        weak=True,
    ),
    identity(
        "every rollout was decoded with beams or without",
        Generation.decode_non_beam_count + Generation.decode_beam_count,
        Stage2.raw_rollouts,
        weak=True,
    ),
)
