"""The contract inside Lightning: a callback that owns the windows, and a logger.

    metrics = TrainerMetrics(registry, reducer)
    trainer = Trainer(callbacks=[MetricsCallback(metrics)], logger=ContractLogger(registry))

The callback reads what ``training_step`` and ``validation_step`` return: a mapping with ``loss``
and ``logits``; the labels are those of the batch. It hands finished values to Lightning, so that
``ModelCheckpoint(monitor="eval_rollout/f1")`` sees them, and emits them with everything a payload
says. The logger takes what your module logs itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.data import DistributedSampler

from ..contract.metric import Mode
from ..token_types import pop_batch_extras
from .foreign_names import emit_by_place
from .hf_names import to_trainer
from .session import TrainerMetrics, numbers
from .versions import Supported, require

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from ..registry import MetricsRegistry

__all__ = ["ContractLogger", "MetricsCallback"]

SUPPORTED = Supported("lightning", "2.2", "3", "lightning")


class ContractLogger(Logger):
    """Takes what Lightning logs through the contract, on the main rank.

    Args:
        registry: where payloads go. It is yours to close.
        name, version: what Lightning puts checkpoints under.

    >>> from coordexp_metrics import MetricsRegistry
    >>> from coordexp_metrics.sinks import MemorySink
    >>> logger = ContractLogger(MetricsRegistry([sink := MemorySink()]))
    >>> logger.log_metrics({"loss_step": 1.5, "epoch": 0}, step=7)
    >>> sink.records[0].global_step, sink.records[0].metrics
    (7, {'loss': 1.5, 'epoch': 0})
    """

    def __init__(
        self, registry: MetricsRegistry, name: str = "coordexp_metrics", version: str | int = 0
    ) -> None:
        require(SUPPORTED)
        super().__init__()
        self.registry = registry
        self._name, self._version = name, version
        self._step = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str | int:
        return self._version

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Emit one payload for each mode and evaluation set; without a step, at the last one."""
        self._step = self._step if step is None else int(step)
        emit_by_place(self.registry, metrics, self._step)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Hyperparameters belong to the header of the registry, which is written already."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.registry.flush()


class MetricsCallback(Callback):
    """Owns the windows: closes one for every logged optimizer step, and one for every evaluation.

    Args:
        metrics: what the contract needs.
        labels_key: where a batch has its labels.

    ``setup`` opens the windows on all ranks.
    """

    def __init__(self, metrics: TrainerMetrics, labels_key: str = "labels") -> None:
        require(SUPPORTED)
        self.metrics, self.labels_key = metrics, labels_key
        self._step = 0
        self._labels: Any = None
        self._extras: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.metrics.open()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._begin("train", batch)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._observe(outputs, trainer.accumulate_grad_batches)
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self.metrics.observe("accum/grad_steps", trainer.accumulate_grad_batches)
        if self._step % getattr(trainer, "log_every_n_steps", 1) == 0:
            self._close("train", pl_module)
        else:
            self.metrics.end_step()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.metrics.in_step:
            self.metrics.emit(self.metrics.finish("train", self._step), {})

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._begin("eval", batch)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking:
            self._observe(outputs, None, _repeated(trainer, batch_idx, dataloader_idx))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._close("eval", pl_module)
        self.metrics.mode = "train"

    def state_dict(self) -> dict[str, Any]:
        return self.metrics.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics.open()
        self.metrics.load_state_dict(state_dict)

    def _begin(self, mode: Mode, batch: Any) -> None:
        self.metrics.begin(mode)
        self._labels = self._extras = None
        with self.metrics.guard.diagnostic("reading the batch"):
            self._extras = pop_batch_extras(batch)
            self._labels = batch[self.labels_key].clone()

    def _observe(self, outputs: Any, parts: int | None, repeated: int = 0) -> None:
        own = len(self._labels) - repeated if repeated and self._labels is not None else None
        self.metrics.observe_batch(outputs, self._labels, self._extras, samples=own)
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
        if loss is not None and own != 0:
            # Lightning has divided a training loss by the accumulated batches already.
            self.metrics.observe_loss(loss, 1 / parts if parts else 1.0)

    def _close(self, mode: Mode, pl_module: LightningModule) -> None:
        payload = self.metrics.finish(mode, self._step)
        self.metrics.emit(payload, {})
        values = numbers(payload)
        if mode == "eval":
            values = to_trainer(values, "eval", self.metrics.registry.catalogue)
        with self.metrics.guard.diagnostic("handing values to Lightning"):
            pl_module.log_dict(values, logger=False, on_step=mode == "train", batch_size=1)


def _repeated(trainer: Trainer, batch_idx: int, dataloader_idx: int) -> int:
    """Samples at the end of a validation batch that only fill up the ranks' equal shares.

    Where a set does not divide, the sampler deals its first samples once more, to the last ranks.
    """
    loaders = trainer.val_dataloaders
    if not isinstance(loaders, (list, tuple)):
        loaders = [loaders]
    loader = loaders[dataloader_idx]
    sampler = getattr(loader, "sampler", None)
    if not isinstance(sampler, DistributedSampler) or sampler.drop_last:
        return 0
    if batch_idx + 1 < len(loader):
        return 0
    extra = sampler.total_size - len(sampler.dataset)  # type: ignore[arg-type]
    return int(sampler.rank >= sampler.num_replicas - extra)
