"""A model whose loss keeps no logits has the metrics of one that keeps them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.errors import DeclarationError, ObservationError
from coordexp_metrics.integrations import HiddenTap, TrainerMetrics
from coordexp_metrics.token_types import BatchExtras

from . import fused, tiny
from .test_transformers import Run, arguments, same

ROUTES = ("chunks", "chunks without the last position", "hidden states")
ROOT = Path(__file__).parents[2]


def run_of(out: Path, route: str, **options: Any) -> Run:
    """A trainer whose model returns no logits, and one of the routes."""
    model = fused.model(without_last="without" in route)
    tap = HiddenTap(model, options.pop("every", 1)) if route == "hidden states" else None
    run = Run(out, weights=model, hidden=tap, **options)
    if route.startswith("chunks"):
        model.watch = run.metrics.update
    return run


@pytest.mark.parametrize("route", ROUTES)
def test_the_logged_numbers_are_those_of_a_model_that_keeps_its_logits(
    tmp_path: Path, route: str
) -> None:
    """Every key of every row, over a training that moves, with token types and packs."""
    options = {"gradient_accumulation_steps": 2, "logging_steps": 2}
    run = run_of(tmp_path / "fused", route, **options).train()
    assert run.metrics.guard.faults == {}
    model = fused.model(keeps_logits=True, without_last="without" in route)
    kept = Run(tmp_path / "kept", weights=model, **options).train()
    assert len(run.rows()) == len(kept.rows()) == 2
    for found, wanted in zip(run.rows(), kept.rows(), strict=True):
        assert found.keys() == wanted.keys()
        assert {"desc_entropy", "coord_diag/loss", "pack/num_samples"} < found.keys()
        same(found, {key: wanted[key] for key in wanted if key in CATALOGUE})


@pytest.mark.parametrize("route", ROUTES)
def test_an_evaluation_has_them_too(tmp_path: Path, route: str) -> None:
    held_out = tiny.Samples(7, seed=5)
    run = run_of(tmp_path, route, eval_dataset=held_out)
    found = run.trainer.evaluate()
    assert run.metrics.guard.faults == {}
    same(found, tiny.alone(tiny.model(), held_out), prefix="eval")


@pytest.mark.parametrize("route", ROUTES)
def test_training_is_bit_equal_with_and_without_metrics(tmp_path: Path, route: str) -> None:
    plain = Trainer(
        model=fused.model(without_last="without" in route),
        args=arguments(tmp_path / "plain"),
        train_dataset=tiny.Samples(16, typed=False),
    )
    plain.train()
    run = run_of(tmp_path / "ours", route).train()
    pairs = zip(run.trainer.model.named_parameters(), plain.model.parameters(), strict=True)
    for (name, ours), theirs in pairs:
        assert torch.equal(ours, theirs), name


def test_a_tap_reads_every_nth_step_and_every_evaluation(tmp_path: Path) -> None:
    """The rows of the other steps have everything else, and no fault."""
    options = {"every": 3, "max_steps": 5, "gradient_accumulation_steps": 2}
    run = run_of(tmp_path, "hidden states", eval_dataset=tiny.Samples(4, seed=5), **options)
    run.train()
    rows = run.rows()
    assert ["token_acc" in row for row in rows] == [True, False, False, True, False]
    assert all("loss" in row for row in rows)
    assert [rows[i]["pack/num_samples"] for i in (0, 3)] == [4, 4]
    assert run.metrics.guard.faults == {}
    for _ in range(2):
        assert "eval_token_acc" in run.trainer.evaluate()


def test_logits_that_are_there_are_read_every_step(tmp_path: Path) -> None:
    """A tap stands in only where there are none."""
    model = tiny.model()
    tap = HiddenTap(model, every=9)
    run = Run(tmp_path, weights=model, hidden=tap).train()
    assert all("token_acc" in row for row in run.rows())


def test_what_pads_the_last_batch_is_not_counted() -> None:
    """As for logits: only the first samples of it count, in each of the routes."""
    batch = tiny.collate(tiny.Samples(5).rows)
    extras = BatchExtras(token_types=batch.pop("token_types"))
    wanted = tiny.alone(tiny.model(), tiny.Samples(3))
    for route in ROUTES:
        model = fused.model(without_last="without" in route)
        tap = HiddenTap(model) if route == "hidden states" else None
        metrics = TrainerMetrics(None, tiny.reducer(), hidden=tap, group="local", strict=True)
        model.watch = metrics.update if tap is None else None
        metrics.open()
        metrics.begin("eval")
        labels = batch["labels"]
        with torch.no_grad():
            outputs = model(batch["input_ids"], batch["attention_mask"], labels)
        metrics.observe_batch(outputs, labels, extras, samples=3)
        found = metrics.finish("eval", 1).metrics
        assert found == pytest.approx(wanted, rel=1e-6), route


def test_rows_that_are_no_samples_are_not_counted_where_some_pad_the_batch() -> None:
    metrics = TrainerMetrics(None, tiny.reducer(), group="local", strict=True)
    metrics.open()
    metrics.begin("eval")
    metrics.update(torch.zeros(7, 64), torch.zeros(7, dtype=torch.long))
    with pytest.raises(ObservationError, match="pad the batch"):
        metrics.observe_batch(None, torch.zeros(2, 4, dtype=torch.long), samples=1)


def test_an_interrupted_micro_batch_leaves_nothing_to_the_next(tmp_path: Path) -> None:
    """A loss that fails after some chunks, and a loop that goes on."""
    metrics = TrainerMetrics(None, tiny.reducer(), group="local", strict=True)
    metrics.open()
    metrics.begin("train")
    metrics.update(torch.zeros(3, 64), torch.zeros(3, dtype=torch.long))
    metrics.begin("train")
    labels = torch.ones(2, 4, dtype=torch.long)
    metrics.update(torch.zeros(8, 64), torch.tensor([1, 1, 1, -100] * 2))
    metrics.observe_batch({"loss": 1.0}, labels)
    assert metrics.close("train", 1)["token_count"] == 6


def test_a_fault_in_a_chunk_costs_the_loss_nothing(tmp_path: Path) -> None:
    run = run_of(tmp_path, "chunks", strict=False)
    run.trainer.model.watch = lambda logits, labels: run.metrics.update(logits[None], labels)
    run.train()
    faults = run.metrics.guard.faults
    assert "must have the shape [n, V]" in faults["reading a chunk of the logits"].error
    assert len(run.rows()) == 4
    assert all("token_acc" not in row and "loss" in row for row in run.rows())


def test_without_a_reducer_chunks_are_left_unread() -> None:
    metrics = TrainerMetrics(None, group="local", strict=True)
    metrics.open()
    metrics.begin("train")
    metrics.update(torch.zeros(3, 64), torch.zeros(3, dtype=torch.long))
    metrics.observe_batch(None, None)


def test_the_error_without_logits_names_both_ways_out(tmp_path: Path) -> None:
    run = Run(tmp_path, weights=fused.model(), strict=False).train()
    error = run.metrics.guard.faults["reading the logits"].error
    assert "TrainerMetrics.update" in error
    assert "HiddenTap" in error


def test_a_tap_keeps_no_graph_and_leaves_no_hook() -> None:
    model = fused.model()
    hooks = len(model.model._forward_hooks)
    tap = HiddenTap(model)
    model.model(torch.zeros(1, 3, dtype=torch.long))
    states = tap.take()
    assert not states.hidden.requires_grad
    assert states.weight is model.lm_head.weight
    assert tap.take() is None
    model.model(torch.zeros(1, 3, dtype=torch.long))
    tap.remove()
    assert tap.take() is None
    assert len(model.model._forward_hooks) == hooks


@pytest.mark.parametrize("form", ["tensor", "tuple", "dict", "object"])
def test_a_base_may_return_its_hidden_states_in_any_form(form: str) -> None:
    class Base(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            forms = {"tensor": x, "tuple": (x, None), "dict": {"last_hidden_state": x}}
            return forms.get(form) if form in forms else type("O", (), {"last_hidden_state": x})()

    base = Base()
    tap = HiddenTap(None, base=base, head=torch.nn.Linear(4, 8))
    base(torch.ones(2, 3, 4))
    assert tap.take().hidden.shape == (2, 3, 4)
    base(torch.ones(6, 4))
    with pytest.raises(ObservationError, match="base="):
        tap.take()


def test_a_tap_finds_its_parts_below_adapters() -> None:
    peft = pytest.importorskip("peft")
    model = tiny.model()
    config = peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config)
    tap = HiddenTap(adapted)
    samples = tiny.collate(tiny.Samples(2).rows)
    adapted(input_ids=samples["input_ids"])
    assert tap.take().hidden.shape[:2] == samples["input_ids"].shape


def refusals() -> dict[str, tuple[Any, dict[str, Any], str]]:
    capped, adapted = tiny.model(), tiny.model()
    capped.config.final_logit_softcapping = 30.0
    adapted.lm_head = torch.nn.Sequential(adapted.lm_head)
    linear = torch.nn.Linear(4, 8)
    return {
        "every": (tiny.model(), {"every": 0}, "every must be"),
        "no whole number": (tiny.model(), {"every": True}, "every must be"),
        "no base": (torch.nn.Linear(2, 2), {"head": linear}, "give base="),
        "no head": (tiny.model().model, {"base": linear}, "give head="),
        "another head": (adapted, {}, "not a torch.nn.Linear"),
        "after the head": (capped, {}, "final_logit_softcapping=30.0 comes after the head"),
    }


@pytest.mark.parametrize("why", refusals())
def test_a_tap_that_could_not_tell_the_logits_is_refused(why: str) -> None:
    """At once, with the way out: numbers of other logits would be false ones."""
    model, options, says = refusals()[why]
    with pytest.raises(DeclarationError, match=says):
        HiddenTap(model, **options)


@pytest.mark.skipif(
    not (find_spec("liger_kernel") and find_spec("triton")), reason="needs liger-kernel and triton"
)
def test_the_real_fused_loss(tmp_path: Path) -> None:
    """Liger's fused linear cross-entropy returns no logits; a tap has all the numbers."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.integrations.liger_run", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert not found["kept"]
    same(found["train"], tiny.alone(tiny.model(), tiny.Samples(16), "train"))
    same(found["eval"], tiny.alone(tiny.model(), tiny.Samples(5, seed=5)), prefix="eval")
