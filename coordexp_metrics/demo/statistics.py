"""What a micro-batch tells the window, apart from what it tells the optimizer.

A statistic is what `Window.observe` takes. A mean travels as its sum and the weight it was summed
over, and becomes a ratio only when the window is closed; a quantile travels as its sample.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from coordexp_metrics.demo.coordjson import COORD, DESC, FIRST_COORD, FORMAT
from coordexp_metrics.demo.objective import Supervised, Terms, log_coord_mass
from coordexp_metrics.demo.scenes import BINS

TYPES = {"desc": DESC, "coord": COORD, "format": FORMAT}

Statistics = dict[str, tuple[Tensor | int, ...]]


@torch.no_grad()
def statistics(rows: Supervised, paid: Terms) -> Statistics:
    """Everything that the Stage-1 contract reads from the logits of one micro-batch."""
    return {
        **objective_terms(paid),
        **coord_distribution(rows),
        **token_accuracy(rows),
        **coord_monitors(rows),
    }


def objective_terms(paid: Terms) -> Statistics:
    """The terms of the loss, each over the tokens that pay it."""
    base = means("base_ce", {"loss": paid.text_ce})
    coord = {"soft_ce": paid.soft_ce, "w1": paid.w1, "ce": paid.ce, "gate": paid.gate}
    return {
        **base,
        **means("coord_diag", {"loss": paid.coord, **coord}),
        "base_ce/noncoord_tokens": (len(paid.text_ce),),
        "coord_diag/coord_tokens": (len(paid.coord),),
        "coord_diag/enabled": (1,),
    }


def coord_distribution(rows: Supervised) -> Statistics:
    """How the distribution over bins stands to its target bin."""
    logits, target = rows.logits[rows.is_coord, FIRST_COORD:], rows.bins
    p, bins = logits.softmax(dim=-1), torch.arange(BINS, dtype=logits.dtype)
    error = (p @ bins - target).abs()
    at_target = target.unsqueeze(1)
    read = {
        "coord_vocab_mass": log_coord_mass(rows.logits[rows.is_coord]).exp(),
        "acc_top5": hits(logits, target, 5),
        "p_gt_mean": p.gather(1, at_target),
        "margin_mean": logits.amax(dim=1, keepdim=True) - logits.gather(1, at_target),
        "expected_bin_mae": error,
        "w1_to_delta": (p * (bins - at_target).abs()).sum(dim=1),
    }
    return {**means("coord_diag", read), "coord_diag/expected_bin_abs_err_p90": (error,)}


def token_accuracy(rows: Supervised) -> Statistics:
    """Whether the right token comes out, overall and by the type of its target."""
    top1, top5 = hits(rows.logits, rows.targets, 1), hits(rows.logits, rows.targets, 5)
    log_p = rows.logits.log_softmax(dim=-1)
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    found: Statistics = {
        "token_acc": mean(top1),
        "token_acc_top5": mean(top5),
        "token_count": (len(top1),),
        "text_token_acc": mean(top1[~rows.is_coord]),
    }
    for name, token_type in TYPES.items():
        of_type = rows.types == token_type
        found[f"{name}_token_acc"] = mean(top1[of_type])
        found[f"{name}_token_acc_top5"] = mean(top5[of_type])
        found[f"{name}_entropy"] = mean(entropy[of_type])
        found[f"{name}_token_count"] = (of_type.sum(),)
    return found


def coord_monitors(rows: Supervised) -> Statistics:
    """Where coordinates and text are taken for each other."""
    says_coord = (rows.logits.argmax(dim=-1) >= FIRST_COORD).float()
    mass = log_coord_mass(rows.logits).exp()
    text = {"text": ~rows.is_coord, "format": rows.types == FORMAT, "desc": rows.types == DESC}
    flips = {f"flip_{name}_to_coord": says_coord[slots] for name, slots in text.items()}
    flips["flip_coord_to_noncoord"] = 1 - says_coord[rows.is_coord]
    slots = {**text, "coord": rows.is_coord}
    masses = {f"coord_vocab_mass_at_gt_{name}": mass[where] for name, where in slots.items()}
    return means("coord_monitor", {**flips, **masses})


def hits(logits: Tensor, targets: Tensor, k: int) -> Tensor:
    """1 where the target is among the k likeliest."""
    likeliest = logits.topk(k, dim=-1).indices
    return (likeliest == targets.unsqueeze(1)).any(dim=1).float()


def mean(values: Tensor) -> tuple[Tensor, int]:
    """A mean on its way: the sum, and over how many."""
    return values.sum(), values.numel()


def means(group: str, values: Mapping[str, Tensor]) -> Statistics:
    """The means of a group of metric keys."""
    return {f"{group}/{name}": mean(per_token) for name, per_token in values.items()}
