"""What a whole log gives away: each rule with its evidence, and series that show it."""

from __future__ import annotations

from .rule import Rule

__all__ = ["DOCTOR"]

STEPS = (
    Rule(
        "CXM502",
        "step-goes-back",
        "warning",
        "The step goes back within one log: what lies between stands there twice.",
        "step: 1 2 3 4 2 3; loss: 2.5 2.4 2.3 2.2 2.41 2.31",
        "step: 1 2 3 4 5 6; loss: 2.5 2.4 2.3 2.2 2.1 2.0",
        evidence="The steps before and after each jump, and how many there are.",
    ),
    Rule(
        "CXM503",
        "repeated-step",
        "warning",
        "One step is logged twice with the same key, as two ranks or a retry leave it.",
        "step: 1 2 2 3; loss: 2.5 2.4 2.45 2.3",
        "step: 1 2 3 4; loss: 2.5 2.4 2.3 2.2",
        evidence="The steps, and a key that stands in both records. Another evaluation set, and a "
        "summary at the end, have other keys and are none.",
    ),
    Rule(
        "CXM504",
        "missing-steps",
        "warning",
        "A log that goes by even steps leaves some out.",
        "step: 10 20 30 40 50 60 70 80 110 120 130 140; "
        "loss: 2.9 2.8 2.7 2.6 2.5 2.4 2.3 2.2 2.1 2.0 1.9 1.8",
        "step: 10 20 30 40 50 60 70 80 90 100 110 120; "
        "loss: 2.9 2.8 2.7 2.6 2.5 2.4 2.3 2.2 2.1 2.0 1.9 1.8",
        evidence="The usual distance of steps, kept in 80 % of the log, and each gap that is a "
        "multiple of it.",
    ),
)

NAMES = (
    Rule(
        "CXM510",
        "mean-under-a-count",
        "error",
        "A key that is named as a count is no whole number: it is a mean of counts.",
        "samples_total: 96 96 96; a/pred_count: 2.01041667 1.90625 2.45833333",
        "samples_total: 96 96 96; a/pred_count: 193 183 236",
        evidence="The fractions; a factor of the log or of the run that makes every record whole; "
        "the same name in a family beside that is whole.",
    ),
    Rule(
        "CXM511",
        "sum-under-a-mean",
        "error",
        "A key that is named as a mean or a share is a sum.",
        "len_mean: 320 330 290; len_total: 320 330 290; len_count: 4 5 4",
        "len_mean: 80 66 72.5; len_total: 320 330 290; len_count: 4 5 4",
        evidence="It equals the total beside it, is a whole multiple of its ratio, or leaves 0..1 "
        "in a few records.",
    ),
    Rule(
        "CXM512",
        "disordered-quantiles",
        "error",
        "A higher quantile is less than a lower one, or a mean lies outside its extremes.",
        "len_p90: 30.5 31.5 33; len_p99: 28.5 40 41",
        "len_p90: 30.5 31.5 33; len_p99: 38.5 40 41",
        evidence="Both values at the first records.",
    ),
)

LAWS = (
    Rule(
        "CXM520",
        "broken-relation",
        "error",
        "A formula of the catalogue, or a ratio that names promise, does not hold.",
        "a/hit_rate: 0.5 0.25 0.9; a/hit_rate_num: 5 2 3; a/hit_rate_den: 10 8 12",
        "a/hit_rate: 0.5 0.25 0.25; a/hit_rate_num: 5 2 3; a/hit_rate_den: 10 8 12",
        evidence="Both sides, forgiven what the log's rounding can do; a factor if one explains "
        "every record.",
    ),
    Rule(
        "CXM521",
        "atoms-and-loss",
        "error",
        "The terms under loss/ do not add up to the loss.",
        "loss: 1.0 0.9 0.8; loss/A1_text/struct_ce: 0.4 0.4 0.4; loss/A1_text/desc_ce: 0.1 0.1 0.1",
        "loss: 1.0 0.9 0.8; loss/A1_text/struct_ce: 0.6 0.6 0.5; loss/A1_text/desc_ce: 0.4 0.3 0.3",
        evidence="The loss and the sum of all terms, undeclared ones too. Where no term is "
        "declared, most records must add up before the others are findings.",
    ),
    Rule(
        "CXM522",
        "beyond-universe",
        "error",
        "More were picked than there were to pick from.",
        "a/valid_pred_objects: 310 239 231; a/pred_objects: 213 246 242",
        "a/valid_pred_objects: 207 239 231; a/pred_objects: 213 246 242",
        evidence="Both counts, and the excess. Universes come from the catalogue's rates and from "
        "names: valid_x of x, x_num of x_den, matched of predictions and ground truth.",
    ),
    Rule(
        "CXM523",
        "not-conserved",
        "error",
        "Parts do not add up to their whole, or two counts of one thing differ by a third.",
        "a/boxes_total: 10 14 12 11 23; a/boxes_kept: 3 2 6 5 3; a/boxes_lost: 7 12 4 6 20",
        "a/boxes_total: 10 14 12 11 23; a/boxes_kept: 3 2 6 5 3; a/boxes_lost: 7 12 6 6 20",
        evidence="The sums; or the third count that is exactly the difference in every record.",
    ),
)

