"""What this package could not pass on unchanged: it counts, it never hides."""

from __future__ import annotations

from functools import partial

from ..contract.declare import total
from ..contract.family import Family
from ..contract.units import MICRO_STEP, ROLLOUT, SUPERVISED_TOKEN
from .conditions import COUNTS_NONZERO
from .vocabulary import FAULT, KEY, OBSERVATION, PAYLOAD, THIS_PACKAGE, VIOLATION

count = partial(total, better="lower")


class Health(
    Family,
    pattern="contract/{name}",
    when=COUNTS_NONZERO,
    unprefixed=True,
    emitted_by=(THIS_PACKAGE,),
):
    """Counters of the library itself, under one name in training and in evaluation."""

    withheld_total = count("non-finite observations of monitors left out", unit=OBSERVATION)
    nonfinite_total = count("values that were NaN or infinite in a payload", unit=KEY)
    rejected_total = count("payloads that could not be passed on at all", unit=PAYLOAD)
    dropped_total = count("values that could not be passed on", unit=KEY)
    unregistered_total = count("values under keys that nobody declared", unit=KEY)
    out_of_range_total = count("values outside the bounds of their metric", unit=KEY)
    tb_precision_loss_total = count("values that the float32 of TensorBoard changed", unit=KEY)
    key_collision_total = count("values whose name another value of the record had", unit=KEY)
    nonfinite_rows_total = count(
        "supervised rows of logits that are not finite, left out",
        unit=SUPERVISED_TOKEN,
        absent_at_zero=True,
    )
    labels_out_of_range_total = count(
        "labels that no vocabulary holds, left out", unit=SUPERVISED_TOKEN, absent_at_zero=True
    )
    token_types_dropped_total = count(
        "micro-batches whose token types do not fit their labels",
        unit=MICRO_STEP,
        absent_at_zero=True,
    )
    rollout_facts_wrong_total = count(
        "groups of facts of one rollout that cannot be right, left out",
        unit=ROLLOUT,
        absent_at_zero=True,
    )
    rollout_facts_missing_total = count(
        "rollouts left out of a group of facts because they know only some of them",
        unit=ROLLOUT,
        absent_at_zero=True,
    )
    sink_dropped_total = count("records that some sink could not take", unit=PAYLOAD)
    unspooled_total = count(
        "records that no spool could hold while their journal had not written them", unit=PAYLOAD
    )
    diagnostics_failed_total = count(
        "diagnostics inside a trainer that failed and were left out",
        unit=FAULT,
        absent_at_zero=True,
    )
    violations_total = count("broken laws, formulas and rules", unit=VIOLATION)
