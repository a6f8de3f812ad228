"""Every metric of the contract, one line each. Families describe; this page lists them once."""

from __future__ import annotations

from ..contract.catalogue import Catalogue
from ..contract.family import Family
from .coord_diag import CoordDiag, Forward
from .coord_monitor import CoordMonitor
from .desc_monitor import DescMonitor
from .generation import Decoding, Generation, Lengths, Timing
from .health import Health
from .laws import LAWS
from .matching import Coverage, Matching, Parsing
from .objective import CoordLoss, Objective, Pass, SelfContextTextLoss, TextContext, TextLoss
from .progress import Accumulation, Packing, PostRolloutPacking, Progress
from .removed import REMOVED, SUPPRESSED
from .rollout_eval import EvalRollout
from .stage1 import BaseCE, Stage1, Stage1CoordDiag
from .tokens import TokenAccuracy, TokenTypes
from .trainer import EvalSpeed, SupervisedTrainer, TrainerBasics, TrainerClock
from .two_channel import ChannelB, ClosureSupervision, DropReasons, Stage2, StrictDrop, TwoChannel

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "LAWS",
    "REMOVED",
    "SUPPRESSED",
    "Accumulation",
    "BaseCE",
    "ChannelB",
    "ClosureSupervision",
    "CoordDiag",
    "CoordLoss",
    "CoordMonitor",
    "Coverage",
    "Decoding",
    "DescMonitor",
    "DropReasons",
    "EvalRollout",
    "EvalSpeed",
    "Forward",
    "Generation",
    "Health",
    "Lengths",
    "Matching",
    "Objective",
    "Packing",
    "Parsing",
    "Pass",
    "PostRolloutPacking",
    "Progress",
    "TwoChannel",
    "SelfContextTextLoss",
    "Stage1",
    "Stage1CoordDiag",
    "Stage2",
    "StrictDrop",
    "SupervisedTrainer",
    "TextContext",
    "TextLoss",
    "Timing",
    "TokenAccuracy",
    "TokenTypes",
    "TrainerBasics",
    "TrainerClock",
]

FAMILIES: tuple[type[Family], ...] = (
    Objective,
    TextLoss,
    SelfContextTextLoss,
    CoordLoss,
    BaseCE,
    Stage1CoordDiag,
    Stage1,
    CoordDiag,
    TokenAccuracy,
    TokenTypes,
    CoordMonitor,
    Packing,
    Progress,
    Accumulation,
    PostRolloutPacking,
    Timing,
    Decoding,
    Generation,
    Parsing,
    Matching,
    DescMonitor,
    Coverage,
    Lengths,
    EvalRollout,
    Stage2,
    TwoChannel,
    ChannelB,
    StrictDrop,
    DropReasons,
    ClosureSupervision,
    TrainerBasics,
    TrainerClock,
    SupervisedTrainer,
    EvalSpeed,
    Health,
)

CATALOGUE = Catalogue(*FAMILIES, removed=REMOVED, suppressed=SUPPRESSED, laws=LAWS)
