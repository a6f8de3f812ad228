"""What do all Stage-1 metrics of one forward cost, beside a plain version and beside one read?

    python benchmarks/logits.py [--busy] [--rounds 3] [--lengths 512 2048]

Every figure is a ratio of medians, measured in turns in one process. ``--busy`` keeps one core busy
with another process. The extra memory is the growth of the peak of resident memory.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import COORD, DESC, FORMAT, LogitsReducer
from coordexp_metrics.window import Window

VOCABULARY, BINS, SIGMA = 152_936, 1000, 2.0
IDS = torch.arange(VOCABULARY - BINS, VOCABULARY)
MEBIBYTE = 1 << 20


def plain(logits: Tensor, labels: Tensor, types: Tensor) -> dict[str, float]:
    """The same keys as they are usually written: a function a family, each with its own gathers."""
    logits, labels, types = logits[:, :-1], labels[:, 1:], types[:, 1:]
    return (
        plain_base(logits, labels)
        | plain_tokens(logits, labels, types)
        | plain_monitor(logits, labels, types)
        | plain_coord(logits, labels)
    )


def plain_base(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Cross-entropy with coordinate targets masked out."""
    text = (labels != -100) & (labels < IDS[0])
    return {"base_ce/loss": cross_entropy(logits[text].float(), labels[text]).item()}


def plain_tokens(logits: Tensor, labels: Tensor, types: Tensor) -> dict[str, float]:
    """Accuracies by argmax and topk, entropies by log_softmax, fractions by type."""
    supervised = labels != -100
    x, y, kind = logits[supervised], labels[supervised], types[supervised]
    right = x.argmax(-1) == y
    top5 = (x.topk(5, -1).indices == y[:, None]).any(-1)
    out = {
        "token_acc": right.float().mean().item(),
        "token_acc_top5": top5.float().mean().item(),
        "text_token_acc": right[y < IDS[0]].float().mean().item(),
    }
    for name, code in (("desc", DESC), ("format", FORMAT), ("coord", COORD)):
        chosen = kind == code
        log_p = torch.log_softmax(x[chosen].float(), -1)
        out[f"{name}_token_frac"] = chosen.float().mean().item()
        out[f"{name}_token_acc"] = right[chosen].float().mean().item()
        out[f"{name}_token_acc_top5"] = top5[chosen].float().mean().item()
        out[f"{name}_entropy"] = -(log_p.exp() * log_p).sum(-1).mean().item()
    return out


def plain_monitor(logits: Tensor, labels: Tensor, types: Tensor) -> dict[str, float]:
    """Flips by argmax and masses by two logsumexps, for each kind of target."""
    supervised, is_coord = labels != -100, labels >= IDS[0]
    out = {}
    for name, chosen in (
        ("coord", is_coord),
        ("text", ~is_coord),
        ("format", types == FORMAT),
        ("desc", types == DESC),
    ):
        x = logits[supervised & chosen].float()
        says_coord = x.argmax(-1) >= IDS[0]
        mass = (x[:, IDS].logsumexp(-1) - x.logsumexp(-1)).exp()
        out[f"flip_{name}"] = (says_coord != (name == "coord")).float().mean().item()
        out[f"mass_{name}"] = mass.mean().item()
    return out


