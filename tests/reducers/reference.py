"""The metrics written plainly: float64, one row at a time, no chunk, no trick."""

import math

import torch

IGNORE, DESC, COORD, FORMAT = -1, 1, 2, 3
NAMES = {DESC: "desc", FORMAT: "format", COORD: "coord"}


def rank_of(values, index):
    """#(x > g) + #(x = g at an earlier index)."""
    g = values[index]
    return int((values > g).sum()) + int((values[:index] == g).sum())


def soft_target(bins, target, sigma, truncate):
    offsets = torch.arange(bins, dtype=torch.float64) - target
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    if truncate is not None:
        weights[offsets.abs() > truncate] = 0
    return weights / weights.sum()


def coord_row(x, ids, target, temperature, sigma, truncate):
    """Everything about one row whose target is a bin."""
    scaled = x[ids] / temperature
    log_p = scaled - torch.logsumexp(scaled, 0)
    p, q = log_p.exp(), soft_target(len(ids), target, sigma, truncate)
    k = torch.arange(len(ids), dtype=torch.float64)
    return {
        "soft_ce": -sum(float(a * b) for a, b in zip(q, log_p, strict=True) if a > 0),
        "w1": float((p.cumsum(0) - q.cumsum(0)).abs().sum()) / max(len(ids) - 1, 1),
        "ce": -float(log_p[target]),
        "p_gt": float(p[target]),
        "margin": float(scaled.max() - scaled[target]),
        "error": abs(float((p * k).sum()) - target),
        "delta": float((p * (k - target).abs()).sum()),
        "top5_bins": rank_of(x[ids], target) < min(5, len(ids)),
    }


def mass_and_gate(x, ids, temperature):
    scaled = x / temperature
    outside = torch.ones(len(x), dtype=torch.bool)
    outside[ids] = False
    inside = torch.logsumexp(scaled[ids], 0)
    odds = torch.logsumexp(scaled[outside], 0) - inside if outside.any() else -torch.inf
    odds = float(odds)
    gate = odds + math.log1p(math.exp(-odds)) if odds > 0 else math.log1p(math.exp(odds))
    return math.exp(-gate), gate


def rows_of(logits, labels, token_types, ids, temperature, sigma, truncate):
    """One dict a supervised row whose softmax exists; and of the others, whether it is coord."""
    found, lost = [], []
    ids = torch.as_tensor(ids)
    bins = {int(token): k for k, token in enumerate(ids)}
    for b in range(logits.shape[0]):
        for s in range(logits.shape[1] - 1):
            label = int(labels[b, s + 1])
            if not 0 <= label < logits.shape[2]:
                continue
            x = logits[b, s].detach().double()
            if not (x.max().isfinite() and x[label].isfinite()):
                lost.append(label in bins)
                continue
            log_p = torch.log_softmax(x, 0)
            rank = rank_of(x, label)
            mass, gate = mass_and_gate(x, ids, temperature)
            row = {
                "type": None if token_types is None else int(token_types[b, s + 1]),
                "coord": label in bins,
                "top1": rank == 0,
                "top5": rank < min(5, len(x)),
                "says_coord": int((x == x.max()).nonzero()[0]) in bins,
                "ce_all": -float(log_p[label]),
                "entropy": -float(torch.where(log_p > -torch.inf, log_p.exp() * log_p, 0).sum()),
                "mass": mass,
                "gate": gate,
            }
            if row["coord"]:
                row |= coord_row(x, ids, bins[label], temperature, sigma, truncate)
            found.append(row)
    return found, lost


def mean_of(rows, name):
    return math.fsum(row[name] for row in rows) / len(rows)


