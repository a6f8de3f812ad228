"""What generating, parsing and matching rollouts gave: totals, and the rates that follow from them.

All families here share the pattern ``rollout/{name}`` and are absent from steps that generated
nothing. A rate is read from totals after the fold; where a total has no key of its own, an
underscored line holds it.
"""

from __future__ import annotations

from functools import partial

from ..contract.declare import (
    agreed,
    derived,
    flag,
    mean,
    quantile,
    rate,
    shared_quantile,
    slowest_rank,
    total,
)
from ..contract.family import Family
from ..contract.law import at_most, identity
from ..contract.metric import Mode
from ..contract.units import (
    CANDIDATE_PAIR,
    COORD_TOKEN,
    COSINE,
    FRACTION,
    INTERSECTION_OVER_UNION,
    OBJECT,
    PAIR,
    ROLLOUT,
    SECOND,
    TAIL_TOKEN,
    TOKEN,
)
from .conditions import DESC_EMBEDDINGS, DESC_MONITOR, EVAL_RUNS, ROLLOUT_RAN
from .rollout_eval import EvalRollout
from .vocabulary import (
    EMBEDDED_PAIR,
    NOT_NEGATIVE,
    STAGE2,
    TOKEN_PER_SECOND,
    UNIT_INTERVAL,
    reference,
)

TRAIN: tuple[Mode, ...] = ("train",)
BOTH: tuple[Mode, ...] = ("train", "eval")

LENGTHS = (1.0, 1_000_000.0)

length_mean = partial(mean, per=ROLLOUT, unit=TOKEN, bounds=NOT_NEGATIVE)
length_p90 = partial(quantile, 0.9, per=ROLLOUT, unit=TOKEN, limits=LENGTHS, bounds=NOT_NEGATIVE)


class Timing(Family, pattern="time/{name}", modes=TRAIN, when=ROLLOUT_RAN, emitted_by=STAGE2):
    """Wall clock of the slowest rank. Absent, not 0.0, where nothing was generated."""

    rollout_generate_s = slowest_rank(
        "time spent generating", unit=SECOND, better="lower", source=reference(149)
    )
    rollout_parse_match_s = slowest_rank(
        "time spent parsing rollouts and matching objects",
        unit=SECOND,
        better="lower",
        source=reference(150),
    )
    rollout_teacher_encode_s = slowest_rank(
        "time spent encoding the teacher-forced targets",
        unit=SECOND,
        better="lower",
        source=reference(151),
    )


class Generation(
    Family,
    pattern="rollout/{name}",
    modes=TRAIN,
    when=ROLLOUT_RAN,
    emitted_by=STAGE2,
    source=reference(289),
):
    """What became of each generated sample: its tokens, and whether it parsed and matched."""

    _samples = total("samples rolled out", unit=ROLLOUT, modes=BOTH)
    _samples_with_prediction = total(
        "rollouts with a valid predicted object", unit=ROLLOUT, modes=BOTH
    )
    _samples_with_match = total("rollouts with a supervised match", unit=ROLLOUT, modes=BOTH)

    gen_new_tokens_total = total(
        "generated assistant tokens after the suffix was trimmed",
        unit=TOKEN,
        source=reference(155),
    )
    gen_new_tokens_mean = length_mean(
        "generated tokens of one rollout; near max_new_tokens where rollouts do not end",
        formula=gen_new_tokens_total / _samples,
        source=reference(155),
    )
    gen_new_tokens_p90 = length_p90(
        "generated tokens that 90 % of the rollouts stay within", source=reference(155)
    )
    gen_new_tokens_p99 = shared_quantile(
        0.99,
        "generated tokens that 99 % of the rollouts stay within",
        of=gen_new_tokens_p90,
        bounds=NOT_NEGATIVE,
        source=reference(155),
    )
    gen_tokens_per_s = derived(
        "generated tokens of all ranks in a second of the slowest rank",
        gen_new_tokens_total / Timing.rollout_generate_s,
        unit=TOKEN_PER_SECOND,
        better="higher",
        bounds=NOT_NEGATIVE,
        source=reference(159),
    )
    decode_non_beam_count = total(
        "samples decoded without beams, by sampling or greedily",
        unit=ROLLOUT,
        source=reference(174),
    )
    decode_beam_count = total("samples decoded with beams", unit=ROLLOUT, source=reference(174))
    parse_truncated = total(
        "rollouts that end inside an object", unit=ROLLOUT, better="lower", source=reference(182)
    )
    parse_truncated_rate = rate(
        "share of rollouts that end inside an object",
        parse_truncated,
        _samples,
        better="lower",
        modes=BOTH,
        source=reference(182, 302),
    )
    sample_valid_pred_rate = rate(
        "share of rollouts with at least one valid predicted object",
        _samples_with_prediction,
        _samples,
        better="higher",
        modes=BOTH,
        source=reference(188, 304),
    )
    sample_any_match_rate = rate(
        "share of rollouts with at least one supervised match",
        _samples_with_match,
        _samples,
        better="higher",
        modes=BOTH,
        source=reference(190, 304),
    )

    decoding_is_one_of_two = identity(
        "a sample is decoded with beams or without",
        decode_non_beam_count + decode_beam_count,
        _samples,
    )
    quantiles_rise = at_most("a higher quantile is no less", gen_new_tokens_p90, gen_new_tokens_p99)
    match_needs_prediction = at_most(
        "a sample with a match has a prediction", sample_any_match_rate, sample_valid_pred_rate
    )


