"""One fault each, put into a clean log of ours: what went wrong in a trainer, as it looks after."""

import copy

FAULTS = []


def fault(rule, key):
    """Registers an injection, which changes rows of payloads in place."""

    def register(function):
        FAULTS.append((rule, key, function))
        return function

    return register


def rolled(rows):
    """The metrics of steps that generated."""
    return [row["metrics"] for row in rows if "rollout/gt_objects_total" in row["metrics"]]


def every(rows):
    return [row["metrics"] for row in rows]


@fault("CXM203", "rollout/_samples")
def leaked_helper(rows):
    for metrics in rolled(rows):
        metrics["rollout/_samples"] = 18


@fault("CXM203", "probe/_hits_num")
def leaked_helper_of_a_foreign_family(rows):
    every(rows)[0]["probe/_hits_num"] = 3


@fault("CXM301", "percentage")
def text_among_numbers(rows):
    every(rows)[2]["percentage"] = {"of": 3}


@fault("CXM502", "")
def resumed_into_the_same_log(rows):
    rows += copy.deepcopy(rows[-5:])


@fault("CXM503", "loss")
def logged_by_two_ranks(rows):
    rows.insert(6, copy.deepcopy(rows[5]))


@fault("CXM504", "")
def steps_lost(rows):
    del rows[10:13]


