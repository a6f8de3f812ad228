"""A clean Stage-2 log: every number folded by our own window, written by our own sink."""

import json
import random

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.catalogue.objective import CoordLoss, Pass, TextContext, TextLoss
from coordexp_metrics.sinks import JsonlSink
from coordexp_metrics.window import Window

MICRO_STEPS, SAMPLES = 6, 16
REASONS = ("missing_desc", "wrong_arity", "bbox_invalid")


def write_stage2(path, steps=24, seed=0):
    """A two-channel run; every third step is Channel-A."""
    rng, window = random.Random(seed), Window(CATALOGUE, group="local")
    with MetricsRegistry(sinks=[JsonlSink(path)]) as registry:
        for step in range(1, steps + 1):
            _observe(window, rng, step)
            registry.emit(window.close(mode="train", global_step=step))
    return path


def _observe(window, rng, step):
    rolls = step % 3 != 0
    for _ in range(MICRO_STEPS):
        samples = SAMPLES // MICRO_STEPS + (rng.random() < 0.5)
        window.observe("train/samples_total", samples)
        _objective(window, rng, rolls)
        if rolls:
            _rollouts(window, rng, samples)
    window.observe("train/micro_steps", MICRO_STEPS)
    window.observe("stage2/channel_b", int(rolls))
    window.observe("grad_norm", rng.uniform(0.5, 2), 1)
    window.observe("learning_rate", 1e-5)
    if rolls:
        _decoding(window)


def _objective(window, rng, rolls):
    provenance = TextContext.ROLLOUT if rolls else TextContext.GT_ANCHOR
    box = Pass.B if rolls else Pass.A2
    atoms = {
        TextLoss(provenance).struct_ce: rng.uniform(0.1, 0.2),
        TextLoss(provenance).desc_ce: rng.uniform(0.02, 0.03),
        CoordLoss(box).bbox_ciou: rng.uniform(0.15, 0.25),
        CoordLoss(box).coord_soft_ce: rng.uniform(0.3, 0.4),
    }
    for atom, value in atoms.items():
        window.observe(atom, value, 1)
    window.observe("loss", sum(atoms.values()), 1)


def _decoding(window):
    for key, value in {"do_sample": 1, "temperature": 0.7, "top_p": 0.95, "top_k": 64}.items():
        window.observe(f"rollout/{key}", value)


def _rollouts(window, rng, samples):
    see = window.observe
    lengths = [rng.randint(300, 3000) for _ in range(samples)]
    see("rollout/_samples", samples)
    see("rollout/gen_new_tokens_total", sum(lengths))
    see("rollout/gen_new_tokens_mean", sum(lengths), samples)
    see("rollout/gen_new_tokens_p90", lengths)
    see("rollout/decode_non_beam_count", samples)
    see("rollout/decode_beam_count", 0)
    see("stage2/raw_rollouts", samples)
    see("rollout/parse_truncated", rng.randint(0, samples))
    with_prediction = rng.randint(1, samples)
    see("rollout/_samples_with_prediction", with_prediction)
    see("rollout/_samples_with_match", rng.randint(0, with_prediction))
    truth, valid = rng.randint(8, 20), rng.randint(8, 20)
    matched = rng.randint(1, min(truth, valid))
    see("rollout/gt_objects_total", truth)
    see("rollout/valid_pred_objects_total", valid)
    see("rollout/matched_for_supervision", matched)
    see("rollout/excluded_from_supervision", 0)
    see("rollout/fn_appended_total", truth - matched)
    see("rollout/matched_maskiou_mean", sum(rng.random() for _ in range(matched)), matched)
    see("rollout/matched_maskiou_count", matched)
    reasons = {reason: rng.randint(0, 3) for reason in REASONS}
    dropped = sum(reasons.values())
    see("rollout/parse_dropped_invalid", dropped)
    see("rollout/parse_dropped_ambiguous", 0)
    see("stage2_ab/channel_b/strict_drop/N_valid_pred", valid)
    see("stage2_ab/channel_b/strict_drop/N_drop_invalid", dropped)
    for reason, count in reasons.items():
        see(f"stage2_ab/channel_b/strict_drop/reason/{reason}", count)
    see("time/rollout_generate_s", rng.uniform(10, 12))
    see("time/rollout_parse_match_s", rng.uniform(0.3, 0.4))


def rows_of(path):
    """The payloads of a journal, to be changed and written again."""
    return [row for line in path.read_text().splitlines() if "metrics" in (row := json.loads(line))]


def rewrite(path, rows):
    """Payloads as a log of their own: the journal's checksums would tell on every change."""
    kept = ("schema_version", "mode", "global_step", "metrics")
    lines = [json.dumps({key: row[key] for key in kept}) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path