COUNTS = (
    Rule(
        "CXM530",
        "multiplied-count",
        "error",
        "A count was added once for each pack or micro-step.",
        "rollout/matched: 160 164 183; rollout/matched_count: 2880 2952 3294; "
        "train/micro_steps: 18 18 18",
        "rollout/matched: 160 164 183; rollout/matched_count: 160 164 183; "
        "train/micro_steps: 18 18 18",
        evidence="The factor, whole and the same number of the log in every record; the true "
        "values are the twin's.",
    ),
    Rule(
        "CXM531",
        "over-counted-rollouts",
        "error",
        "More rollouts are counted than were decoded.",
        "stage2/raw_rollouts: 288 288 192; rollout/decode_non_beam_count: 96 96 64; "
        "rollout/decode_beam_count: 0 0 0",
        "stage2/raw_rollouts: 96 96 64; rollout/decode_non_beam_count: 96 96 64; "
        "rollout/decode_beam_count: 0 0 0",
        evidence="The factor between the rollouts and the sum of those decoded with beams and "
        "without. A log whose policies each generate for every sample is none.",
    ),
)

GAUGES = (
    Rule(
        "CXM540",
        "diluted-gauge",
        "error",
        "A gauge was averaged with micro-batches or ranks that never saw it.",
        "step: 2 3 4; rollout/seed_base: 52084.375 104167.86458333 156251.35416667; "
        "train/samples_total: 96 96 96",
        "step: 2 3 4; rollout/seed_base: 1000020 2000023 3000026; train/samples_total: 96 96 96",
        evidence="A seed with a fraction, a flag between 0 and 1, a greatest count below 1, a knob "
        "that falls to k/n of itself and comes back. The factor, and the whole values that it "
        "gives back where they are constant or a line over the steps.",
    ),
)

STALE = (
    Rule(
        "CXM550",
        "carried-snapshot",
        "warning",
        "Values of older steps are logged again, under a prefix of their own.",
        "a/x: 0.5 - -; a/y: 0.25 - -; loss: 2.0 1.9 1.8; snapshot/a/x: - 0.5 0.5; "
        "snapshot/a/y: - 0.25 0.25",
        "a/x: 0.5 - -; a/y: 0.25 - -; loss: 2.0 1.9 1.8",
        evidence="The prefix whose keys are the log's other keys, and how often they repeat.",
    ),
    Rule(
        "CXM551",
        "never-zero",
        "error",
        "A gauge keeps its last value where nothing was counted: it can never return to zero.",
        "drop/reason/arity: 6 5 4 3; drop/reason/desc: 188 - - -; loss: 2.0 1.9 1.8 1.7; "
        "snapshot/drop/reason/desc: - 188 188 188; snapshot/loss: - 2.0 1.9 1.8",
        "drop/reason/arity: 6 5 4 3; drop/reason/desc: 188 0 0 0; loss: 2.0 1.9 1.8 1.7",
        evidence="The value that stays, at steps where the counts beside it say that there was "
        "none.",
    ),
    Rule(
        "CXM552",
        "stale-value",
        "warning",
        "A measured value repeats to the last digit while others move.",
        "gen/len_avg: 12.345678 12.345678 12.345678 13.456789 13.456789 13.456789 11.567891 "
        "11.567891 11.567891 12.987654; "
        "loss: 2.912345 2.812345 2.712346 2.612345 2.512345 2.412347 2.312345 2.212345 2.112345 "
        "2.012345",
        "gen/len_avg: 12.345678 12.545678 12.745678 13.456789 13.656789 13.156789 11.567891 "
        "11.167891 11.967891 12.987654; "
        "loss: 2.912345 2.812345 2.712346 2.612345 2.512345 2.412347 2.312345 2.212345 2.112345 "
        "2.012345",
        evidence="The share of exact repetitions, and the flag at which the value changes. "
        "Settings, schedules and the best so far are none.",
    ),
    Rule(
        "CXM553",
        "disagreeing-twins",
        "error",
        "Two names of one number have two values.",
        "loss: 2.5 2.4 2.3; train/loss: 2.5 2.4 9.9",
        "loss: 2.5 2.4 2.3; train/loss: 2.5 2.4 2.3",
        evidence="Both values; for a copy, that its live twin never had that value.",
    ),
)

