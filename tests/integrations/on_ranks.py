"""One rank of a Hugging Face run under torchrun; says what it saw as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers import Trainer

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.integrations import TrainerMetrics
from coordexp_metrics.integrations.transformers import with_metrics
from coordexp_metrics.sinks import JsonlSink
from tests.integrations import tiny
from tests.integrations.test_transformers import arguments
from tests.window.grid import Recorder

EVALUATED = 7


def main(out: Path, metered: bool) -> None:
    """Train two optimizer steps at learning rate 0, evaluate an odd number of samples."""
    options = {"learning_rate": 0.0, "max_steps": 2, "logging_steps": 2}
    args = arguments(out / "trainer", gradient_accumulation_steps=2, **options)
    data = {
        "train_dataset": tiny.Samples(16, typed=metered),
        "eval_dataset": tiny.Samples(EVALUATED, 5, metered),
    }
    if metered:
        registry = MetricsRegistry([JsonlSink(out / "metrics.jsonl")], on_violation="count")
        metrics = TrainerMetrics(registry, tiny.reducer(), strict=True)
        trainer = with_metrics(Trainer)(
            tiny.model(), args, data_collator=tiny.collate, metrics=metrics, **data
        )
    else:
        trainer = Trainer(tiny.model(), args, **data)
    with Recorder() as recorder:
        trainer.train()
        evaluated = trainer.evaluate()
    if metered:
        registry.close()
    training = [call for call in recorder.calls if call[1] == "training group"]
    own = [call for call in recorder.calls if call[1] == "own group"]
    said = {"rows": trainer.state.log_history, "eval": evaluated, "training": training, "own": own}
    kind = "metered" if metered else "plain"
    (out / f"{kind}-{args.process_index}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "metered")
