"""TRL's supervised trainer is a Hugging Face trainer, and runs under the same mixin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.integrations import TrainerMetrics
from coordexp_metrics.integrations.transformers import with_metrics
from coordexp_metrics.sinks import MemorySink

from . import tiny

pytestmark = pytest.mark.filterwarnings("ignore")


def tokenizer() -> PreTrainedTokenizerFast:
    words = {f"w{k}": k for k in range(tiny.TEXT + tiny.BINS)}
    specials = {"eos_token": "w0", "pad_token": "w1", "unk_token": "w2"}
    words_alone = Tokenizer(models.WordLevel(words, unk_token="w2"))  # noqa: S106
    return PreTrainedTokenizerFast(tokenizer_object=words_alone, **specials)


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """The samples as a table holds them."""
    found = tiny.Samples(count, seed).rows
    return [{key: value.tolist() for key, value in row.items()} for row in found]


def collate(table: list[dict[str, Any]]) -> dict[str, Any]:
    return tiny.collate([{k: torch.tensor(v) for k, v in row.items()} for row in table])


def test_the_logged_numbers_are_those_of_one_process(tmp_path: Path) -> None:
    sink = MemorySink()
    registry = MetricsRegistry([sink], on_violation="count")
    metrics = TrainerMetrics(registry, tiny.reducer(), strict=True)
    args = SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        per_device_eval_batch_size=3,
        gradient_accumulation_steps=2,
        max_steps=4,
        logging_steps=4,
        learning_rate=0.0,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=False,
    )
    trainer = with_metrics(SFTTrainer)(
        model=tiny.model(),
        args=args,
        train_dataset=Dataset.from_list(rows(16, 0)),
        eval_dataset=Dataset.from_list(rows(7, 5)),
        data_collator=collate,
        processing_class=tokenizer(),
        metrics=metrics,
    )
    trainer.train()
    evaluated = trainer.evaluate()
    registry.close()
    row = next(r.values() for r in sink.records if "loss" in r.metrics)
    wanted = tiny.alone(tiny.model(), tiny.Samples(16), "train")
    for key, value in wanted.items():
        assert row[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key
    assert row["mean_token_accuracy"] >= 0  # TRL's own values are in the same record
    wanted = tiny.alone(tiny.model(), tiny.Samples(7, 5))
    assert evaluated["eval_token_acc"] == pytest.approx(wanted["token_acc"], rel=1e-6)
