"""From facts to keys: sums over the samples that count, all of them in one pass.

Rates and shares are not formed here: their totals are observed, and the catalogue divides.
"""
# ruff: noqa: SLF001 (a total without a key of its own is an underscored line of the catalogue)

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..catalogue.desc_monitor import DescMonitor
from ..catalogue.generation import Generation, Lengths
from ..catalogue.matching import Coverage, Matching, Parsing
from ..catalogue.rollout_eval import EvalRollout
from ..catalogue.two_channel import (
    ChannelB,
    ClosureSupervision,
    DropReasons,
    Stage2,
    StrictDrop,
)
from ..contract.kinds import Mean, Quantile, Total
from ..contract.metric import Metric
from ..window import Window
from .fact_columns import MODE, Facts
from .fact_groups import Judged

__all__ = ["Sums", "observe_channel_b", "observe_desc", "observe_rollouts"]

LENGTHS: dict[str, tuple[Mean, Quantile]] = {
    "gen_new_tokens": (Generation.gen_new_tokens_mean, Generation.gen_new_tokens_p90),
    "prompt_len": (Lengths.prompt_len_mean, Lengths.prompt_len_p90),
    "rollout_len": (Lengths.rollout_len_mean, Lengths.rollout_len_p90),
    "train_len": (Lengths.train_len_mean, Lengths.train_len_p90),
    "append_len": (Lengths.append_len_mean, Lengths.append_len_p90),
    "encoded_len": (Lengths.encoded_len_mean, Lengths.encoded_len_p90),
}
TOTALS: dict[str, tuple[str, Total]] = {
    "excluded": ("excluded", Matching.excluded_from_supervision),
    "fn_appended": ("fn_appended", Matching.fn_appended_total),
    "prefix_coord_targets": ("prefix_coord_targets", Coverage.prefix_coord_targets_total),
    "dropped_invalid": ("dropped_invalid", Parsing.parse_dropped_invalid),
    "dropped_ambiguous": ("dropped_ambiguous", Parsing.parse_dropped_ambiguous),
    "gating_rejections": ("gate", Matching.gating_rejections),
    "candidate_pairs": ("gate", Matching._candidate_pairs),
    "tail_tokens": ("tail", Coverage._tail_tokens),
    "tail_tokens_ignored": ("tail", Coverage._tail_tokens_ignored),
    "gt_objects": ("objects", Matching.gt_objects_total),
    "pred_objects": ("objects", Matching.valid_pred_objects_total),
    "matched": ("objects", Matching.matched_for_supervision),
}
ANY = {
    "pred_objects": Generation._samples_with_prediction,
    "matched": Generation._samples_with_match,
}


class Sums:
    """Masked sums that are waited for together: one stack and one sum for all of them.

    Args:
        facts: the columns.
        judged: by group, which samples count.
    """

    def __init__(self, facts: Facts, judged: dict[str, Judged]) -> None:
        self.facts = facts
        self._judged = judged
        self._rows: list[Any] = []
        self._wanted: list[tuple[Callable[..., None], int]] = []

    def counted(self, group: str, fact: str = "") -> Any:
        """The samples whose ``fact`` counts in ``group``; None where there is none to be seen."""
        if group not in self._judged or (fact and fact not in self.facts.columns):
            return None
        mask = self._judged[group].counted
        mask = mask & self.facts.columns[fact].known if fact else mask
        return mask if self.facts.on_device or mask.any() else None

    def add(self, observe: Callable[..., None], mask: Any, *columns: Any) -> None:
        """Call ``observe`` with the sum of each of ``columns`` over ``mask``."""
        for column in columns:
            self._rows.append(self.facts.xp.where(mask, column, 0.0))
        self._wanted.append((observe, len(columns)))

    def total(self, window: Window, metric: Metric, group: str, fact: str) -> None:
        """A total over the samples whose ``fact`` counts."""
        mask = self.counted(group, fact)
        if mask is not None:
            self.add(partial(window.observe, metric.key), mask, self.facts.value(fact))

    def number(self, window: Window, metric: Total, mask: Any) -> None:
        """How many samples ``mask`` holds for."""
        self.add(partial(window.observe, metric.key), mask, self.ones)

    @property
    def ones(self) -> Any:
        """1 for every sample."""
        return self.facts.xp.ones_like(next(iter(self.facts.columns.values())).values)

    def flush(self) -> None:
        """Form all sums and observe them."""
        if not self._rows:
            return
        sums = self.facts.xp.stack(self._rows).sum(1)
        numbers = iter(sums.unbind() if self.facts.on_device else sums.tolist())
        for observe, count in self._wanted:
            observe(*(next(numbers) for _ in range(count)))
        self._rows, self._wanted = [], []


