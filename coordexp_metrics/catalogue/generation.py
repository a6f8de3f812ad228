"""What generating cost and gave: seconds, settings, tokens, and what became of each sample.

Absent from steps that generated nothing. A rate is read from totals after the fold; where a total
has no key of its own, an underscored line holds it.
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
from ..contract.units import ROLLOUT, SECOND, TOKEN
from .conditions import ROLLOUT_RAN
from .vocabulary import (
    BOTH,
    NOT_NEGATIVE,
    STAGE2,
    TOKEN_PER_SECOND,
    TRAIN,
    UNIT_INTERVAL,
    reference,
)

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


class Decoding(Family, pattern="rollout/{name}", modes=TRAIN, when=ROLLOUT_RAN, emitted_by=STAGE2):
    """The sampling in effect. Decoding without beams may sample: only these keys tell."""

    do_sample = flag("whether tokens were sampled rather than taken", source=reference(168))
    temperature = agreed(
        "softmax temperature of sampling", bounds=NOT_NEGATIVE, source=reference(168)
    )
    top_p = agreed("nucleus mass of sampling", bounds=UNIT_INTERVAL, source=reference(168))
    top_k = agreed("number of likeliest tokens that sampling chooses from", source=reference(168))


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
    _samples_measured = total("rollouts whose generated tokens are known", unit=ROLLOUT)
    _samples_parsed = total(
        "rollouts known to end inside an object, or not", unit=ROLLOUT, modes=BOTH
    )
    _samples_judged = total("rollouts whose objects are known", unit=ROLLOUT, modes=BOTH)
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
        formula=gen_new_tokens_total / _samples_measured,
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
        _samples_parsed,
        better="lower",
        modes=BOTH,
        source=reference(182, 302),
    )
    sample_valid_pred_rate = rate(
        "share of rollouts with at least one valid predicted object",
        _samples_with_prediction,
        _samples_judged,
        better="higher",
        modes=BOTH,
        source=reference(188, 304),
    )
    sample_any_match_rate = rate(
        "share of rollouts with at least one supervised match",
        _samples_with_match,
        _samples_judged,
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
