"""A loop under Accelerate logs through the contract."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.integrations.accelerate import ContractTracker
from coordexp_metrics.sinks import MemorySink

from . import tiny


def test_a_real_loop_reaches_the_registry() -> None:
    registry = MetricsRegistry([sink := MemorySink()], on_violation="count")
    accelerator = Accelerator(cpu=True, log_with=ContractTracker(registry))
    accelerator.init_trackers("run", config={"seed": 0})
    weights = tiny.model()
    optimizer = torch.optim.SGD(weights.parameters(), lr=0.1)
    weights, optimizer = accelerator.prepare(weights, optimizer)
    losses = []
    for step, row in enumerate(tiny.Samples(4, typed=False).rows, start=1):
        loss = weights(**{key: value.unsqueeze(0) for key, value in row.items()}).loss
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        accelerator.log({"train_loss": losses[-1], "val_token_acc": 0.5}, step=step)
    accelerator.end_training()
    train = [record for record in sink.records if record.mode == "train"]
    assert [record.global_step for record in train] == [1, 2, 3, 4]
    assert [record.metrics["loss"] for record in train] == losses
    assert {
        record.metrics["eval_token_acc"] for record in sink.records if record.mode == "eval"
    } == {0.5}
    assert accelerator.get_tracker("coordexp_metrics", unwrap=True) is registry


def test_without_a_step_the_last_one_counts() -> None:
    tracker = ContractTracker(MetricsRegistry([sink := MemorySink()]))
    tracker.log({"loss": 1.0}, step=7)
    tracker.log({"grad_norm": 1.0})
    assert [record.global_step for record in sink.records] == [7, 7]
