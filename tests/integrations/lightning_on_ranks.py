"""One rank of a Lightning run under torchrun; says what it emitted as JSON."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.integrations import TrainerMetrics
from coordexp_metrics.integrations.lightning import ContractLogger, MetricsCallback
from coordexp_metrics.sinks import JsonlSink
from tests.integrations import tiny
from tests.integrations.test_lightning import Module, loader
from tests.window.grid import Recorder

TRAINED, EVALUATED, WORLD = 16, 7, 2


def main(out: Path) -> None:
    """Train two steps of two micro-batches a rank, and evaluate a set that does not divide."""
    registry = MetricsRegistry([JsonlSink(out / "metrics.jsonl")], on_violation="count")
    metrics = TrainerMetrics(registry, tiny.reducer(), strict=True)
    trainer = pl.Trainer(
        default_root_dir=out,
        accelerator="cpu",
        devices=WORLD,
        strategy="ddp",
        max_epochs=1,
        accumulate_grad_batches=2,
        log_every_n_steps=2,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=ContractLogger(registry),
        callbacks=[MetricsCallback(metrics)],
    )
    with Recorder() as recorder:
        trainer.fit(
            Module(), loader(tiny.Samples(TRAINED), 2), loader(tiny.Samples(EVALUATED, 5), 2)
        )
    registry.close()
    own = [call for call in recorder.calls if call[1] == "own group"]
    said = {"own": own, "logged": {k: float(v) for k, v in trainer.callback_metrics.items()}}
    (out / f"{trainer.global_rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
