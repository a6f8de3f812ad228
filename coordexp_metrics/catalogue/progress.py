"""How much went into a step: samples, packs, micro-steps."""

from __future__ import annotations

from functools import partial

from ..contract.declare import agreed, cumulative, maximum, mean, slowest_rank, total
from ..contract.family import Family
from ..contract.functions import previous
from ..contract.law import identity
from ..contract.units import MICRO_STEP, PACK, SAMPLE, SEGMENT
from .conditions import STAGE2_RUN
from .vocabulary import ALL_STAGES, NOT_NEGATIVE, STAGE2, TRAIN, reference

per_pack = partial(mean, per=PACK, bounds=NOT_NEGATIVE)


class Packing(Family, pattern="pack/{name}", emitted_by=ALL_STAGES):
    """The size of a training unit in original samples."""

    num_samples = total(
        "original samples in the packs of the step; the batch size where nothing is packed",
        unit=SAMPLE,
        source=reference(531),
    )


class Progress(Family, pattern="train/{name}", modes=TRAIN, when=STAGE2_RUN, emitted_by=STAGE2):
    """What a step consumed, whatever the packing made of it."""

    samples_total = total(
        "raw samples that contributed to the step: of the dataset on Channel-A, rollouts on B",
        unit=SAMPLE,
        source=reference(537),
    )
    samples_seen = cumulative(
        "raw samples since the run began, over all ranks and resumptions: an axis of progress",
        of=samples_total,
        source=reference(541),
    )
    micro_steps = slowest_rank(
        "micro-steps accumulated into the step, about gradient_accumulation_steps",
        unit=MICRO_STEP,
        source=reference(544),
    )

    seen_grows_by_total = identity(
        "the samples seen grow by the samples of the step",
        samples_seen - previous(samples_seen),
        samples_total,
    )


class Accumulation(Family, pattern="accum/{name}", emitted_by=ALL_STAGES):
    """Gradient accumulation, as configured and as it came out."""

    grad_steps = agreed(
        "configured gradient_accumulation_steps",
        unit=MICRO_STEP,
        bounds=NOT_NEGATIVE,
        source=reference(559),
    )
    current_grad_steps = maximum(
        "micro-steps in this update; fewer in the last update of an epoch",
        unit=MICRO_STEP,
        bounds=NOT_NEGATIVE,
        source=reference(560),
    )


class PostRolloutPacking(
    Family, pattern="packing/{name}", modes=TRAIN, when=STAGE2_RUN, emitted_by=STAGE2
):
    """Packs made after the rollout, where what does not fit is carried over."""

    post_rollout_fill = mean("share of a pack that is filled", per=PACK, source=reference(250))
    post_rollout_segments = per_pack("segments in a pack", unit=SEGMENT, source=reference(251))
    post_rollout_buffer = per_pack(
        "segments waiting to be packed, seen at each pack", unit=SEGMENT, source=reference(252)
    )
