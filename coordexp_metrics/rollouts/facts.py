"""What is known of one rollout: the numbers that every ``rollout/*`` statistic is folded from.

A fact that is None was not measured; a key all of whose facts are None is absent. The same names
stand for columns where a whole batch of rollouts comes as tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .describe import DescriptionFacts
from .objects import ObjectMatch, ParsedRollout

__all__ = ["RolloutFacts", "rollout_facts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFacts:
    """The facts of one sample (``metrics_and_losses.md:146``).

    Attributes:
        gen_new_tokens: generated tokens after the suffix was trimmed.
        prompt_len, rollout_len, train_len, append_len, encoded_len: lengths in tokens.
        decode_mode: ``beam`` or how else it was decoded.
        truncated: the text ends inside an object.
        invalid_rollout: no append-ready prefix; nothing was predicted.
        closure_dropped: the sample was dropped because its closing marker was not found.
        dropped_invalid, dropped_ambiguous: objects that strict parsing dropped.
        dropped_by_reason: ``dropped_invalid`` by reason.
        gt_objects, pred_objects: objects of the truth, and valid predicted ones.
        matched: matched predictions that are supervised.
        excluded: matched predictions whose target could not be constructed.
        fn_appended: ground truths appended to the target as missed.
        candidate_pairs, gating_rejections: pairs that the gate judged, and refused.
        maskiou_sum, maskiou_count: mask overlap over matched pairs, and how many were measured.
        prefix_coord_targets: coordinate slots supervised in the prefix.
        tail_tokens, tail_tokens_ignored: tokens of the appended tail, and those without loss.
        desc_pairs, desc_exact: matched pairs whose descriptions were compared, and equal ones.
        desc_semantic: pairs with equal or similar descriptions.
        desc_sim_sum, desc_sim_count: cosine similarity over pairs with embeddings.
    """

    gen_new_tokens: int | None = None
    prompt_len: int | None = None
    rollout_len: int | None = None
    train_len: int | None = None
    append_len: int | None = None
    encoded_len: int | None = None
    decode_mode: Literal["beam", "greedy", "sample"] | str | None = None
    truncated: bool | None = None
    invalid_rollout: bool | None = None
    closure_dropped: bool | None = None
    dropped_invalid: int | None = None
    dropped_ambiguous: int | None = None
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    gt_objects: int | None = None
    pred_objects: int | None = None
    matched: int | None = None
    excluded: int | None = None
    fn_appended: int | None = None
    candidate_pairs: int | None = None
    gating_rejections: int | None = None
    maskiou_sum: float | None = None
    maskiou_count: int | None = None
    prefix_coord_targets: int | None = None
    tail_tokens: int | None = None
    tail_tokens_ignored: int | None = None
    desc_pairs: int | None = None
    desc_exact: int | None = None
    desc_semantic: int | None = None
    desc_sim_sum: float | None = None
    desc_sim_count: int | None = None


def rollout_facts(
    parsed: ParsedRollout | None,
    match: ObjectMatch | None,
    described: DescriptionFacts | None = None,
    *,
    excluded: int = 0,
    **known: Any,
) -> RolloutFacts:
    """What parsing and matching found out about one sample, and what else is known of it.

    Args:
        parsed: what parsing made of the text; None where there was no text, only objects.
        match: its valid objects against ground truth; None where there is none to match with.
        described: what comparing the descriptions of the pairs found; None where nobody does.
        excluded: how many of the pairs are not supervised (``metrics_and_losses.md:197``).
        known: any other fact by its name; it stands above what is found here.

    Raises:
        ValueError: more pairs are excluded than there are.
        TypeError: no fact has this name.

    >>> match = ObjectMatch(((0, 1),), (0, 2), (1,), 3, 0.75, 6, (0.75,))
    >>> facts = rollout_facts(ParsedRollout(dropped_ambiguous=1), match, gen_new_tokens=40)
    >>> facts.gt_objects, facts.pred_objects, facts.matched, facts.dropped_ambiguous
    (3, 2, 1, 1)
    """
    found: dict[str, Any] = {}
    if parsed is not None:
        found = {
            "pred_objects": len(parsed.objects),
            "truncated": parsed.truncated,
            "invalid_rollout": parsed.invalid,
            "dropped_invalid": parsed.dropped_invalid,
            "dropped_ambiguous": parsed.dropped_ambiguous,
            "dropped_by_reason": parsed.dropped_by_reason,
        }
    if match is not None:
        pairs = len(match.pairs)
        if not 0 <= excluded <= pairs:
            raise ValueError(f"{excluded} pairs cannot be excluded of {pairs}")
        found |= {
            "gt_objects": pairs + len(match.fn),
            "pred_objects": pairs + len(match.fp),
            "matched": pairs - excluded,
            "excluded": excluded,
            "candidate_pairs": match.candidate_pairs,
            "gating_rejections": match.gating_rejections,
            "maskiou_sum": match.maskiou_sum,
            "maskiou_count": pairs,
        }
    if described is not None:
        found |= asdict(described)
    return RolloutFacts(**found | known)
