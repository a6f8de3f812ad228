"""What do metrics cost a loss that keeps no logits, and what does the objective cost?

    python benchmarks/streaming.py [--rounds 3] [--length 512] [--chunk 128]

Times are ratios of medians, taken in turns in one process. The extra memory is the growth of the
peak of resident memory; the logits themselves, and for the objective their gradient, are not in it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

sys.path.insert(0, str(Path(__file__).parent))

from logits import IDS, MEBIBYTE, SIGMA, VOCABULARY, batch, extra_peak, seconds

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import LogitsReducer, coord_loss
from coordexp_metrics.window import Window

WIDTH = 1024


def window() -> Window:
    return Window(CATALOGUE, "local")


def by_chunks(
    reducer: LogitsReducer, logits: Tensor, labels: Tensor, types: Tensor, chunk: int
) -> None:
    """As a fused loss would, but that its logits are there."""
    aligned = pad(labels, (0, 1), value=-100)[:, 1:].flatten()
    kinds = pad(types, (0, 1), value=-1)[:, 1:].flatten()
    flat = logits.flatten(0, 1)
    for start in range(0, len(flat), chunk):
        rows = slice(start, start + chunk)
        reducer.update(flat[rows], aligned[rows], kinds[rows])
    reducer.flush(window(), num_samples=1)


def plain_objective(logits: Tensor, labels: Tensor) -> Tensor:
    """metrics_and_losses.md:336-401 by autograd, gathered as it is usually written."""
    x, y = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    is_coord = y >= IDS[0]
    text = (y != -100) & ~is_coord
    base = cross_entropy(x[text].float(), y[text])
    chosen, t = x[is_coord].float(), y[is_coord] - IDS[0]
    inside = chosen[:, IDS]
    log_p, k = inside.log_softmax(-1), torch.arange(len(IDS))
    q = torch.softmax(-((k - t[:, None]) ** 2) / (2 * SIGMA**2), -1)
    soft_ce = -(q * log_p).sum(-1)
    w1 = (log_p.exp() - q).cumsum(-1).abs().sum(-1) / (len(IDS) - 1)
    gate = chosen.logsumexp(-1) - inside.logsumexp(-1)
    return base + (soft_ce + w1 + gate).mean()


def medians(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    return {name: statistics.median(found) for name, found in times.items()}


def metrics(length: int, chunk: int, rounds: int, dtype: torch.dtype) -> None:
    """``update`` and ``from_hidden`` beside ``observe``."""
    logits, labels, types = batch(length, dtype)
    hidden = torch.randn(1, length, WIDTH).to(dtype)
    head = (torch.randn(VOCABULARY, WIDTH) / 32).to(dtype)
    reducer = LogitsReducer(IDS, target_sigma=SIGMA)
    works: dict[str, Callable[[], object]] = {
        "observe": lambda: reducer.observe(window(), logits, labels, types),
        "update": lambda: by_chunks(reducer, logits, labels, types, chunk),
        "product": lambda: hidden @ head.T,
        "from_hidden": lambda: reducer.from_hidden(window(), hidden, head, labels, types),
    }
    took = medians(works, rounds)
    size = logits.numel() * logits.element_size()
    extra = extra_peak(works["from_hidden"])
    both = took["product"] + took["observe"]
    print(f"S={length} {str(dtype)[6:]}, chunks of {chunk} rows:")
    print(f"    update        {took['update'] / took['observe']:5.2f}x the time of observe")
    print(
        f"    from_hidden   {took['from_hidden'] / both:5.2f}x the time of the product and observe;"
        f" {extra / MEBIBYTE:.0f} MiB extra, {extra / size:.2f}x the logits"
    )


def objective(length: int, rounds: int, dtype: torch.dtype) -> None:
    """Forward and backward beside plain autograd."""
    logits, labels, _ = batch(length, dtype)
    logits.requires_grad_()
    size = logits.numel() * logits.element_size()
    at_coords = int((labels[:, 1:] >= IDS[0]).sum()) * VOCABULARY * logits.element_size()

    def ours() -> None:
        coord_loss(logits, labels, IDS, target_sigma=SIGMA).loss.backward()
        logits.grad = None

    def plain() -> None:
        plain_objective(logits, labels).backward()
        logits.grad = None

    took = medians({"ours": ours, "plain": plain}, rounds)
    print(f"S={length} {str(dtype)[6:]}, objective, forward and backward:")
    print(f"    {took['plain'] / took['ours']:5.2f}x faster than plain autograd")
    for name, work in (("ours", ours), ("plain", plain)):
        extra = extra_peak(work) - size
        print(
            f"    {name:5s} {extra / MEBIBYTE:7.0f} MiB beside the gradient,"
            f" {extra / at_coords:.2f}x the logits at coordinate rows"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    for dtype in (torch.float32, torch.bfloat16):
        metrics(arguments.length, arguments.chunk, arguments.rounds, dtype)
        objective(arguments.length, arguments.rounds, dtype)


if __name__ == "__main__":
    main()