ZEROS = (
    Rule(
        "CXM560",
        "zero-for-nothing",
        "warning",
        "A mean or rate of nothing is logged as a number; it must be absent.",
        "a/sim_mean: 0.71 0.0 0.69; a/sim_count: 12 0 9",
        "a/sim_mean: 0.71 - 0.69; a/sim_count: 12 0 9",
        evidence="The count that is 0 beside it; or a mean that is 0 over thousands of things.",
    ),
    Rule(
        "CXM561",
        "hidden-nan",
        "warning",
        "A loss is exactly 0 in a few records and never near 0 in the others.",
        "loss: 2.9 2.8 2.7 0.0 2.6 2.5 2.4 2.3 2.2 2.1 2.0 1.9",
        "loss: 2.9 2.8 2.7 2.65 2.6 2.5 2.4 2.3 2.2 2.1 2.0 1.9",
        evidence="The least other value, and numbers that are not finite in the same record.",
    ),
    Rule(
        "CXM562",
        "switched-off",
        "note",
        "The numbers of a feature are 0 in every record: it is off, and measures nothing.",
        "a/near_miss_count: 0 0 0; a/near_miss_pairs: 0 0 0; a/near_miss_mean: 0 0 0; loss: 3 2 1",
        "a/near_miss_count: 4 0 1; a/near_miss_pairs: 9 0 2; a/near_miss_mean: 0.5 - 0.5; "
        "loss: 3 2 1",
        evidence="Three keys or more with one beginning, none of which is ever anything but 0.",
    ),
    Rule(
        "CXM563",
        "constant-rate",
        "warning",
        "A rate is always 1: its numerator is its denominator.",
        "a/found_rate: 1 1 1 1 1; a/found_rate_num: 14 27 38 31 25; "
        "a/found_rate_den: 14 27 38 31 25",
        "a/found_rate: 1 0.5 1 1 1; a/found_rate_num: 14 27 38 31 25; "
        "a/found_rate_den: 14 54 38 31 25",
        evidence="The two counts, equal in every record.",
    ),
)

CLOCKS = (
    Rule(
        "CXM570",
        "mixed-throughput",
        "warning",
        "Things a second, whose things and whose seconds are of two populations.",
        "gen_tokens_total: 1000 1100 900; time/generate_s: 10 10.5 8; "
        "gen_tokens_per_s: 800 838.0952381 900; all_tokens_total: 8000 8800 7200",
        "gen_tokens_total: 1000 1100 900; time/generate_s: 10 10.5 8; "
        "gen_tokens_per_s: 100 104.76190476 112.5",
        evidence="What it divides instead: another total of the log, or its own times the ranks; "
        "or the policies that generated within the same seconds.",
    ),
    Rule(
        "CXM571",
        "cumulative-clock",
        "warning",
        "A clock of the whole run stands among the clocks of the step.",
        "time/forward_s: 21.5 20.25 22.125 21.75 20.5 21.0; "
        "time/gen_time: 130.5 262.25 391.125 522.5 650.75 781.0",
        "time/forward_s: 21.5 20.25 22.125 21.75 20.5 21.0; "
        "time/gen_time: 130.5 131.75 128.875 131.375 128.25 130.25",
        evidence="It never falls and ends at the sum of its differences, beside clocks that fall.",
    ),
    Rule(
        "CXM572",
        "cumulative-counter",
        "warning",
        "A total of the step adds up over the run.",
        "train/samples_total: 96 192 288 384 480 576 672 768 864 960 1056 1152",
        "train/samples_total: 96 96 96 96 96 96 96 96 96 96 96 96",
        evidence="Declared as a total of the step; never falls; its differences.",
    ),
)

DIGITS = (
    Rule(
        "CXM580",
        "stuck-counter",
        "error",
        "A counter stays where its type ends, or has lost its odd numbers.",
        "tokens_seen: 16777000 16777100 16777200 16777216 16777216 16777216",
        "tokens_seen: 16777000 16777100 16777200 16777300 16777400 16777500",
        evidence="The end of the type (2**24 for float32), and the growth up to it.",
    ),
    Rule(
        "CXM581",
        "few-digits",
        "note",
        "A measured value was rounded until few digits are left.",
        "kl: 0.0001 0.0002 0.0001 0.0003 0.0002 0.0001 0.0004 0.0002 0.0001 0.0003 0.0002 0.0005",
        "kl: 0.000112 0.000213 0.000134 0.000318 0.00024 0.000139 0.000411 0.000232 0.000121 "
        "0.000351 0.000261 0.000532",
        evidence="The last decimal that was logged, against the size of the values; or eight bits "
        "in every value.",
    ),
)

DOCTOR: tuple[Rule, ...] = (
    *STEPS, *NAMES, *LAWS, *COUNTS, *GAUGES, *STALE, *ZEROS, *CLOCKS, *DIGITS,
)  # fmt: skip