def plain_coord(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """``coord_diag/*`` of the rows whose target is a bin."""
    is_coord = labels >= IDS[0]
    x, t = logits[is_coord].float(), labels[is_coord] - IDS[0]
    inside = x[:, IDS]
    log_p, k = torch.log_softmax(inside, -1), torch.arange(BINS)
    p = log_p.exp()
    q = torch.softmax(-((k - t[:, None]) ** 2) / (2 * SIGMA**2), -1)
    gate = x.logsumexp(-1) - inside.logsumexp(-1)
    error = ((p * k).sum(-1) - t).abs()
    columns = {
        "soft_ce": -(q * log_p).sum(-1),
        "w1": (p.cumsum(-1) - q.cumsum(-1)).abs().sum(-1) / (BINS - 1),
        "ce": cross_entropy(inside, t, reduction="none"),
        "gate": gate,
        "coord_vocab_mass": (-gate).exp(),
        "acc_top5": (inside.topk(5, -1).indices == t[:, None]).any(-1).float(),
        "p_gt_mean": p.gather(1, t[:, None]),
        "margin_mean": inside.amax(-1) - inside.gather(1, t[:, None]).squeeze(1),
        "expected_bin_mae": error,
        "w1_to_delta": (p * (k - t[:, None]).abs()).sum(-1),
    }
    out = {f"coord_diag/{name}": column.mean().item() for name, column in columns.items()}
    return out | {"coord_diag/expected_bin_abs_err_p90": error.quantile(0.9).item()}


def batch(length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Logits as after some training; 7/8 supervised, 40 % of that coordinates."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.empty(1, length, VOCABULARY, dtype=dtype)
    for row in logits[0]:
        row.copy_(torch.randn(VOCABULARY, generator=generator) * 3)
    is_coord = torch.rand(1, length, generator=generator) < 0.4
    bins = torch.randint(int(IDS[0]), VOCABULARY, (1, length), generator=generator)
    text = torch.randint(0, int(IDS[0]), (1, length), generator=generator)
    labels = torch.where(is_coord, bins, text)
    types = torch.where(is_coord, COORD, torch.where(text % 2 == 0, DESC, FORMAT))
    logits[0, :-1].scatter_add_(
        1, labels[0, 1:, None], torch.full((length - 1, 1), 12.0, dtype=dtype)
    )
    labels[:, : length // 8] = -100
    return logits, labels, types


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def extra_peak(work: Callable[[], object]) -> int:
    """Bytes that the peak of resident memory grows by."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    work()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) << 10


def spin() -> None:
    while True:
        pass


def measure(length: int, dtype: torch.dtype, rounds: int) -> str:
    logits, labels, types = batch(length, dtype)
    reducer = LogitsReducer(IDS, target_sigma=SIGMA)
    works: dict[str, Callable[[], object]] = {
        "ours": lambda: reducer.observe(Window(CATALOGUE, "local"), logits, labels, types),
        "plain": lambda: plain(logits, labels, types),
        "read": logits.sum,
    }
    agree(reducer.compute(logits, labels, types), plain(logits, labels, types), dtype)
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            for _ in range(1 if name == "plain" else 3):
                times[name].append(seconds(work))
    took = {name: statistics.median(values) for name, values in times.items()}
    size = logits.numel() * logits.element_size()
    extra = extra_peak(works["ours"])
    return (
        f"{length:>6} {str(dtype)[6:]:>9} {took['ours'] * 1e3:>9.1f} {took['plain'] * 1e3:>10.1f}"
        f" {took['read'] * 1e3:>8.1f} {took['plain'] / took['ours']:>11.1f}x"
        f" {took['ours'] / took['read']:>9.1f}x {extra / MEBIBYTE:>9.1f} {extra / size:>8.3f}x"
    )


def agree(ours: dict[str, float], other: dict[str, float], dtype: torch.dtype) -> None:
    """Two programs that differ would not be worth a comparison."""
    for key in ("token_acc", "base_ce/loss", "coord_entropy", "coord_diag/soft_ce"):
        assert abs(ours[key] - other[key]) <= 1e-3 * abs(other[key]) + 1e-9, (key, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048])
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    neighbour = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    if arguments.busy:
        neighbour.start()
    print(
        "     S     dtype   ours ms   plain ms  read ms    vs plain   vs read extra MiB of logits"
    )
    for length in arguments.lengths:
        for dtype in (torch.float32, torch.bfloat16):
            print(measure(length, dtype, arguments.rounds), flush=True)
    if arguments.busy:
        neighbour.terminate()


if __name__ == "__main__":
    main()