class Decoding(Family, pattern="rollout/{name}", modes=TRAIN, when=ROLLOUT_RAN, emitted_by=STAGE2):
    """The sampling in effect. Decoding without beams may sample: only these keys tell."""

    do_sample = flag("whether tokens were sampled rather than taken", source=reference(168))
    temperature = agreed(
        "softmax temperature of sampling", bounds=NOT_NEGATIVE, source=reference(168)
    )
    top_p = agreed("nucleus mass of sampling", bounds=UNIT_INTERVAL, source=reference(168))
    top_k = agreed("number of likeliest tokens that sampling chooses from", source=reference(168))


class Matching(
    Family,
    pattern="rollout/{name}",
    modes=TRAIN,
    when=ROLLOUT_RAN,
    emitted_by=STAGE2,
    source=reference(201),
):
    """Predicted objects against ground truth. The totals have other names in evaluation."""

    gt_objects_total = total(
        "ground-truth objects",
        unit=OBJECT,
        modes=BOTH,
        eval_twin=EvalRollout.gt_objects,
        source=reference(195),
    )
    valid_pred_objects_total = total(
        "predicted objects that parsed",
        unit=OBJECT,
        modes=BOTH,
        eval_twin=EvalRollout.pred_objects,
        source=reference(195),
    )
    matched_for_supervision = total(
        "matched predictions that are supervised",
        unit=OBJECT,
        better="higher",
        modes=BOTH,
        eval_twin=EvalRollout.matched,
        source=reference(197),
    )
    excluded_from_supervision = total(
        "matched predictions left out because their target could not be constructed",
        unit=OBJECT,
        better="lower",
        source=reference(197),
    )
    fn_appended_total = total(
        "ground-truth objects appended to the target as missed",
        unit=OBJECT,
        source=reference(199),
    )
    fn_total = derived(
        "ground-truth objects that no supervised prediction matched",
        gt_objects_total - matched_for_supervision,
        unit=OBJECT,
        better="lower",
        bounds=NOT_NEGATIVE,
        modes=BOTH,
        eval_twin=EvalRollout.fn,
        source=reference(199),
    )
    _candidate_pairs = total("pairs that the gate judged", unit=CANDIDATE_PAIR)
    gating_rejections = total(
        "candidate pairs below the maskiou_gate threshold",
        unit=CANDIDATE_PAIR,
        source=reference(201),
    )
    gating_rejection_rate = rate(
        "share of candidate pairs below the maskiou_gate threshold",
        gating_rejections,
        _candidate_pairs,
        better="lower",
        source=reference(201),
    )
    precision = rate(
        "share of predicted objects that are matched",
        matched_for_supervision,
        valid_pred_objects_total,
        better="higher",
        modes=BOTH,
        source=reference(204, 299),
    )
    recall = rate(
        "share of ground-truth objects that are matched",
        matched_for_supervision,
        gt_objects_total,
        better="higher",
        modes=BOTH,
        source=reference(204, 299),
    )
    f1 = derived(
        "harmonic mean of precision and recall; 0 where nothing matches",
        2 * matched_for_supervision / (valid_pred_objects_total + gt_objects_total),
        unit=FRACTION,
        better="higher",
        modes=BOTH,
        source=reference(204, 299),
    )
    matched_maskiou_mean = mean(
        "mask overlap of matched pairs on the norm1000 canvas: geometry, apart from counts",
        per=PAIR,
        unit=INTERSECTION_OVER_UNION,
        better="higher",
        bounds=UNIT_INTERVAL,
        modes=BOTH,
        source=reference(207, 305),
    )
    matched_maskiou_count = total(
        "matched pairs whose overlap was measured", unit=PAIR, source=reference(207)
    )
    excluded_rate = derived(
        "share of matched predictions left out; high where target construction is unstable",
        excluded_from_supervision / (matched_for_supervision + excluded_from_supervision),
        unit=FRACTION,
        better="lower",
        source=reference(230),
    )


