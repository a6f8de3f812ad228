"""Whether the right token id comes out, overall and by what the token spells.

Means are over all supervised next-token positions of the window; never part of the loss.
"""

from __future__ import annotations

from functools import partial

from ..contract.declare import derived, mean, total
from ..contract.family import Family
from ..contract.functions import or_zero, present_sum
from ..contract.law import at_most, identity
from ..contract.units import (
    COORD_TOKEN,
    DESC_TOKEN,
    FORMAT_TOKEN,
    FRACTION,
    NAT,
    SUPERVISED_TOKEN,
    TEXT_TOKEN,
)
from .conditions import LOG_TOP5, TOKEN_TYPES, TOKEN_TYPES_TOP5
from .vocabulary import ALL_STAGES, MS_SWIFT, NOT_NEGATIVE, reference, token_types_design

COUNTS = token_types_design(12)

share = partial(derived, unit=FRACTION, source=reference(479))
accuracy = partial(mean, better="higher", source=reference(482))
accuracy_top5 = partial(mean, better="higher", when=TOKEN_TYPES_TOP5, source=reference(485))
entropy = partial(mean, unit=NAT, bounds=NOT_NEGATIVE, source=COUNTS)
count = partial(total, absent_at_zero=True, source=COUNTS)


class TokenAccuracy(Family, pattern="{name}", emitted_by=ALL_STAGES):
    """Over supervised tokens, those of coordinates included."""

    token_acc = mean(
        "share of tokens whose likeliest id is the target",
        per=SUPERVISED_TOKEN,
        better="higher",
        emitted_by=(MS_SWIFT,),
        source=reference(465),
    )
    token_acc_top5 = mean(
        "share of tokens whose target is among the five likeliest ids",
        per=SUPERVISED_TOKEN,
        better="higher",
        when=LOG_TOP5,
        source=reference(469),
    )
    token_count = count("supervised tokens", unit=SUPERVISED_TOKEN)
    text_token_acc = mean(
        "share of tokens that are no coordinates whose likeliest id is the target",
        per=TEXT_TOKEN,
        better="higher",
        source=reference(474),
    )

    top5_holds_top1 = at_most("the five likeliest hold the likeliest", token_acc, token_acc_top5)


class TokenTypes(Family, pattern="{name}", when=TOKEN_TYPES, emitted_by=ALL_STAGES):
    """Split by the type of the target token, over all datasets together.

    A type without tokens has the fraction 0.0; its accuracies, entropy and count are absent.
    """

    desc_token_count = count("typed tokens inside description values", unit=DESC_TOKEN)
    format_token_count = count("typed tokens of JSON structure", unit=FORMAT_TOKEN)
    coord_token_count = count("typed tokens that are coordinates", unit=COORD_TOKEN)
    _typed = present_sum(desc_token_count, format_token_count, coord_token_count)

    desc_token_frac = share(
        "share of typed tokens in descriptions", or_zero(desc_token_count) / _typed
    )
    format_token_frac = share(
        "share of typed tokens in structure", or_zero(format_token_count) / _typed
    )
    coord_token_frac = share(
        "share of typed tokens that are coordinates", or_zero(coord_token_count) / _typed
    )

    desc_token_acc = accuracy("top-1 accuracy inside descriptions", per=DESC_TOKEN)
    format_token_acc = accuracy("top-1 accuracy at structure", per=FORMAT_TOKEN)
    coord_token_acc = accuracy("top-1 accuracy at coordinates", per=COORD_TOKEN)

    desc_token_acc_top5 = accuracy_top5("top-5 accuracy inside descriptions", per=DESC_TOKEN)
    format_token_acc_top5 = accuracy_top5("top-5 accuracy at structure", per=FORMAT_TOKEN)
    coord_token_acc_top5 = accuracy_top5("top-5 accuracy at coordinates", per=COORD_TOKEN)

    desc_entropy = entropy(
        "entropy of the next-token distribution inside descriptions",
        per=DESC_TOKEN,
        aliases=("desc_token_entropy",),
    )
    format_entropy = entropy(
        "entropy of the next-token distribution at structure",
        per=FORMAT_TOKEN,
        aliases=("format_token_entropy",),
    )
    coord_entropy = entropy(
        "entropy of the next-token distribution at coordinates",
        per=COORD_TOKEN,
        aliases=("coord_token_entropy",),
    )

    types_are_all = identity(
        "every typed token has one of the three types",
        desc_token_frac + format_token_frac + coord_token_frac,
        1,
    )
    desc_top5_holds_top1 = at_most(
        "the five likeliest hold the likeliest", desc_token_acc, desc_token_acc_top5
    )
    format_top5_holds_top1 = at_most(
        "the five likeliest hold the likeliest", format_token_acc, format_token_acc_top5
    )
    coord_top5_holds_top1 = at_most(
        "the five likeliest hold the likeliest", coord_token_acc, coord_token_acc_top5
    )