def observe_rollouts(window: Window, sums: Sums) -> None:
    """Tokens, lengths, parsing, matching and coverage (metrics_and_losses.md:146-248)."""
    window.observe(Generation._samples, sums.facts.size)
    for fact, (mean, quantile) in LENGTHS.items():
        _observe_length(window, sums, fact, mean, quantile)
    for fact, (group, total) in TOTALS.items():
        sums.total(window, total, group, fact)
    _observe_samples(window, sums)
    mask = sums.counted("maskiou")
    if mask is not None:
        total, count = map(sums.facts.value, ("maskiou_sum", "maskiou_count"))
        sums.add(lambda x, n: _observe_overlap(window, x, n), mask, total, count)


def _observe_length(window: Window, sums: Sums, fact: str, mean: Mean, quantile: Quantile) -> None:
    mask = sums.counted(fact)
    if mask is None:
        return
    values = sums.facts.value(fact)
    sums.add(lambda x, n: window.observe(mean, x, n), mask, values, sums.ones)
    if sums.facts.on_device:
        window.observe(quantile, values, mask)
    else:
        window.observe(quantile, values[mask].tolist())
    if fact == "gen_new_tokens":
        sums.total(window, Generation.gen_new_tokens_total, fact, fact)
        sums.number(window, Generation._samples_measured, mask)


def _observe_overlap(window: Window, total: Any, count: Any) -> None:
    window.observe(Matching.matched_maskiou_mean, total, count)
    window.observe(Matching.matched_maskiou_count, count)


def _observe_samples(window: Window, sums: Sums) -> None:
    """Samples that were decoded, cut off, that predicted and that matched."""
    beam = sums.counted(MODE)
    if beam is not None:
        of_beam = sums.facts.value(MODE)
        sums.total(window, Generation.decode_beam_count, MODE, MODE)
        without = Generation.decode_non_beam_count
        sums.add(lambda x: window.observe(without, x), beam, 1 - of_beam)
    parsed = sums.counted("truncated")
    if parsed is not None:
        sums.total(window, Generation.parse_truncated, "truncated", "truncated")
        sums.number(window, Generation._samples_parsed, parsed)
    judged = sums.counted("objects")
    if judged is not None:
        sums.number(window, Generation._samples_judged, judged)
    for fact, metric in ANY.items():
        mask = sums.counted("objects", fact)
        if mask is not None:
            any_of = sums.facts.xp.where(sums.facts.value(fact) > 0, 1.0, 0.0)
            sums.add(partial(window.observe, metric), mask, any_of)


def observe_desc(window: Window, sums: Sums) -> None:
    """Whether matched objects are called the same (metrics_and_losses.md:213-226)."""
    compared = sums.counted("desc")
    if compared is None:
        return
    value = sums.facts.value
    sums.total(window, DescMonitor.desc_pairs_total, "desc", "desc_pairs")
    sums.total(window, DescMonitor._exact_matches, "desc", "desc_exact")
    embedded = ~compared & compared
    similar = sums.counted("desc_semantic")
    if similar is not None:
        embedded = embedded | similar
        more = value("desc_semantic") - value("desc_exact")
        sums.add(partial(window.observe, DescMonitor._similar_matches), similar, more)
    measured = sums.counted("desc_sim")
    if measured is not None:
        embedded = embedded | measured
        total, count = value("desc_sim_sum"), value("desc_sim_count")
        sums.add(lambda x, n: _observe_similarity(window, x, n), measured, total, count)
    _observe_enabled(window, sums.facts, compared, embedded)


def _observe_similarity(window: Window, total: Any, count: Any) -> None:
    window.observe(DescMonitor.desc_sem_sim_mean, total, count)
    window.observe(DescMonitor.desc_sem_sim_count, count)


def _observe_enabled(window: Window, facts: Facts, compared: Any, embedded: Any) -> None:
    """Whether any sample had embeddings, and whether every sample had them."""
    somewhere, everywhere = embedded.any(), (embedded | ~compared).all()
    if not facts.on_device:
        somewhere, everywhere = int(somewhere), int(everywhere)
    window.observe(DescMonitor.desc_sem_enabled, somewhere)
    window.observe(EvalRollout.desc_sem_enabled, everywhere)


def observe_channel_b(window: Window, sums: Sums) -> None:
    """What Channel-B could not use of its rollouts (metrics_and_losses.md:264-287)."""
    window.observe(Stage2.raw_rollouts, sums.facts.size)
    sums.total(window, StrictDrop.N_valid_pred, "strict", "pred_objects")
    sums.total(window, StrictDrop.N_drop_invalid, "strict", "dropped_invalid")
    for metric in DropReasons.metrics_and_laws()[0]:
        reason = f"reason/{metric.name}"
        sums.total(window, metric, reason, reason)
    sums.total(window, ClosureSupervision.N_drop, "closure_dropped", "closure_dropped")
    sums.total(window, ChannelB.invalid_rollout, "invalid_rollout", "invalid_rollout")
