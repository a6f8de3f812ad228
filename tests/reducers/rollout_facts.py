"""Facts that belong together, and every rollout metric worked out from them by plain loops.

Amounts are multiples of 1/64, so that sums of them are exact in any order.
"""

import math
import random
from collections import Counter
from dataclasses import fields

from hypothesis import strategies as st

from coordexp_metrics.rollouts import RolloutFacts

NAMES = [field.name for field in fields(RolloutFacts)]
BUCKETS = (
    "missing_desc",
    "wrong_arity",
    "unexpected_keys",
    "order_violation",
    "bbox_invalid",
    "other",
)
PARTS = {
    "lengths": (
        "gen_new_tokens",
        "prompt_len",
        "rollout_len",
        "train_len",
        "append_len",
        "encoded_len",
    ),
    "decoding": ("decode_mode",),
    "parsing": ("truncated", "invalid_rollout", "closure_dropped"),
    "drops": ("dropped_invalid", "dropped_ambiguous", "dropped_by_reason"),
    "objects": ("gt_objects", "pred_objects", "matched"),
    "supervision": ("excluded", "fn_appended", "prefix_coord_targets"),
    "gate": ("candidate_pairs", "gating_rejections"),
    "maskiou": ("maskiou_sum", "maskiou_count"),
    "tail": ("tail_tokens", "tail_tokens_ignored"),
    "desc": ("desc_pairs", "desc_exact"),
    "embeddings": ("desc_semantic", "desc_sim_sum", "desc_sim_count"),
}


def sixty_fourths(r, low, high):
    return r.randint(64 * low, 64 * high) / 64


def facts_of(seed):
    """One rollout of which everything is known, and nothing contradicts anything."""
    r = random.Random(seed)
    upto = r.choice([0, 1, 3, 30])
    truth, said = r.randint(0, upto), r.randint(0, upto)
    pairs = r.randint(0, min(truth, said))
    excluded = r.randint(0, pairs)
    reasons = Counter(r.choices((*BUCKETS, "brand_new", "another"), k=r.randint(0, 5)))
    exact, embedded = r.randint(0, pairs), r.randint(0, pairs)
    tail, candidates = r.choice([0, 7, 90]), r.randint(0, truth * said)
    length = r.choice([0, 1, 40, 700, 2_000_000])
    return RolloutFacts(
        gen_new_tokens=r.randint(0, length),
        prompt_len=r.randint(0, 50),
        rollout_len=r.randint(0, length),
        train_len=r.randint(0, 5000),
        append_len=tail,
        encoded_len=r.randint(0, 90_000),
        decode_mode=r.choice(["beam", "greedy", "sample"]),
        truncated=r.random() < 0.4,
        invalid_rollout=said == 0 and r.random() < 0.5,
        closure_dropped=r.random() < 0.1,
        dropped_invalid=sum(reasons.values()),
        dropped_ambiguous=r.randint(0, 2),
        dropped_by_reason=dict(reasons),
        gt_objects=truth,
        pred_objects=said,
        matched=pairs - excluded,
        excluded=excluded,
        fn_appended=truth - pairs,
        candidate_pairs=candidates,
        gating_rejections=r.randint(0, candidates),
        maskiou_sum=sixty_fourths(r, 0, pairs),
        maskiou_count=pairs,
        prefix_coord_targets=4 * (pairs - excluded),
        tail_tokens=tail,
        tail_tokens_ignored=r.randint(0, tail),
        desc_pairs=pairs,
        desc_exact=exact,
        desc_semantic=r.randint(exact, pairs),
        desc_sim_sum=sixty_fourths(r, -embedded, embedded),
        desc_sim_count=embedded,
    )


def without(facts, *names):
    """The same sample, of which ``names`` are not known."""
    values = {name: getattr(facts, name) for name in NAMES if name not in names}
    return RolloutFacts(**values)


seeds = st.integers(0, 2**32)
whole = st.builds(facts_of, seeds)
missing = st.sets(st.sampled_from([*PARTS, *NAMES]), max_size=5)


def names_in(choice):
    return {name for part in choice for name in PARTS.get(part, (part,))}


partial = st.builds(lambda facts, gone: without(facts, *names_in(gone)), whole, missing)
batches = st.lists(whole, max_size=12)
ragged_batches = st.lists(whole | partial, max_size=12)


def columns_of(samples, convert=list):
    """The same samples as columns; ``convert`` makes a list of whole numbers or floats a column."""
    columns = {}
    for name in NAMES:
        values = [getattr(sample, name) for sample in samples]
        if name == "decode_mode":
            columns[name] = values
        elif name == "dropped_by_reason":
            tables = [bucketed(table) for table in values]
            columns[name] = {bucket: convert([t[bucket] for t in tables]) for bucket in BUCKETS}
        else:
            columns[name] = convert(values)
    return columns


def bucketed(reasons):
    table = dict.fromkeys(BUCKETS, 0)
    for reason, count in reasons.items():
        table[reason if reason in BUCKETS else "other"] += count
    return table