def reference(
    logits,
    labels,
    token_types=None,
    num_samples=None,
    *,
    ids,
    enabled=True,
    temperature=1.0,
    sigma=2.0,
    truncate=None,
    weights=(1.0, 1.0, 0.0, 1.0),
    top5=True,
    mass=True,
):
    """All keys of one batch, by their train names (no quantile)."""
    rows, lost = rows_of(logits, labels, token_types, ids, temperature, sigma, truncate)
    coord = [row for row in rows if row["coord"]]
    text = [row for row in rows if not row["coord"]]
    means = [("token_acc", rows, "top1")]
    means += [("token_acc_top5", rows, "top5")] if top5 else []
    means += [("text_token_acc", [r for r in text if r["type"] != IGNORE], "top1")]
    out = {"token_count": len(rows), "coord_diag/coord_tokens": len(coord)}
    out["base_ce/noncoord_tokens"] = len(text) if enabled else 0
    out["contract/nonfinite_rows_total"] = len(lost)
    means += [("base_ce/loss", text, "ce_all")] if enabled else []
    for key, name in {
        "soft_ce": "soft_ce",
        "w1": "w1",
        "ce": "ce",
        "gate": "gate",
        "coord_vocab_mass": "mass",
        "acc_top5": "top5_bins",
        "p_gt_mean": "p_gt",
        "margin_mean": "margin",
        "expected_bin_mae": "error",
        "w1_to_delta": "delta",
    }.items():
        means.append((f"coord_diag/{key}", coord, name))
    monitor = {
        "coord": ([r for r in coord if r["type"] != IGNORE], "flip_coord_to_noncoord", False),
        "text": ([r for r in text if r["type"] != IGNORE], "flip_text_to_coord", True),
    }
    if token_types is not None:
        for name, code in (("format", FORMAT), ("desc", DESC)):
            members = [r for r in rows if r["type"] == code]
            monitor[name] = (members, f"flip_{name}_to_coord", True)
    for name, (members, flip, to_coord) in monitor.items():
        for row in members:
            row[flip] = row["says_coord"] == to_coord
        means.append((f"coord_monitor/{flip}", members, flip))
        if mass:
            means.append((f"coord_monitor/coord_vocab_mass_at_gt_{name}", members, "mass"))
    typed = [r for r in rows if r["type"] in NAMES]
    for code, name in NAMES.items() if typed else ():
        members = [r for r in typed if r["type"] == code]
        out[f"{name}_token_frac"] = len(members) / len(typed)
        out[f"{name}_token_count"] = len(members)
        means += [(f"{name}_token_acc", members, "top1"), (f"{name}_entropy", members, "entropy")]
        means += [(f"{name}_token_acc_top5", members, "top5")] if top5 else []
    out |= {key: mean_of(members, name) for key, members, name in means if members}
    counts = [key for key in out if key.endswith(("_count", "_tokens", "_total"))]
    out = {key: value for key, value in out.items() if key not in counts or value}
    if enabled:
        poisoned = ["base_ce/loss"] if not all(lost) else []
        in_loss = ["soft_ce", "w1"] + ["ce"] * bool(weights[2]) + ["gate"] * bool(weights[3])
        poisoned += [f"coord_diag/{name}" for name in in_loss] if any(lost) else []
        out |= dict.fromkeys(poisoned, math.nan)
    return out | derived(out, len(labels) if num_samples is None else num_samples, weights)


def derived(out, samples, weights):
    more = {"coord_diag/enabled": None, "pack/num_samples": samples}
    if "coord_diag/soft_ce" in out and "coord_diag/w1" in out:
        terms = [out.get(f"coord_diag/{name}", 0.0) for name in ("soft_ce", "w1", "ce", "gate")]
        more["coord_diag/loss"] = sum(w * term for w, term in zip(weights, terms, strict=True) if w)
    if samples:
        for family, count in (("base_ce", "noncoord_tokens"), ("coord_diag", "coord_tokens")):
            tokens = out.get(f"{family}/{count}")
            if tokens:
                loss = out.get(f"{family}/loss", more.get(f"{family}/loss"))
                more[f"{family}/{count}_per_sample"] = tokens / samples
                more[f"{family}/loss_per_sample"] = loss * tokens / samples
        parts = [more.get(f"{family}/loss_per_sample") for family in ("base_ce", "coord_diag")]
        if None not in parts:
            more["stage1/total_loss_per_sample_est"] = sum(parts)
    return more
