"""Clean logs as other trainers write them: nothing is wrong with any of these."""

import math
import random


def hf_sft(seed, steps=60):
    """transformers: loss rounded to 4 decimals, evaluations, a summary at the end."""
    rng, rows = random.Random(seed), []
    for n in range(1, steps + 1):
        rows.append(
            {
                "loss": round(2.5 * math.exp(-n / 25) + 0.3 + rng.gauss(0, 0.05), 4),
                "grad_norm": abs(rng.gauss(1.2, 0.4)),
                "learning_rate": 5e-5 * (1 - n / steps),
                "epoch": round(n * 10 / 290, 2),
                "step": 10 * n,
            }
        )
        if n % 10 == 0:
            runtime = round(rng.uniform(1.4, 1.6), 4)
            rows.append(
                {
                    "eval_loss": 2.4 * math.exp(-n / 25) + 0.35 + rng.gauss(0, 0.01),
                    "eval_accuracy": round(rng.uniform(0.6, 0.9), 4),
                    "eval_f1": rng.uniform(0.5, 0.8),
                    "eval_precision": rng.uniform(0.5, 0.8),
                    "eval_recall": rng.uniform(0.5, 0.8),
                    "eval_runtime": runtime,
                    "eval_samples_per_second": round(100 / runtime, 3),
                    "eval_steps_per_second": round(13 / runtime, 3),
                    "epoch": round(n * 10 / 290, 2),
                    "step": 10 * n,
                }
            )
    rows.append(
        {
            "train_runtime": 125.31,
            "train_samples_per_second": 38.3,
            "train_steps_per_second": 4.8,
            "total_flos": 1.23e15,
            "train_loss": 0.9123,
            "epoch": round(steps * 10 / 290, 2),
            "step": 10 * steps,
        }
    )
    return rows


def hf_constant_rate(seed, steps=40):
    """A constant learning rate, mixed precision that overflows at first, a loss near zero."""
    rng = random.Random(seed)
    return [
        {
            "loss": round(0.8 * math.exp(-n / 4), 4),
            "grad_norm": 0.0 if n < 3 else abs(rng.gauss(0.5, 0.2)),
            "learning_rate": 1e-5,
            "epoch": round(n / 20, 2),
            "num_input_tokens_seen": 4096 * n * 8,
            "step": n,
        }
        for n in range(1, steps + 1)
    ]


def trl_dpo(seed, steps=50):
    """TRL's DPO: rewards, log-probabilities, an accuracy of few samples."""
    rng, rows = random.Random(seed), []
    for n in range(1, steps + 1):
        chosen, rejected = rng.gauss(0.1 * n / steps, 0.1), rng.gauss(-n / steps, 0.2)
        rows.append(
            {
                "loss": round(math.log(2) - 0.3 * n / steps + rng.gauss(0, 0.02), 4),
                "grad_norm": abs(rng.gauss(9, 2)),
                "learning_rate": 5e-7 * min(1, n / 10),
                "rewards/chosen": chosen,
                "rewards/rejected": rejected,
                "rewards/accuracies": rng.randint(6, 16) / 16,
                "rewards/margins": chosen - rejected,
                "logps/chosen": rng.gauss(-250, 20),
                "logps/rejected": rng.gauss(-220, 20),
                "logits/chosen": rng.gauss(-1.5, 0.2),
                "logits/rejected": rng.gauss(-1.4, 0.2),
                "mean_token_accuracy": rng.uniform(0.7, 0.75),
                "num_tokens": float(2048 * n),
                "epoch": round(n / 50, 2),
                "step": n,
            }
        )
    return rows


