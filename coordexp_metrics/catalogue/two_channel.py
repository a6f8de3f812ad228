"""The two-channel schedule, and what Channel-B could not use of its rollouts."""

from __future__ import annotations

from ..contract.declare import flag, rate, total
from ..contract.family import Family
from ..contract.units import OBJECT, ROLLOUT, SAMPLE, STEP
from .conditions import CHANNEL_B_RAN, TWO_CHANNEL_RUN
from .vocabulary import TRAIN, TWO_CHANNEL, reference


class Stage2(
    Family,
    pattern="stage2/{name}",
    modes=TRAIN,
    when=TWO_CHANNEL_RUN,
    emitted_by=(TWO_CHANNEL,),
    source=reference(153),
):
    """What tells Channel-B steps from Channel-A steps; either key is enough to filter by."""

    channel_b = flag("whether this step ran Channel-B; 0 or absent on Channel-A")
    raw_rollouts = total("rollouts that were generated for this step", unit=ROLLOUT)


class TwoChannel(
    Family,
    pattern="stage2_ab/{name}",
    modes=TRAIN,
    when=TWO_CHANNEL_RUN,
    emitted_by=(TWO_CHANNEL,),
    source=reference(260),
):
    """The schedule as it came out, observed once an optimizer step."""

    _channel_b_steps = total("steps of the rolling window that ran Channel-B", unit=STEP)
    _window_steps = total("steps of the rolling window", unit=STEP)
    b_ratio_realized = rate(
        "share of recent optimizer steps that ran Channel-B; tends to schedule.b_ratio",
        _channel_b_steps,
        _window_steps,
    )


class StrictDrop(
    Family,
    pattern="stage2_ab/channel_b/strict_drop/{name}",
    modes=TRAIN,
    when=CHANNEL_B_RAN,
    emitted_by=(TWO_CHANNEL,),
):
    """Predicted objects under strict validation."""

    N_valid_pred = total("predicted objects retained", unit=OBJECT, source=reference(268))
    N_drop_invalid = total(
        "predicted objects dropped", unit=OBJECT, better="lower", source=reference(272)
    )


class DropReasons(
    Family,
    pattern="stage2_ab/channel_b/strict_drop/reason/{name}",
    modes=TRAIN,
    when=CHANNEL_B_RAN,
    emitted_by=(TWO_CHANNEL,),
    source=reference(276),
    open_names=True,
):
    """Why objects were dropped. The vocabulary is open: an unknown reason counts as ``other``."""

    missing_desc = total("objects without a description", unit=OBJECT, better="lower")
    wrong_arity = total("objects with the wrong number of coordinates", unit=OBJECT, better="lower")
    unexpected_keys = total("objects with fields of no schema", unit=OBJECT, better="lower")
    order_violation = total("objects with fields out of order", unit=OBJECT, better="lower")
    bbox_invalid = total("objects whose box is no box", unit=OBJECT, better="lower")
    other = total("objects dropped for any other reason", unit=OBJECT, better="lower")


class ClosureSupervision(
    Family,
    pattern="stage2_ab/channel_b/closure_supervision/{name}",
    modes=TRAIN,
    when=CHANNEL_B_RAN,
    emitted_by=(TWO_CHANNEL,),
):
    """Supervision of the markers that close a rollout."""

    N_drop = total(
        "samples dropped because a closing marker was not found; should stay near zero",
        unit=SAMPLE,
        better="lower",
        source=reference(280),
    )


class ChannelB(
    Family,
    pattern="stage2_ab/channel_b/{name}",
    modes=TRAIN,
    when=CHANNEL_B_RAN,
    emitted_by=(TWO_CHANNEL,),
):
    """Rollouts as containers."""

    invalid_rollout = total(
        'samples without an append-ready {"objects": [ prefix, trained on missed objects alone',
        unit=SAMPLE,
        better="lower",
        source=reference(284),
    )