class Oracle:
    """What the metrics of ``samples`` are, worked out one sample and one key at a time."""

    def __init__(self, samples, two_channel=False):
        self.samples = samples
        self.out = {}
        if not samples:
            return
        self.lengths()
        self.sample_counts()
        self.objects()
        self.descriptions()
        if two_channel:
            self.channel_b()

    def knowing(self, *names):
        return [s for s in self.samples if all(getattr(s, name) is not None for name in names)]

    def sum(self, samples, name):
        return sum(getattr(sample, name) for sample in samples)

    def put(self, key, value, samples):
        if samples:
            self.out[key] = value

    def ratio(self, key, numerator, denominator):
        if denominator:
            self.out[key] = numerator / denominator

    def lengths(self):
        for name in PARTS["lengths"]:
            values = [getattr(s, name) for s in self.knowing(name)]
            stem = "gen_new_tokens" if name == "gen_new_tokens" else name
            if values:
                self.out[f"rollout/{stem}_mean"] = sum(values) / len(values)
                self.out[f"rollout/{stem}_p90"] = type_seven(values, 0.9)
            if values and name == "gen_new_tokens":
                self.out["rollout/gen_new_tokens_p99"] = type_seven(values, 0.99)
                self.out["rollout/gen_new_tokens_total"] = sum(values)

    def sample_counts(self):
        decoded = self.knowing("decode_mode")
        beams = [s for s in decoded if s.decode_mode == "beam"]
        self.put("rollout/decode_beam_count", len(beams), decoded)
        self.put("rollout/decode_non_beam_count", len(decoded) - len(beams), decoded)
        parsed = self.knowing("truncated")
        cut = sum(s.truncated for s in parsed)
        self.put("rollout/parse_truncated", cut, parsed)
        self.ratio("rollout/parse_truncated_rate", cut, len(parsed))

    def objects(self):
        judged = self.knowing("gt_objects", "pred_objects", "matched")
        gt, said, matched = (self.sum(judged, name) for name in PARTS["objects"])
        self.put("rollout/gt_objects_total", gt, judged)
        self.put("rollout/valid_pred_objects_total", said, judged)
        self.put("rollout/matched_for_supervision", matched, judged)
        self.put("rollout/fn_total", gt - matched, judged)
        self.ratio("rollout/precision", matched, said)
        self.ratio("rollout/recall", matched, gt)
        self.ratio("rollout/f1", 2 * matched, gt + said)
        predicting = sum(s.pred_objects > 0 for s in judged)
        matching = sum(s.matched > 0 for s in judged)
        self.ratio("rollout/sample_valid_pred_rate", predicting, len(judged))
        self.ratio("rollout/sample_any_match_rate", matching, len(judged))
        self.drops(judged, said)
        self.supervision(judged, matched)
        self.geometry()

    def beside_objects(self, name):
        """Samples that know ``name``, and all of their objects or nothing of them."""
        return [
            s
            for s in self.knowing(name)
            if len({getattr(s, n) is None for n in PARTS["objects"]}) == 1
        ]

    def drops(self, judged, said):
        known = {}
        for name in ("dropped_invalid", "dropped_ambiguous"):
            dropping = self.beside_objects(name)
            self.put(f"rollout/parse_{name}", self.sum(dropping, name), dropping)
            known[name] = self.sum(dropping, name) if dropping else None
        if judged and None not in known.values():
            gone = sum(known.values())
            self.out["rollout/parse_obj_total"] = said + gone
            self.ratio("rollout/parse_obj_valid_frac", said, said + gone)
            self.ratio("rollout/parse_obj_drop_frac", gone, said + gone)

    def supervision(self, judged, matched):
        spared = self.beside_objects("excluded")
        excluded = self.sum(spared, "excluded")
        self.put("rollout/excluded_from_supervision", excluded, spared)
        if judged and spared:
            self.ratio("rollout/excluded_rate", excluded, matched + excluded)
        appended = self.beside_objects("fn_appended")
        self.put("rollout/fn_appended_total", self.sum(appended, "fn_appended"), appended)
        slots = self.beside_objects("prefix_coord_targets")
        targets = self.sum(slots, "prefix_coord_targets")
        self.put("rollout/prefix_coord_targets_total", targets, slots)
        if judged and slots:
            self.ratio("rollout/prefix_coord_targets_per_matched", targets, matched)

    def geometry(self):
        gated = self.knowing(*PARTS["gate"])
        refused = self.sum(gated, "gating_rejections")
        self.put("rollout/gating_rejections", refused, gated)
        self.ratio("rollout/gating_rejection_rate", refused, self.sum(gated, "candidate_pairs"))
        overlapping = self.knowing(*PARTS["maskiou"])
        pairs = self.sum(overlapping, "maskiou_count")
        self.put("rollout/matched_maskiou_count", pairs, overlapping)
        self.ratio("rollout/matched_maskiou_mean", self.sum(overlapping, "maskiou_sum"), pairs)
        tails = self.knowing(*PARTS["tail"])
        ignored, tokens = self.sum(tails, "tail_tokens_ignored"), self.sum(tails, "tail_tokens")
        self.ratio("rollout/tail_ignore_frac", ignored, tokens)

    def descriptions(self):
        compared = self.knowing("desc_pairs", "desc_exact")
        pairs, exact = self.sum(compared, "desc_pairs"), self.sum(compared, "desc_exact")
        self.put("rollout/desc_pairs_total", pairs, compared)
        self.ratio("rollout/desc_exact_acc_on_matched", exact, pairs)
        similar = [s for s in compared if s.desc_semantic is not None]
        alike = exact + sum(s.desc_semantic - s.desc_exact for s in similar)
        if similar:
            self.ratio("rollout/desc_sem_acc_on_matched", alike, pairs)
        measured = [s for s in compared if None not in (s.desc_sim_sum, s.desc_sim_count)]
        embedded = self.sum(measured, "desc_sim_count")
        self.put("rollout/desc_sem_sim_count", embedded, measured)
        self.ratio("rollout/desc_sem_sim_mean", self.sum(measured, "desc_sim_sum"), embedded)
        self.put("rollout/desc_sem_enabled", int(bool(similar or measured)), compared)
        with_model = [s for s in compared if s in similar or s in measured]
        self.put("eval_rollout/desc_sem_enabled", int(with_model == compared), compared)

    def channel_b(self):
        self.out["stage2/raw_rollouts"] = len(self.samples)
        base = "stage2_ab/channel_b"
        strict = self.knowing("pred_objects", "dropped_invalid")
        self.put(f"{base}/strict_drop/N_valid_pred", self.sum(strict, "pred_objects"), strict)
        self.put(f"{base}/strict_drop/N_drop_invalid", self.sum(strict, "dropped_invalid"), strict)
        told = [s for s in self.samples if s.dropped_by_reason or s.dropped_invalid == 0]
        for bucket in BUCKETS:
            count = sum(bucketed(s.dropped_by_reason)[bucket] for s in told)
            self.put(f"{base}/strict_drop/reason/{bucket}", count, told)
        for name, key in (
            ("closure_dropped", "closure_supervision/N_drop"),
            ("invalid_rollout", "invalid_rollout"),
        ):
            known = self.knowing(name)
            self.put(f"{base}/{key}", sum(getattr(s, name) for s in known), known)

    def metrics(self, mode="train"):
        """What a payload of ``mode`` should hold."""
        if mode == "train":
            return {k: v for k, v in self.out.items() if not k.startswith("eval_")}
        named = {EVAL_NAMES.get(key, key): value for key, value in self.out.items()}
        if "eval_rollout/matched" in named:
            said, matched = named["eval_rollout/pred_objects"], named["eval_rollout/matched"]
            named["eval_rollout/fp"] = said - matched
        return {key: value for key, value in named.items() if key in EVAL_KEYS}