@fault("CXM510", "probe/pairs_count")
def count_as_mean_over_micro_steps(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/pairs_count"] = (7 * n + 5) / metrics["train/micro_steps"]


@fault("CXM510", "rollout/gt_objects_total")
def declared_total_as_mean_over_ranks(rows):
    for metrics in rolled(rows):
        metrics["rollout/gt_objects_total"] = (metrics["rollout/gt_objects_total"] + 1) / 4


@fault("CXM511", "probe/len_mean")
def mean_summed_over_micro_steps(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/len_total"], metrics["probe/len_count"] = 100 + 7 * n, 5 + n % 3
        metrics["probe/len_mean"] = 6 * (100 + 7 * n) / (5 + n % 3)


@fault("CXM512", "rollout/gen_new_tokens_p90")
def quantile_above_the_next(rows):
    for metrics in rolled(rows):
        metrics["rollout/gen_new_tokens_p99"] = metrics["rollout/gen_new_tokens_p90"] - 10


@fault("CXM520", "rollout/precision")
def rate_over_another_denominator(rows):
    for metrics in rolled(rows):
        metrics["rollout/precision"] = min(1.0, metrics["rollout/precision"] * 1.07)


@fault("CXM521", "loss")
def an_atom_left_out_of_the_loss(rows):
    for metrics in every(rows):
        metrics["loss"] -= next(v for k, v in metrics.items() if k.startswith("loss/"))


@fault("CXM521", "loss")
def atoms_of_one_micro_step_in_six(rows):
    for metrics in every(rows):
        metrics["loss"] *= 6


@fault("CXM522", "probe/valid_pred_objects")
def more_valid_than_predicted(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/pred_objects"] = 40 + n
        metrics["probe/valid_pred_objects"] = 35 + n + (9 if n == 4 else 0)


@fault("CXM523", "stage2_ab/channel_b/strict_drop/N_drop_invalid")
def a_reason_counted_twice(rows):
    for metrics in rolled(rows)[3:7]:
        metrics["stage2_ab/channel_b/strict_drop/reason/wrong_arity"] += 5


@fault("CXM523", "rollout/parse_dropped_invalid")
def a_bucket_missing_from_one_of_two_counts(rows):
    reason = "stage2_ab/channel_b/strict_drop/reason/bbox_invalid"
    for metrics in rolled(rows):
        metrics["rollout/parse_dropped_invalid"] -= max(1, metrics[reason])
        metrics[reason] = max(1, metrics[reason])


@fault("CXM530", "rollout/matched_for_supervision_count")
def count_added_for_each_micro_step(rows):
    for metrics in rolled(rows):
        matched, packs = metrics["rollout/matched_for_supervision"], metrics["train/micro_steps"]
        metrics["rollout/matched_for_supervision_count"] = matched * packs


@fault("CXM531", "stage2/raw_rollouts")
def rollouts_counted_on_each_of_four_ranks(rows):
    for metrics in rolled(rows):
        metrics["stage2/raw_rollouts"] *= 4


@fault("CXM540", "rollout/seed_base")
def seed_seen_by_one_sample_in_many(rows):
    for row in rows:
        if "rollout/gt_objects_total" in row["metrics"]:
            samples = row["metrics"]["train/samples_total"]
            row["metrics"]["rollout/seed_base"] = (17 + 1000003 * row["global_step"]) * 3 / samples


@fault("CXM540", "rollout/temperature")
def knob_missing_on_a_micro_step(rows):
    for n, metrics in enumerate(rolled(rows)):
        metrics["rollout/temperature"] = 0.7 * (5 / 6 if n % 4 == 1 else 1)


@fault("CXM540", "probe/max_cluster_size")
def greatest_count_below_one(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/max_cluster_size"] = (1 + n % 5) / 32


@fault("CXM550", "snapshot/rollout/f1")
def carried_under_a_prefix(rows):
    last = {}
    for metrics in every(rows):
        old = {f"snapshot/{key}": value for key, value in last.items() if key not in metrics}
        last |= {k: v for k, v in metrics.items() if k in {"rollout/f1", "rollout/recall"}}
        metrics |= old


@fault("CXM551", "probe/hit_rate")
def keeps_the_last_rate(rows):
    last = 0.5
    for n, metrics in enumerate(every(rows)):
        hits = 0 if n % 4 in {2, 3} else n + 1
        last = hits / (2 * n + 3) if hits else last
        metrics["probe/hit_rate"], metrics["probe/hit_count"] = last, hits
        metrics["probe/hit_num"] = hits


@fault("CXM552", "rollout/matched_maskiou_mean")
def stale_for_three_steps(rows):
    seen = rolled(rows)
    for n, metrics in enumerate(seen):
        metrics["rollout/matched_maskiou_mean"] = seen[n - n % 4]["rollout/matched_maskiou_mean"]


@fault("CXM553", "train/grad_norm")
def alias_that_differs(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["train/grad_norm"] = metrics["grad_norm"] + (n % 2)


@fault("CXM560", "rollout/desc_sem_sim_mean")
def ratio_with_a_missing_part(rows):
    for n, metrics in enumerate(rolled(rows)):
        metrics["rollout/desc_sem_sim_mean"], metrics["rollout/desc_sem_sim_count"] = 0.0, 9 + n


@fault("CXM560", "probe/iou_mean")
def zero_where_nothing_was_counted(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/iou_count"] = n % 3
        metrics["probe/iou_mean"] = 0.6 + n / 100 if n % 3 else 0.0


@fault("CXM561", "loss")
def nan_replaced_by_zero(rows):
    for metrics in every(rows)[7:9]:
        metrics["loss"] = 0.0
        for key in [key for key in metrics if key.startswith("loss/")]:
            metrics[key] = 0.0


@fault("CXM562", "probe/near_miss_count")
def feature_that_is_off(rows):
    for metrics in every(rows):
        metrics |= dict.fromkeys([f"probe/near_miss_{x}" for x in ("count", "pairs", "mean")], 0)


@fault("CXM563", "probe/found_rate")
def denominator_changed_without_a_rename(rows):
    for n, metrics in enumerate(every(rows)):
        metrics |= {"probe/found_rate": 1, "probe/found_rate_num": n + 5}
        metrics["probe/found_rate_den"] = n + 5


@fault("CXM570", "probe/tokens_per_s")
def tokens_of_all_ranks_over_seconds_of_one(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/tokens_total"], metrics["time/probe_s"] = 1000 + 37 * n, 9 + n % 4
        metrics["probe/tokens_per_s"] = 8 * (1000 + 37 * n) / (9 + n % 4)


@fault("CXM571", "time/rollout_total_time")
def clock_of_the_run(rows):
    total = 0.0
    for metrics in rolled(rows):
        total += metrics["time/rollout_generate_s"] + 1.5
        metrics["time/rollout_total_time"] = total


@fault("CXM572", "train/samples_total")
def counter_never_reset(rows):
    total = 0
    for metrics in every(rows):
        total += metrics["train/samples_total"]
        metrics["train/samples_total"] = total


@fault("CXM580", "probe/tokens_seen")
def counter_in_float32(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/tokens_seen"] = min(2**24, 2**24 - 1200 + 100 * n)


@fault("CXM581", "probe/kl")
def rounded_to_four_decimals(rows):
    for n, metrics in enumerate(every(rows)):
        metrics["probe/kl"] = round(0.0002 + 0.00007 * (n % 5), 4)


@fault("CXM530", "rollout/matched_for_supervision")
def declared_count_multiplied_which_several_laws_tell(rows):
    for metrics in rolled(rows):
        metrics["rollout/matched_for_supervision"] *= metrics["train/micro_steps"]


@fault("CXM530", "rollout/gt_objects_total")
def declared_count_summed_over_four_ranks_that_all_had_it(rows):
    for metrics in rolled(rows):
        metrics["rollout/gt_objects_total"] *= 4


@fault("CXM540", "stage2/channel_b")
def declared_flag_averaged(rows):
    for metrics in every(rows):
        metrics["stage2/channel_b"] *= 0.5


@fault("CXM540", "rollout/top_k")
def whole_knob_averaged(rows):
    for n, metrics in enumerate(rolled(rows)):
        metrics["rollout/top_k"] = 64 * (1 + n % 5) / 6


@fault("CXM552", "rollout/gt_objects_total")
def rollout_keys_logged_again_where_nothing_was_generated(rows):
    last = {}
    for metrics in every(rows):
        new = {k: v for k, v in metrics.items() if k.startswith("rollout/")}
        last = new or last
        metrics |= last


@fault("CXM553", "coord_softce_w1/loss")
def declared_alias_with_another_value(rows):
    for n, metrics in enumerate(every(rows)):
        metrics |= {"coord_diag/loss": 1.0 + n, "coord_softce_w1/loss": 1.0 + n + n % 2}


@fault("CXM560", "rollout/precision")
def declared_rate_of_nothing(rows):
    metrics = rolled(rows)[4]
    for key in ("valid_pred_objects_total", "matched_for_supervision", "precision", "f1"):
        metrics[f"rollout/{key}"] = 0
    metrics["rollout/fn_total"] = metrics["rollout/gt_objects_total"]


@fault("CXM520", "train/samples_seen")
def unlogged_steps_are_lost_from_the_running_total(rows):
    total = 0
    for metrics in every(rows):
        metrics["train/samples_seen"] = total = total + metrics["train/samples_total"] // 10


@fault("CXM571", "time/rollout_generate_s")
def declared_clock_never_reset(rows):
    total = 0.0
    for metrics in rolled(rows):
        metrics["time/rollout_generate_s"] = total = total + metrics["time/rollout_generate_s"]


@fault("CXM570", "rollout/gen_tokens_per_s")
def declared_throughput_of_other_seconds(rows):
    for metrics in rolled(rows):
        metrics["rollout/gen_tokens_per_s"] *= 1.3
