"""Lightning under the contract logs what one process finds, and its suffixes are undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.integrations import TrainerMetrics
from coordexp_metrics.integrations.foreign_names import Place, sorted_by_place
from coordexp_metrics.integrations.lightning import ContractLogger, MetricsCallback
from coordexp_metrics.sinks import MemorySink

from . import tiny

pytestmark = pytest.mark.filterwarnings(
    "ignore:::lightning", "ignore::FutureWarning", "ignore::UserWarning"
)


class Module(pl.LightningModule):
    """The tiny model; its steps return what the callback reads."""

    def __init__(self, learning_rate: float = 0.0) -> None:
        super().__init__()
        self.inner, self.learning_rate = tiny.model(), learning_rate

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        out = self.inner(**batch)
        self.log("train_loss", out.loss, on_step=True, on_epoch=False)
        return {"loss": out.loss, "logits": out.logits.detach()}

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        out = self.inner(**batch)
        self.log("val_loss", out.loss)
        return {"loss": out.loss, "logits": out.logits}

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)


def loader(samples: tiny.Samples, size: int) -> DataLoader:
    return DataLoader(samples, batch_size=size, collate_fn=tiny.collate)


def trained(out: Path, learning_rate: float = 0.0, metered: bool = True, **options: Any) -> Any:
    sink = MemorySink()
    module, path = options.pop("module", Module(learning_rate)), options.pop("ckpt_path", None)
    registry = MetricsRegistry([sink], on_violation="count")
    metrics = TrainerMetrics(registry, tiny.reducer(), strict=options.pop("strict", True))
    callbacks = [MetricsCallback(metrics)] if metered else []
    trainer = pl.Trainer(
        default_root_dir=out,
        accelerator="cpu",
        devices=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=ContractLogger(registry) if metered else False,
        callbacks=[*callbacks, *options.pop("callbacks", [])],
        **{"max_epochs": 1, "log_every_n_steps": 1, "enable_checkpointing": False, **options},
    )
    typed = metered
    train = loader(tiny.Samples(16, typed=typed), 4)
    if not metered:
        train.collate_fn = lambda rows: {k: torch.stack([r[k] for r in rows]) for k in rows[0]}
    held_out = loader(tiny.Samples(7, 5), 3) if metered else None
    trainer.fit(module, train, held_out, ckpt_path=path)
    registry.close()
    return trainer, module, sink.records


def rows(records: Any, mode: str) -> list[dict[str, float]]:
    """Records of the callback; the logger's are those without coverage."""
    return [dict(r.metrics) for r in records if r.mode == mode and r.coverage is not None]


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_numbers_are_those_of_one_process(tmp_path: Path, accumulate: int) -> None:
    every = 4 // accumulate
    _, _, records = trained(tmp_path, accumulate_grad_batches=accumulate, log_every_n_steps=every)
    wanted = tiny.alone(tiny.model(), tiny.Samples(16), "train")
    (row,) = rows(records, "train")
    for key, value in wanted.items():
        assert row[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key
    assert row["accum/grad_steps"] == accumulate
    losses = [part["loss"] for part in _of_each_batch()]
    assert row["loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    (row,) = rows(records, "eval")
    wanted = tiny.alone(tiny.model(), tiny.Samples(7, 5))
    for key, value in wanted.items():
        assert row[CATALOGUE[key].eval_key] == pytest.approx(value, rel=1e-6, abs=1e-9), key


@torch.no_grad()
def _of_each_batch() -> list[dict[str, float]]:
    """What the model says of each micro-batch."""
    weights, found = tiny.model(), []
    for batch in loader(tiny.Samples(16, typed=False), 4):
        batch.pop("pack_num_samples")
        found.append({"loss": float(weights(**batch).loss)})
    return found


def test_labels_are_read_as_they_were_before_the_loss_masked_them(tmp_path: Path) -> None:
    class Masks(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            found = super().training_step(batch, batch_idx)
            batch["labels"].fill_(-100)
            return found

    _, _, records = trained(tmp_path, module=Masks(), log_every_n_steps=4)
    wanted = tiny.alone(tiny.model(), tiny.Samples(16), "train")
    assert [row["token_count"] for row in rows(records, "train")] == [wanted["token_count"]]


def test_a_nan_reaches_lightning_too(tmp_path: Path) -> None:
    """What is chosen or stopped by a key learns that it is NaN; an old value would be a lie."""

    class Diverges(Module):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.inner(**batch).loss * torch.nan}

    trainer, _, records = trained(tmp_path, module=Diverges(), strict=False)
    assert torch.isnan(trainer.callback_metrics["eval_loss"])
    (row,) = (r for r in records if r.mode == "eval" and r.coverage is not None)
    assert dict(row.nonfinite) == {"eval_loss": "nan"}


def test_a_resumed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Three of four steps are logged; the fourth is open when the epoch's checkpoint is saved."""
    save = ModelCheckpoint(tmp_path, save_last=True)
    options: dict[str, Any] = {"log_every_n_steps": 3, "enable_checkpointing": True}
    trained(tmp_path, callbacks=[save], **options)
    path = str(tmp_path / "last.ckpt")
    _, _, records = trained(tmp_path, max_epochs=2, ckpt_path=path, **options)
    assert [row["pack/num_samples"] for row in rows(records, "train")] == [12, 8]


def test_the_logger_undoes_what_lightning_adds(tmp_path: Path) -> None:
    _, _, records = trained(tmp_path)
    logged = [r for r in records if r.coverage is None]
    assert [r.global_step for r in logged if "loss" in r.metrics] == [0, 1, 2, 3]
    assert [r.mode for r in logged if "eval_loss" in r.metrics] == ["eval"]


def test_steps_that_are_not_logged_are_not_lost(tmp_path: Path) -> None:
    """Three of four steps end a logging window; the last one is emitted at the end."""
    _, _, records = trained(tmp_path, log_every_n_steps=3)
    assert [row["pack/num_samples"] for row in rows(records, "train")] == [12, 4]


def test_a_checkpoint_is_chosen_by_a_key_of_ours(tmp_path: Path) -> None:
    best = ModelCheckpoint(tmp_path, monitor="eval_coord_diag/expected_bin_mae", mode="min")
    options = {"max_epochs": 3, "enable_checkpointing": True, "callbacks": [best]}
    _, _, records = trained(tmp_path, learning_rate=0.1, **options)
    wanted = min(row["eval_coord_diag/expected_bin_mae"] for row in rows(records, "eval"))
    assert float(best.best_model_score) == pytest.approx(wanted)


def test_training_is_bit_equal_with_and_without_metrics(tmp_path: Path) -> None:
    _, ours, _ = trained(tmp_path / "a", learning_rate=0.1)
    _, plain, _ = trained(tmp_path / "b", learning_rate=0.1, metered=False)
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("spelled", "place", "key"),
    [
        ("loss", ("train", None), "loss"),
        ("train_loss", ("train", None), "loss"),
        ("loss_epoch", ("train", None), "loss"),
        ("train/samples_total", ("train", None), "train/samples_total"),
        ("val_loss_epoch", ("eval", None), "eval_loss"),
        ("val/rollout/f1", ("eval", None), "eval_rollout/f1"),
        ("eval_rollout/gt_objects", ("eval", None), "eval_rollout/gt_objects"),
        ("eval_rollout/gt_objects_epoch", ("eval", None), "eval_rollout/gt_objects"),
        ("test_loss/dataloader_idx_2", ("eval", "dataloader_2"), "eval_loss"),
        ("test_loss", ("eval", "test"), "eval_loss"),
        ("my_warmup_step", ("train", None), "my_warmup_step"),
        ("epoch", ("train", None), "epoch"),
        ("accum/grad_steps", ("train", None), "accum/grad_steps"),
    ],
)
def test_a_decorated_name_is_the_contracts_name(spelled: str, place: Any, key: str) -> None:
    assert sorted_by_place({spelled: 1.0}, CATALOGUE) == {Place(*place): {key: 1.0}}


def test_two_spellings_of_one_key_both_stay() -> None:
    found = sorted_by_place({"loss_step": 1.0, "loss_epoch": 2.0}, CATALOGUE)
    assert found == {Place("train", None): {"loss": 1.0, "loss_epoch": 2.0}}
