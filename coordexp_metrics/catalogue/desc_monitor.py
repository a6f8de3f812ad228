"""Whether a matched object is also called the same."""

from __future__ import annotations

from ..contract.declare import derived, flag, mean, rate, total
from ..contract.family import Family
from ..contract.law import at_most
from ..contract.units import COSINE, FRACTION, PAIR
from .conditions import DESC_EMBEDDINGS, DESC_MONITOR
from .rollout_eval import EvalRollout
from .vocabulary import BOTH, EMBEDDED_PAIR, STAGE2, TRAIN, reference


class DescMonitor(
    Family,
    pattern="rollout/{name}",
    modes=BOTH,
    when=DESC_MONITOR,
    emitted_by=STAGE2,
    source=reference(217),
):
    """Whether descriptions agree with ground truth where geometry does; never part of the loss."""

    desc_pairs_total = total(
        "matched pairs whose descriptions were compared", unit=PAIR, source=reference(217, 314)
    )
    _exact_matches = total("pairs with equal normalised descriptions", unit=PAIR)
    _similar_matches = total(
        "pairs with similar descriptions that are not equal", unit=PAIR, when=DESC_EMBEDDINGS
    )
    desc_exact_acc_on_matched = rate(
        "share of matched pairs whose normalised descriptions are equal",
        _exact_matches,
        desc_pairs_total,
        better="higher",
        source=reference(219, 315),
    )
    desc_sem_enabled = flag(
        "whether a rank had the embedding model that compares descriptions",
        modes=TRAIN,
        eval_twin=EvalRollout.desc_sem_enabled,
        source=reference(221),
    )
    desc_sem_acc_on_matched = derived(
        "share of matched pairs whose descriptions are equal, or similar beyond the threshold; "
        "pairs without embeddings are similar where they are equal",
        (_exact_matches + _similar_matches) / desc_pairs_total,
        unit=FRACTION,
        better="higher",
        when=DESC_EMBEDDINGS,
        source=reference(223, 317),
    )
    desc_sem_sim_mean = mean(
        "similarity of the embedded descriptions of matched pairs",
        per=EMBEDDED_PAIR,
        unit=COSINE,
        better="higher",
        bounds=(-1.0, 1.0),
        when=DESC_EMBEDDINGS,
        source=reference(225, 318),
    )
    desc_sem_sim_count = total(
        "matched pairs with embeddings",
        unit=EMBEDDED_PAIR,
        when=DESC_EMBEDDINGS,
        source=reference(225, 318),
    )

    equal_is_similar = at_most(
        "equal descriptions count as similar", desc_exact_acc_on_matched, desc_sem_acc_on_matched
    )
    embedded_is_compared = at_most(
        "only compared pairs are embedded", desc_sem_sim_count, desc_pairs_total
    )