def trl_grpo(seed, steps=60):
    """TRL's GRPO: loss 0 at first, lengths as means of extremes, eight completions a prompt."""
    rng, rows = random.Random(seed), []
    for n in range(1, steps + 1):
        mean = rng.uniform(180, 220)
        rows.append(
            {
                "loss": 0.0 if n < 6 else round(rng.gauss(0, 0.01), 4),
                "grad_norm": abs(rng.gauss(0.3, 0.05)),
                "learning_rate": 1e-6,
                "num_tokens": float(n * 16000 + rng.randint(0, 99)),
                "completions/mean_length": mean,
                "completions/min_length": round(mean - rng.uniform(50, 90), 1),
                "completions/max_length": 256.0,
                "completions/clipped_ratio": rng.randint(0, 8) / 64,
                "completions/mean_terminated_length": mean - 20,
                "rewards/format_reward/mean": rng.randint(0, 64) / 64,
                "rewards/format_reward/std": rng.uniform(0, 0.5),
                "reward": rng.uniform(0, 2),
                "reward_std": rng.uniform(0, 0.7),
                "frac_reward_zero_std": rng.choice([0.0, 0.125, 0.25]),
                "kl": 0.0 if n < 3 else rng.uniform(1e-4, 4e-4) * n,
                "entropy": rng.uniform(0.3, 0.5),
                "clip_ratio/low_mean": 0.0,
                "clip_ratio/low_min": 0.0,
                "clip_ratio/high_mean": 0.0,
                "clip_ratio/high_max": 0.0,
                "clip_ratio/region_mean": 0.0,
                "step_time": rng.uniform(10, 12),
                "epoch": round(n / 100, 2),
                "step": n,
            }
        )
    return rows