EVAL_NAMES = {
    "rollout/gt_objects_total": "eval_rollout/gt_objects",
    "rollout/valid_pred_objects_total": "eval_rollout/pred_objects",
    "rollout/matched_for_supervision": "eval_rollout/matched",
    "rollout/fn_total": "eval_rollout/fn",
    "rollout/desc_sem_enabled": "(train alone)",
}
EVAL_KEYS = {
    "eval_rollout/gt_objects",
    "eval_rollout/pred_objects",
    "eval_rollout/matched",
    "eval_rollout/fn",
    "eval_rollout/fp",
    "eval_rollout/desc_sem_enabled",
    "rollout/precision",
    "rollout/recall",
    "rollout/f1",
    "rollout/parse_truncated_rate",
    "rollout/parse_dropped_invalid",
    "rollout/parse_dropped_ambiguous",
    "rollout/sample_valid_pred_rate",
    "rollout/sample_any_match_rate",
    "rollout/matched_maskiou_mean",
    "rollout/desc_pairs_total",
    "rollout/desc_exact_acc_on_matched",
    "rollout/desc_sem_acc_on_matched",
    "rollout/desc_sem_sim_mean",
    "rollout/desc_sem_sim_count",
}


def type_seven(values, level):
    """The quantile between adjacent order statistics, each known to its 1 % bucket."""
    ordered = sorted(map(as_read, values))
    position = (len(ordered) - 1) * level
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def as_read(value):
    """Tokens as their bucket [1.01^i, 1.01^(i+1)) tells them: 0, or within 1 %; 1e6 and beyond."""
    return float(min(value, 1_002_000))


def close(key, found, expected):
    """Counts and rates are equal; quantiles lie within their bucket."""
    if key.endswith(("_p90", "_p99")):
        return math.isclose(found, expected, rel_tol=0.0101, abs_tol=0.5)
    if isinstance(expected, int):
        return found == expected and isinstance(found, int)
    return math.isclose(found, expected, rel_tol=1e-12)
