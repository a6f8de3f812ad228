"""Four ranks with packs of uneven size log what one process would log.

    torchrun --nproc-per-node 4 examples/torchrun_window.py

Every rank takes its share of the samples, observes sums over its packs, and closes the window. All
ranks hold the same payload; rank 0 prints it beside that of one process over all samples.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

from coordexp_metrics import CATALOGUE
from coordexp_metrics.window import Window

SAMPLES = [(1 + 37 * i % 1999, 1 / (1 + i)) for i in range(40)]  # tokens, loss
CUTS = [0, 3, 4, 25, 40]  # the second rank has one sample, the third 21


def observe(window: Window, pack: list[tuple[int, float]]) -> None:
    """A pack: sums over its tokens, never their mean."""
    tokens = sum(length for length, _ in pack)
    loss = sum(length * loss for length, loss in pack)
    window.observe("loss", torch.tensor(loss, dtype=torch.float64), tokens)
    window.observe("token_count", tokens)
    window.observe("pack/num_samples", len(pack))
    window.observe("train/samples_total", len(pack))
    window.observe("train/micro_steps", 1)


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    mine = SAMPLES[CUTS[rank] : CUTS[rank + 1]]
    window = Window(CATALOGUE)
    for first in range(0, len(mine), size := rank + 2):
        observe(window, mine[first : first + size])
    payload = window.close(mode="train", global_step=1)
    if rank == 0:
        alone = Window(CATALOGUE, group="local")
        observe(alone, SAMPLES)
        expected = alone.close(mode="train", global_step=1).metrics
        print(payload.coverage)
        for key, value in payload.metrics.items():
            print(f"{key:24} {value!s:22} one process: {expected['local/' + key]}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