class EvalUnmatched(
    Family, pattern="eval_rollout/{name}", modes=("eval",), when=EVAL_RUNS, emitted_by=STAGE2
):
    """Predictions that stand for nothing; training has no key for them."""

    fp = derived(
        "predicted objects that match no ground truth",
        Matching.valid_pred_objects_total - Matching.matched_for_supervision,
        unit=OBJECT,
        better="lower",
        bounds=NOT_NEGATIVE,
        source=reference(301),
    )


class Parsing(Family, pattern="rollout/{name}", modes=TRAIN, when=ROLLOUT_RAN, emitted_by=STAGE2):
    """What strict parsing made of the predicted objects."""

    parse_dropped_invalid = total(
        "predicted objects dropped as invalid",
        unit=OBJECT,
        better="lower",
        modes=BOTH,
        source=reference(180, 303),
    )
    parse_dropped_ambiguous = total(
        "predicted objects dropped as ambiguous",
        unit=OBJECT,
        better="lower",
        modes=BOTH,
        source=reference(180, 303),
    )
    parse_obj_total = derived(
        "predicted objects, valid or dropped",
        Matching.valid_pred_objects_total + parse_dropped_invalid + parse_dropped_ambiguous,
        unit=OBJECT,
        bounds=NOT_NEGATIVE,
        source=reference(184),
    )
    parse_obj_valid_frac = derived(
        "share of predicted objects that are valid",
        Matching.valid_pred_objects_total / parse_obj_total,
        unit=FRACTION,
        better="higher",
        source=reference(186),
    )
    parse_obj_drop_frac = derived(
        "share of predicted objects that strict parsing dropped",
        (parse_dropped_invalid + parse_dropped_ambiguous) / parse_obj_total,
        unit=FRACTION,
        better="lower",
        source=reference(186),
    )

    valid_or_dropped = identity(
        "an object is valid or dropped", parse_obj_valid_frac + parse_obj_drop_frac, 1
    )


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
    _semantic_matches = total(
        "pairs with equal or similar descriptions", unit=PAIR, when=DESC_EMBEDDINGS
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
    desc_sem_acc_on_matched = rate(
        "share of matched pairs whose descriptions are equal, or similar beyond the threshold",
        _semantic_matches,
        desc_pairs_total,
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


class Coverage(
    Family,
    pattern="rollout/{name}",
    modes=TRAIN,
    when=ROLLOUT_RAN,
    emitted_by=STAGE2,
    source=reference(237),
):
    """How much of the prefix and of the appended tail is supervised."""

    prefix_coord_targets_total = total(
        "coordinate slots supervised in the rollout prefix",
        unit=COORD_TOKEN,
        source=reference(234),
    )
    prefix_coord_targets_per_matched = derived(
        "supervised coordinate slots of one matched object",
        prefix_coord_targets_total / Matching.matched_for_supervision,
        unit=COORD_TOKEN,
        bounds=NOT_NEGATIVE,
        source=reference(234),
    )
    _tail_tokens = total("tokens of the appended ground-truth tail", unit=TAIL_TOKEN)
    _tail_tokens_ignored = total("tail tokens that description masking ignores", unit=TAIL_TOKEN)
    tail_ignore_frac = rate(
        "share of appended tail tokens that description masking keeps out of the cross-entropy",
        _tail_tokens_ignored,
        _tail_tokens,
        source=reference(237),
    )


class Lengths(Family, pattern="rollout/{name}", modes=TRAIN, when=ROLLOUT_RAN, emitted_by=STAGE2):
    """Token lengths that explain memory and the fill of packs."""

    prompt_len_mean = length_mean("tokens of a prompt", source=reference(242))
    prompt_len_p90 = length_p90("tokens that 90 % of prompts stay within", source=reference(242))
    rollout_len_mean = length_mean("tokens of a rollout", source=reference(243))
    rollout_len_p90 = length_p90("tokens that 90 % of rollouts stay within", source=reference(243))
    train_len_mean = length_mean("tokens of a training target", source=reference(244))
    train_len_p90 = length_p90("tokens that 90 % of targets stay within", source=reference(244))
    append_len_mean = length_mean("tokens of an appended tail", source=reference(245))
    append_len_p90 = length_p90("tokens that 90 % of tails stay within", source=reference(245))
    encoded_len_mean = length_mean("tokens of an encoded sequence", source=reference(246))
    encoded_len_p90 = length_p90("tokens that 90 % of sequences stay within", source=reference(246))
