"""Who emits a metric, where the contract says so, and units that only this catalogue needs."""

from __future__ import annotations

from ..contract.metric import Bounds, Mode
from ..contract.units import Unit

STAGE1 = "stage1"
TWO_CHANNEL = "stage2_two_channel"
ROLLOUT_ALIGNED = "stage2_rollout_aligned"
MS_SWIFT = "ms-swift"
TRANSFORMERS = "transformers"
TRL = "trl"
THIS_PACKAGE = "coordexp_metrics"

STAGE2 = (TWO_CHANNEL, ROLLOUT_ALIGNED)
ALL_STAGES = (STAGE1, *STAGE2)

TRAIN: tuple[Mode, ...] = ("train",)
BOTH: tuple[Mode, ...] = ("train", "eval")

NOT_NEGATIVE: Bounds = (0.0, None)
UNIT_INTERVAL: Bounds = (0.0, 1.0)

AVERAGE_PRECISION = Unit("average precision")
COORD_RANGE = Unit("whole range of coordinate bins")
EMBEDDED_PAIR = Unit("matched pair with embeddings")
EVALUATION = Unit("evaluation")
FAULT = Unit("fault")
GRADIENT_NORM = Unit("gradient norm")
KEY = Unit("key")
OBSERVATION = Unit("observation")
PAYLOAD = Unit("payload")
VIOLATION = Unit("violation")
SAMPLE_PER_SECOND = Unit("sample per second")
STEP_PER_SECOND = Unit("optimizer step per second")
TOKEN_PER_SECOND = Unit("token per second")


def reference(*lines: int) -> str:
    """Lines of the key reference.

    >>> reference(65, 70)
    'metrics_and_losses.md:65,70'
    """
    return f"metrics_and_losses.md:{','.join(map(str, lines))}"


def token_types_design(line: int) -> str:
    """A line of the design of the token-type metrics."""
    return f"token_type_metrics_design.md:{line}"