def lightning(seed, steps=80):
    """Lightning: sparse columns, an epoch that is an integer, validation at an epoch's end."""
    rng, rows = random.Random(seed), []
    for n in range(1, steps + 1):
        step = 50 * n - 1
        rows.append({"train_loss_step": rng.uniform(0.5, 0.7), "epoch": n // 8, "step": step})
        rows[-1]["lr-AdamW"] = 1e-3
        if n % 8 == 0:
            rows.append({"val_loss": rng.uniform(0.6, 0.8), "epoch": n // 8, "step": step})
            rows[-1] |= {"val_acc": rng.uniform(0.6, 0.9)}
            rows.append({"train_loss_epoch": rng.uniform(0.5, 0.7), "epoch": n // 8, "step": step})
    return rows


def swift(seed, steps=40):
    """ms-swift: eight decimals, memory that only rises, text beside numbers is a finding apart."""
    rng, rows, memory = random.Random(seed), [], 20.0
    for n in range(1, steps + 1):
        memory = max(memory, round(rng.uniform(18, 24), 2))
        rows.append(
            {
                "loss": round(1.5 * math.exp(-n / 20) + rng.gauss(0.4, 0.02), 8),
                "grad_norm": round(abs(rng.gauss(1, 0.2)), 8),
                "learning_rate": round(1e-4 * (1 + math.cos(math.pi * n / steps)) / 2, 8),
                "token_acc": round(rng.uniform(0.7, 0.9), 8),
                "epoch": round(n / 40, 8),
                "memory(GiB)": memory,
                "train_speed(iter/s)": round(rng.uniform(0.1, 0.12), 6),
                "step": 5 * n,
            }
        )
    return rows


def sb3(seed, steps=60):
    """Stable-Baselines3: a namespace time/ whose clock is of the run, and says so."""
    rng, rows, seconds = random.Random(seed), [], 0
    for n in range(1, steps + 1):
        seconds += rng.randint(3, 5)
        rows.append(
            {
                "rollout/ep_len_mean": rng.uniform(100, 200),
                "rollout/ep_rew_mean": rng.uniform(-200, 100),
                "time/fps": 2048 * n // seconds,
                "time/iterations": n,
                "time/time_elapsed": seconds,
                "time/total_timesteps": 2048 * n,
                "train/approx_kl": abs(rng.gauss(0.01, 0.003)),
                "train/clip_fraction": rng.uniform(0, 0.2),
                "train/clip_range": 0.2,
                "train/entropy_loss": rng.uniform(-1.4, -1.2),
                "train/explained_variance": rng.uniform(-0.2, 0.9),
                "train/learning_rate": 0.0003,
                "train/loss": rng.uniform(0, 60),
                "train/n_updates": 10 * n,
                "train/policy_gradient_loss": rng.gauss(-0.01, 0.01),
                "train/value_loss": rng.uniform(1, 120),
                "global_step": 2048 * n,
            }
        )
    return rows


def verl(seed, steps=50):
    """verl: means, extremes and clocks of every part, tokens a second over all ranks."""
    rng, rows = random.Random(seed), []
    for n in range(1, steps + 1):
        lengths = [rng.randint(100, 2048) for _ in range(64)]
        generate, update = rng.uniform(20, 25), rng.uniform(30, 35)
        total = sum(lengths)
        rows.append(
            {
                "actor/entropy_loss": rng.uniform(0.2, 0.4),
                "actor/pg_loss": rng.gauss(0, 0.02),
                "actor/pg_clipfrac": rng.uniform(0, 0.01),
                "actor/ppo_kl": rng.gauss(0, 0.001),
                "actor/grad_norm": rng.uniform(0.1, 0.3),
                "actor/lr": 1e-6,
                "critic/score/mean": rng.randint(0, 64) / 64,
                "critic/score/max": 1.0,
                "critic/score/min": 0.0,
                "response_length/mean": total / 64,
                "response_length/max": float(max(lengths)),
                "response_length/min": float(min(lengths)),
                "response_length/clip_ratio": rng.randint(0, 8) / 64,
                "timing_s/gen": generate,
                "timing_s/update_actor": update,
                "timing_s/step": generate + update + 1.5,
                "perf/total_num_tokens": total + 64 * 120,
                "perf/time_per_step": generate + update + 1.5,
                "perf/throughput": (total + 64 * 120) / (generate + update + 1.5) / 8,
                "global_seqlen/min": 30000 + rng.randint(0, 99),
                "global_seqlen/max": 31000 + rng.randint(0, 99),
                "training/global_step": n,
                "step": n,
            }
        )
    return rows


def detector(seed, steps=50):
    """A detector: parts of the loss before their weights, counts of a batch, COCO's numbers."""
    rng, rows = random.Random(seed), []
    for n in range(1, steps + 1):
        boxes, classes = rng.uniform(0.5, 1), rng.uniform(0.2, 0.6)
        positives, boxes_n = rng.randint(20, 60), rng.randint(60, 90)
        rows.append(
            {
                "loss": 5 * boxes + 2 * classes,
                "loss/box": boxes,
                "loss/cls": classes,
                "num_positive": positives,
                "num_boxes": boxes_n,
                "lr": 1e-4,
                "data_time": rng.uniform(0.01, 0.03),
                "iter_time": rng.uniform(0.3, 0.4),
                "step": 20 * n,
            }
        )
    return rows


def detectron2(seed, steps=60):
    """Detectron2: counts that are medians over a window by custom, parts that add up."""
    rng, rows = random.Random(seed), []
    for n in range(1, steps + 1):
        parts = {f"loss_{part}": rng.random() for part in ("cls", "box_reg", "rpn_cls")}
        rows.append(
            {
                "iteration": 20 * n - 1,
                "total_loss": sum(parts.values()),
                **parts,
                "time": rng.uniform(0.3, 0.4),
                "data_time": rng.uniform(0.01, 0.02),
                "eta_seconds": 10000 - 20.0 * n,
                "lr": 0.02,
                "roi_head/num_bg_samples": rng.uniform(380, 450),
                "roi_head/num_fg_samples": rng.uniform(60, 130),
                "rpn/num_pos_anchors": rng.uniform(5, 50),
                "step": 20 * n - 1,
            }
        )
    return rows


def rllib(seed, steps=40):
    """RLlib: totals of the run beside clocks of the iteration, extremes of episodes."""
    rng, rows, total = random.Random(seed), [], 0.0
    for n in range(1, steps + 1):
        seconds = rng.uniform(5, 6)
        total += seconds
        rows.append(
            {
                "training_iteration": n,
                "time_this_iter_s": seconds,
                "time_total_s": total,
                "timesteps_total": 4000 * n,
                "episodes_total": 20 * n + rng.randint(0, 4),
                "episode_reward_mean": rng.random(),
                "episode_reward_max": 1 + rng.random(),
                "episode_reward_min": -rng.random(),
                "num_env_steps_sampled": 4000 * n,
                "timers/sample_time_ms": 1000 * rng.random(),
                "step": n,
            }
        )
    return rows


CLEAN = (
    hf_sft, hf_constant_rate, trl_dpo, trl_grpo, lightning, swift, sb3, verl, detector, detectron2,
    rllib,
)  # fmt: skip
