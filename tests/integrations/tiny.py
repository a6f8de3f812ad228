"""A tiny random model of the Qwen family and data for it, and what one process makes of them."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset
from transformers import Qwen2Config, Qwen2ForCausalLM

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.token_types.codes import COORD, DESC, FORMAT, IGNORE, UNSUPERVISED
from coordexp_metrics.window import Window

TEXT, BINS = 40, 24
COORD_IDS = range(TEXT, TEXT + BINS)
LENGTH = 14


def model(seed: int = 0, width: int = 32, depth: int = 2) -> Qwen2ForCausalLM:
    """Random weights, no dropout: the same numbers whatever the mode."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=TEXT + BINS,
        hidden_size=width,
        intermediate_size=width + width // 2,
        num_hidden_layers=depth,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    return Qwen2ForCausalLM(config)


class Samples(Dataset):
    """Prompts that are not supervised, and answers of text and coordinates with their types."""

    def __init__(self, count: int, seed: int = 0, typed: bool = True) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.rows = [self._row(generator, typed) for _ in range(count)]

    def _row(self, generator: torch.Generator, typed: bool) -> dict[str, torch.Tensor]:
        ids = torch.randint(0, TEXT + BINS, (LENGTH,), generator=generator)
        prompt = int(torch.randint(2, 7, (1,), generator=generator))
        labels = ids.clone()
        labels[:prompt] = UNSUPERVISED
        types = torch.where(ids >= TEXT, COORD, torch.where(ids % 2 == 0, DESC, FORMAT))
        types[:prompt] = IGNORE
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        return {**row, "token_types": types} if typed else row

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self.rows[index]


def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """A batch with the extras that the library's collator attaches."""
    batch = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
    return {**batch, "pack_num_samples": len(rows)}


def reducer() -> LogitsReducer:
    return LogitsReducer(COORD_IDS)


@torch.no_grad()
def alone(weights: Qwen2ForCausalLM, samples: Samples, mode: str = "eval") -> dict[str, float]:
    """The metrics of all samples under fixed weights, computed at once in one process."""
    window = Window(CATALOGUE, group="local")
    batch = collate(list(samples.rows))
    batch.pop("pack_num_samples")
    types = batch.pop("token_types", None)
    labels = batch["labels"]
    logits = weights.eval()(**batch).logits
    reducer().observe(window, logits, labels, types, len(labels))
    payload = window.close(mode=mode, global_step=0)
    return {key.removeprefix("local/"): value for key, value in payload.metrics.items()}
