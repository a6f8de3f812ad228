"""A run of the real fused loss, on the CPU by Triton's interpreter: prints its rows as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from liger_kernel.transformers import apply_liger_kernel_to_qwen2

from coordexp_metrics.integrations import HiddenTap

from . import tiny
from .test_transformers import Run

OTHER_KERNELS = ("rope", "cross_entropy", "rms_norm", "swiglu")


def main(out: Path) -> None:
    """One epoch at learning rate 0, and an evaluation."""
    model = tiny.model()
    apply_liger_kernel_to_qwen2(
        fused_linear_cross_entropy=True, model=model, **dict.fromkeys(OTHER_KERNELS, False)
    )
    batch = tiny.collate(tiny.Samples(2).rows)
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask", "labels")}
    kept = model.train()(**inputs).logits is not None
    options = {"learning_rate": 0.0, "max_steps": 8, "logging_steps": 8}
    run = Run(
        out, weights=model, hidden=HiddenTap(model), eval_dataset=tiny.Samples(5, seed=5), **options
    )
    found = run.trainer.evaluate()
    (row,) = run.train().rows()
    print(json.dumps({"kept": kept, "train": row, "eval": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
