"""Documented names that break the naming contract, frozen: a new key follows it."""

from __future__ import annotations

__all__ = ["DOCUMENTED"]

COUNTERS = """
accum/current_grad_steps accum/grad_steps base_ce/noncoord_tokens coord_diag/coord_tokens
eval_rollout/fn eval_rollout/fp eval_rollout/gt_objects eval_rollout/matched
eval_rollout/pred_objects pack/num_samples packing/post_rollout_buffer
packing/post_rollout_segments
rollout/excluded_from_supervision rollout/gating_rejections rollout/matched_for_supervision
rollout/parse_dropped_ambiguous rollout/parse_dropped_invalid rollout/parse_truncated
stage2/raw_rollouts stage2_ab/channel_b/closure_supervision/N_drop
stage2_ab/channel_b/invalid_rollout stage2_ab/channel_b/strict_drop/N_drop_invalid
stage2_ab/channel_b/strict_drop/N_valid_pred stage2_ab/channel_b/strict_drop/reason/bbox_invalid
stage2_ab/channel_b/strict_drop/reason/missing_desc
stage2_ab/channel_b/strict_drop/reason/order_violation
stage2_ab/channel_b/strict_drop/reason/other
stage2_ab/channel_b/strict_drop/reason/unexpected_keys
stage2_ab/channel_b/strict_drop/reason/wrong_arity train/micro_steps train/samples_seen
"""
RATIOS = """
coord_diag/A1/acc_top5 coord_diag/A2/acc_top5 coord_diag/B/acc_top5 coord_diag/acc_top5
coord_monitor/flip_coord_to_noncoord coord_monitor/flip_desc_to_coord
coord_monitor/flip_format_to_coord coord_monitor/flip_text_to_coord coord_token_acc
coord_token_acc_top5 desc_token_acc desc_token_acc_top5 format_token_acc format_token_acc_top5
packing/post_rollout_fill rollout/desc_exact_acc_on_matched
rollout/desc_sem_acc_on_matched rollout/f1 rollout/precision rollout/recall
stage2_ab/b_ratio_realized text_token_acc token_acc token_acc_top5
"""
# Evaluation logs the rate, and not the counter that it is made of.
EVAL_ONLY_RATES = "rollout/parse_truncated_rate"
# Names that other packages give.
FOREIGN_RATIO = "mean_token_accuracy"
FOREIGN_SETTING = "learning_rate"

DOCUMENTED: dict[str, frozenset[str]] = {
    "CXM601": frozenset(COUNTERS.split()),
    "CXM602": frozenset(f"{RATIOS} {FOREIGN_RATIO}".split()),
    "CXM603": frozenset(FOREIGN_SETTING.split()),
    "CXM610": frozenset(EVAL_ONLY_RATES.split()),
}
"""Rule to keys that it excuses."""
