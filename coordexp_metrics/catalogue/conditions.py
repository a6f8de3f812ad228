"""When a key is present: one name for each condition that several families share."""

from __future__ import annotations

from ..contract.units import Condition

ATOM_WEIGHT = Condition(
    "atom_weight", "the effective weight (module weight x term weight) is not zero"
)
SELF_CONTEXT_TEXT = Condition(
    "self_context_text", "n_softctx_iter > 1 and self_context_struct_ce_weight is not zero"
)
COORD_DIAG_WEIGHT = Condition(
    "coord_diag_weight", "the effective weight of the coord_diag module is not zero"
)
COORD_DIAG_SELF_CONTEXT = Condition(
    "coord_diag_self_context", "the coord_diag module has a weight and n_softctx_iter > 1"
)
COORD_LOSS = Condition("coord_loss", "custom.coord_soft_ce_w1.enabled: true")

LOG_TOP5 = Condition("log_top5", "custom.token_type_metrics.log_top5 is not false")
TOKEN_TYPES = Condition("token_types", "custom.token_type_metrics.enabled: true")
TOKEN_TYPES_TOP5 = Condition(
    "token_types_top5", "custom.token_type_metrics.enabled: true and log_top5 is not false"
)
MONITOR_MASS = Condition(
    "monitor_mass", "custom.token_type_metrics.coord_monitor_mass is not false"
)
MONITOR_MASS_BY_TYPE = Condition(
    "monitor_mass_by_type",
    "custom.token_type_metrics.enabled: true and coord_monitor_mass is not false",
)

ROLLOUT_RAN = Condition("rollout_ran", "a rollout ran in this step")
DESC_MONITOR = Condition("desc_monitor", "a rollout ran and the description monitor is enabled")
DESC_EMBEDDINGS = Condition(
    "desc_embeddings", "the description monitor is enabled and its embedding model is available"
)
CHANNEL_B_RAN = Condition("channel_b_ran", "this step ran Channel-B")
TWO_CHANNEL_RUN = Condition("two_channel", "custom.trainer_variant: stage2_two_channel")
STAGE2_RUN = Condition("stage2", "a Stage-2 trainer logs")

EVAL_RUNS = Condition("eval_runs", "training.eval_strategy != no")
EVAL_DETECTION = Condition("eval_detection", "rollout_matching.eval_detection.enabled: true")
EVAL_DETECTION_OK = Condition(
    "eval_detection_ok", "rollout_matching.eval_detection.enabled: true and COCO did not fail"
)

LOSS_SCALING = Condition("loss_scaling", "the run scales its loss for half precision")
COUNTS_INPUT_TOKENS = Condition("counts_input_tokens", "include_num_input_tokens_seen is set")
COUNTS_NONZERO = Condition("counted", "the counter is above zero")
