"""A real ms-swift run of a tiny model with the Qwen vocabulary; says what it logged as JSON.

In a process of its own: ms-swift patches what it finds. Under torchrun it is one rank of several.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.integrations import TrainerMetrics
from coordexp_metrics.integrations.swift import with_metrics
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.sinks import MemorySink
from coordexp_metrics.token_types import qwen_tokenizer
from coordexp_metrics.window import Window

TRAIN, VALIDATE = 8, 4
PLACE = {"RANK": "0", "WORLD_SIZE": "1"}


def prepare(out: Path) -> list[int]:
    """A model folder and two data sets; the ids of the coordinates."""
    specials = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=qwen_tokenizer(), **specials)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    rows = [json.dumps({"messages": conversation(k)}) for k in range(TRAIN + VALIDATE)]
    (out / "train.jsonl").write_text("\n".join(rows[:TRAIN]) + "\n")
    (out / "validate.jsonl").write_text("\n".join(rows[TRAIN:]) + "\n")
    return [tokenizer.convert_tokens_to_ids(f"<|coord_{k}|>") for k in range(1000)]


def conversation(k: int) -> list[dict[str, str]]:
    box = ", ".join(f"<|coord_{bin_}|>" for bin_ in (k, k + 1, k + 20, k + 30))
    answer = f'{{"objects": [{{"desc": "{"big " * (k % 3)}cat", "bbox_2d": [{box}]}}]}}'
    question = {"role": "user", "content": f"detect {k}"}
    return [question, {"role": "assistant", "content": answer}]


def command(out: Path, **options: Any) -> list[str]:
    given = {
        "model": out / "model",
        "model_type": "qwen2",
        "template": "qwen2_5",
        "tuner_type": "full",
        "dataset": out / "train.jsonl",
        "val_dataset": out / "validate.jsonl",
        "torch_dtype": "float32",
        "output_dir": out / "swift",
        "check_model": "false",
        "add_version": "false",
        "report_to": "none",
        "dataloader_num_workers": 0,
        "attn_impl": "sdpa",
        "load_from_cache_file": "false",
        "logging_first_step": "false",
        "use_cpu": "true",
        "ddp_backend": "gloo",
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 3,
        **options,
    }
    return [part for key, value in given.items() for part in (f"--{key}", str(value))]


def main(out: Path) -> None:
    rank, world = (int(os.environ.get(name, default)) for name, default in PLACE.items())
    ids = prepare(out / str(rank))
    out /= str(rank)
    from swift.pipelines import SwiftSft
    from swift.trainers import Seq2SeqTrainer, TrainerFactory

    sink = MemorySink()
    registry = MetricsRegistry([sink], on_violation="count")
    metrics = TrainerMetrics(registry, LogitsReducer(ids), strict=True)

    class Trainer(with_metrics(Seq2SeqTrainer)):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, metrics=metrics, **kwargs)

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            self.custom_metrics["train"]["stage2/raw_rollouts"].update(3)
            self.custom_metrics["train"]["my/own"].update(torch.tensor([1.0, 2.0]))
            return super().training_step(*args, **kwargs)

    plugin = sys.modules["plugin_of_ours"] = ModuleType("plugin_of_ours")
    plugin.Trainer = Trainer  # type: ignore[attr-defined]
    TrainerFactory.TRAINER_MAPPING["causal_lm"] = "plugin_of_ours.Trainer"
    parts = 2 // world  # so that two steps are the whole set, on one rank as on two
    options = {"max_steps": 4, "gradient_accumulation_steps": parts, "learning_rate": 0.0}
    steps = {"logging_steps": 2, "eval_steps": 4, "save_steps": 4}
    run = SwiftSft(command(out, **options, **steps))
    run.main()
    registry.close()
    said = {
        "records": [
            {"mode": r.mode, "step": r.global_step, "values": dict(r.metrics)} for r in sink.records
        ],
        "train": alone(run, out / "train.jsonl", ids),
        "validate": alone(run, out / "validate.jsonl", ids),
        "faults": list(metrics.guard.faults),
    }
    (out / "said.json").write_text(json.dumps(said))


@torch.no_grad()
def alone(run: Any, data: Path, ids: list[int]) -> dict[str, float]:
    """The metrics of a data set in one process, a sample at a time, of whole sequences."""
    window = Window(CATALOGUE, group="local")
    reducer = LogitsReducer(ids)
    for line in data.read_text().splitlines():
        row = run.template.encode(json.loads(line))
        tokens = torch.tensor(row["input_ids"]).unsqueeze(0)
        labels = torch.tensor(row["labels"]).unsqueeze(0)
        reducer.observe(window, run.model(input_ids=tokens).logits, labels)
    found = window.close(mode="train", global_step=0).metrics
    return {key.removeprefix("local/"): value for key, value in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
