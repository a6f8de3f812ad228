"""A Hugging Face trainer under the contract trains as before, and logs what one process finds."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from coordexp_metrics import CATALOGUE, MetricsRegistry
from coordexp_metrics.contract.errors import DeclarationError
from coordexp_metrics.integrations import TrainerMetrics
from coordexp_metrics.integrations.transformers import with_metrics
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.sinks import MemorySink

from . import tiny


def arguments(out: Path, **options: Any) -> TrainingArguments:
    defaults = {
        "output_dir": str(out),
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 3,
        "max_steps": 4,
        "logging_steps": 1,
        "learning_rate": 0.01,
        "lr_scheduler_type": "constant",
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "remove_unused_columns": False,
        "seed": 0,
    }
    return TrainingArguments(**{**defaults, **options})


class Run:
    """A trainer under the contract, and every record that it emits."""

    def __init__(self, out: Path, samples: int = 16, base: type = Trainer, **options: Any) -> None:
        self.sink = MemorySink()
        self.registry = MetricsRegistry([self.sink], on_violation="count")
        self.metrics = TrainerMetrics(
            self.registry,
            tiny.reducer(),
            hidden=options.pop("hidden", None),
            strict=options.pop("strict", True),
        )
        given = {key: options.pop(key) for key in ("eval_dataset", "callbacks") if key in options}
        weights = options.pop("weights", None)
        self.trainer = with_metrics(base)(
            model=weights if weights is not None else tiny.model(),
            args=arguments(out, **options),
            train_dataset=tiny.Samples(samples),
            data_collator=tiny.collate,
            metrics=self.metrics,
            **given,
        )

    def train(self, **options: Any) -> Run:
        self.trainer.train(**options)
        self.registry.close()
        return self

    def rows(self, mode: str = "train") -> list[dict[str, float]]:
        found = [r.values() for r in self.sink.records if r.mode == mode]
        return [row for row in found if "train_runtime" not in row]


def same(found: dict[str, float], wanted: dict[str, float], prefix: str = "") -> None:
    """Every wanted value is there, to 1e-6."""
    for key, value in wanted.items():
        name = CATALOGUE[key].eval_key if prefix else key
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_the_logged_numbers_are_those_of_one_process(tmp_path: Path) -> None:
    """At learning rate 0 an epoch's numbers are those of all samples at once."""
    options = {"learning_rate": 0.0, "max_steps": 8, "logging_steps": 8}
    run = Run(tmp_path, **options).train()
    (row,) = run.rows()
    same(row, tiny.alone(tiny.model(), tiny.Samples(16), "train"))
    assert run.sink.records[0].coverage["steps"] == 8


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("logging_steps", [1, 10])
def test_the_cut_into_micro_batches_and_logging_windows_changes_nothing(
    tmp_path: Path, accumulate: int, logging_steps: int
) -> None:
    """Totals of all rows, and means weighted by them, are those of one process."""
    batch = {1: 8, 4: 2}[accumulate]
    options = {"learning_rate": 0.0, "num_train_epochs": 5, "max_steps": -1}
    run = Run(
        tmp_path,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
        logging_steps=logging_steps,
        **options,
    ).train()
    rows, wanted = run.rows(), tiny.alone(tiny.model(), tiny.Samples(16), "train")
    assert len(rows) == {1: 10, 10: 1}[logging_steps]
    tokens = [row["token_count"] for row in rows]
    assert sum(tokens) == 5 * wanted["token_count"]
    accuracy = sum(row["token_acc"] * row["token_count"] for row in rows) / sum(tokens)
    assert accuracy == pytest.approx(wanted["token_acc"], rel=1e-6)


def test_the_last_partial_accumulation_counts_what_it_has(tmp_path: Path) -> None:
    run = Run(
        tmp_path, samples=12, gradient_accumulation_steps=4, max_steps=-1, num_train_epochs=1
    ).train()
    first, last = run.rows()
    assert (first["accum/current_grad_steps"], last["accum/current_grad_steps"]) == (4, 2)
    assert (first["accum/grad_steps"], last["accum/grad_steps"]) == (4, 4)
    assert (first["pack/num_samples"], last["pack/num_samples"]) == (8, 4)


def test_the_loss_is_the_trainers_own(tmp_path: Path) -> None:
    """What the contract observed agrees with what the trainer logs, whatever the accumulation."""
    run = Run(tmp_path, gradient_accumulation_steps=3, logging_steps=2)
    kept = []
    finish = run.metrics.finish
    run.metrics.finish = lambda *a: kept.append(finish(*a)) or kept[-1]
    run.train()
    for payload, row in zip(kept, run.rows(), strict=True):
        assert payload.metrics["loss"] == pytest.approx(row["loss"], rel=1e-6)


def test_evaluation_has_eval_names_in_every_place(tmp_path: Path) -> None:
    """The returned dict, log_history, the record of the registry: one set of numbers."""
    held_out = tiny.Samples(7, seed=5)
    run = Run(tmp_path, eval_dataset=held_out)
    found = run.trainer.evaluate()
    run.registry.close()
    wanted = tiny.alone(run.trainer.model, held_out)
    same(found, wanted, prefix="eval")
    assert all(type(value) in {int, float} for value in found.values())
    (row,) = run.rows("eval")
    same(row, wanted, prefix="eval")
    assert row["eval_loss"] == found["eval_loss"]
    assert row["eval_runtime"] == found["eval_runtime"]
    assert run.trainer.state.log_history[-1]["eval_token_acc"] == found["eval_token_acc"]
    assert "eval_accum/grad_steps" in found
    assert run.metrics.mode == "train"


def test_an_evaluation_in_between_does_not_touch_an_open_step(tmp_path: Path) -> None:
    options = {"eval_strategy": "steps", "eval_steps": 1, "logging_steps": 4, "max_steps": 4}
    run = Run(tmp_path, eval_dataset=tiny.Samples(5, seed=5), **options).train()
    (row,) = run.rows()
    assert row["pack/num_samples"] == 8
    assert [r["eval_pack/num_samples"] for r in run.rows("eval")] == [5] * 4


def test_two_evaluation_sets_do_not_collide(tmp_path: Path) -> None:
    sets = {"coco": tiny.Samples(4, seed=1), "lvis": tiny.Samples(9, seed=2)}
    run = Run(tmp_path, eval_dataset=sets)
    found = run.trainer.evaluate()
    run.registry.close()
    for name, samples in sets.items():
        wanted = tiny.alone(run.trainer.model, samples)
        assert found[f"eval_{name}_token_acc"] == pytest.approx(wanted["token_acc"], rel=1e-6)
    records = {r.dataset: r.metrics for r in run.sink.records}
    assert records["coco"]["eval_token_count"] != records["lvis"]["eval_token_count"]
    assert found["eval_lvis_token_count"] == records["lvis"]["eval_token_count"]


def test_predictions_have_test_names(tmp_path: Path) -> None:
    samples = tiny.Samples(5, seed=3)
    run = Run(tmp_path)
    found = run.trainer.predict(samples).metrics
    run.registry.close()
    wanted = tiny.alone(run.trainer.model, samples)
    assert found["test_token_acc"] == pytest.approx(wanted["token_acc"], rel=1e-6)
    (record,) = run.sink.records
    assert (record.mode, record.dataset) == ("eval", "test")
    assert record.metrics["eval_token_acc"] == found["test_token_acc"]


def test_the_best_checkpoint_is_chosen_by_a_key_of_ours(tmp_path: Path) -> None:
    options = {
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 2,
        "save_steps": 2,
        "metric_for_best_model": "coord_diag/expected_bin_mae",
        "greater_is_better": False,
        "load_best_model_at_end": True,
    }
    run = Run(tmp_path, eval_dataset=tiny.Samples(6, seed=4), **options).train()
    best = min(row["eval_coord_diag/expected_bin_mae"] for row in run.rows("eval"))
    assert run.trainer.state.best_metric == best


def test_an_absent_best_key_is_nan_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without rollouts there is no rollout/f1: the dict of the choice alone gets NaN."""
    options = {"eval_strategy": "steps", "eval_steps": 2, "metric_for_best_model": "rollout/f1"}
    with caplog.at_level(logging.WARNING, "coordexp_metrics"):
        run = Run(tmp_path, eval_dataset=tiny.Samples(4, seed=4), **options).train()
    assert math.isnan(run.trainer.state.log_history[-2]["eval_rollout/f1"])
    assert "eval_rollout/f1" in caplog.text
    assert run.metrics.guard.faults["metric_for_best_model"].count == 2
    assert run.trainer.state.best_metric in {None, -math.inf}


def test_training_is_bit_equal_with_and_without_metrics(tmp_path: Path) -> None:
    plain = Trainer(
        model=tiny.model(),
        args=arguments(tmp_path / "plain", gradient_accumulation_steps=2),
        train_dataset=tiny.Samples(16, typed=False),
    )
    plain.train()
    run = Run(tmp_path / "ours", gradient_accumulation_steps=2).train()
    for (name, ours), theirs in zip(
        run.trainer.model.named_parameters(), plain.model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert [r["loss"] for r in run.rows()] == [
        r["loss"] for r in plain.state.log_history if "loss" in r
    ]


def test_resuming_goes_on_counting(tmp_path: Path) -> None:
    """Interrupted in the middle of a logging window, the rest of it is not lost."""
    options = {"max_steps": 6, "logging_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = Run(tmp_path / "whole", **options).train()
    Run(tmp_path / "cut", **options).train()
    resumed = Run(tmp_path / "cut", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-2"))
    assert resumed.metrics.guard.faults == {}
    for found, wanted in zip(resumed.rows(), whole.rows(), strict=True):
        assert found["token_count"] == wanted["token_count"]
        assert found["token_acc"] == pytest.approx(wanted["token_acc"], rel=1e-6)
    assert [r.coverage["steps"] for r in resumed.sink.records if r.coverage] == [4, 2]


def test_what_was_saved_without_metrics_resumes_and_says_so(tmp_path: Path) -> None:
    options = {"save_strategy": "steps", "save_steps": 2}
    run = Run(tmp_path, **options).train()
    (tmp_path / "checkpoint-2" / "coordexp_metrics.json").unlink()
    resumed = Run(tmp_path, strict=False, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert "restoring the state of the metrics" in resumed.metrics.guard.faults
    assert resumed.trainer.state.global_step == run.trainer.state.global_step


def test_trainer_state_stays_bounded_and_readable(tmp_path: Path) -> None:
    """All keys of the last hundred rows; of older ones what the trainer logs, and the best key."""
    evaluation = {"eval_strategy": "steps", "eval_steps": 10, "metric_for_best_model": "token_acc"}
    evaluation["eval_dataset"] = tiny.Samples(3, 5)
    run = Run(tmp_path, max_steps=110, save_strategy="steps", save_steps=110, **evaluation).train()
    state = json.loads((tmp_path / "checkpoint-110" / "trainer_state.json").read_text())
    evaluated = [row for row in state["log_history"] if "eval_loss" in row]
    assert [len(row) > 40 for row in evaluated] == [False] + 10 * [True]
    assert all("eval_token_acc" in row for row in evaluated)
    old, new = state["log_history"][0], state["log_history"][-2]
    assert set(old) == {"loss", "grad_norm", "learning_rate", "epoch", "step"}
    assert len(new) > 40
    assert len(run.rows()) == 110
    assert all("token_acc" in row for row in run.rows())
    assert [row["epoch"] for row in run.rows()[:4]] == [0.125, 0.25, 0.375, 0.5]


def test_a_callback_sees_the_finished_values(tmp_path: Path) -> None:
    class Seen(TrainerCallback):
        rows: ClassVar[list[dict[str, float]]] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            self.rows.append(dict(logs))

    Run(tmp_path, callbacks=[Seen]).train()
    assert all("coord_diag/loss" in row for row in Seen.rows if "loss" in row)


class _Odd(torch.nn.Module):
    """A model around the tiny one that returns something else than an object with logits."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.inner, self.form = tiny.model(), form

    def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None) -> Any:
        out = self.inner(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
        return {
            "tuple": (out.loss, out.logits),
            "dict": {"loss": out.loss, "logits": out.logits},
            "none": {"loss": out.loss},
        }[self.form]


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_logits_are_found_in_what_models_return(tmp_path: Path, form: str) -> None:
    run = Run(tmp_path, weights=_Odd(form)).train()
    assert all("token_acc" in row for row in run.rows())


def test_without_logits_training_goes_on_and_the_fault_is_named(tmp_path: Path) -> None:
    run = Run(tmp_path, weights=_Odd("none"), strict=False).train()
    assert "hold none" in run.metrics.guard.faults["reading the logits"].error
    rows = run.rows()
    assert len(rows) == 4
    assert all("token_acc" not in row and "loss" in row for row in rows)
    assert all(row["contract/diagnostics_failed_total"] == 1 for row in rows)


def test_an_error_in_a_reducer_costs_its_metrics_alone(tmp_path: Path) -> None:
    class Breaks(LogitsReducer):
        def observe(self, *_: Any) -> None:
            raise RuntimeError("CUDA out of memory")

    run = Run(tmp_path, strict=False)
    run.metrics.reducer = Breaks(tiny.COORD_IDS)
    run.train()
    assert run.metrics.guard.faults["reading the logits"].count == 4
    assert [row["contract/diagnostics_failed_total"] for row in run.rows()] == [1] * 4


def test_a_nan_loss_is_not_hidden_by_the_trainer(tmp_path: Path) -> None:
    """The trainer would replace it by the running mean; the dict, and the record, say NaN."""

    class Diverges(Trainer):
        def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
            loss, outputs = super().compute_loss(*args, **kwargs)
            return loss * (math.nan if self.state.global_step == 3 else 1.0), outputs

    run = Run(tmp_path, base=Diverges, learning_rate=0.0, max_grad_norm=0.0).train()
    logged = [row["loss"] for row in run.trainer.state.log_history if "loss" in row]
    assert [math.isnan(loss) for loss in logged] == [False, False, False, True]
    nonfinite = [dict(r.nonfinite) for r in run.sink.records if "loss" in r.values()]
    assert [row.get("loss") for row in nonfinite] == [None, None, None, "nan"]
    assert run.registry.report()["violations"] == {}


def test_a_tensor_that_somebody_logs_is_a_number_in_the_state(tmp_path: Path) -> None:
    """One tensor in log_history would end the run at its next checkpoint."""
    run = Run(tmp_path)
    run.trainer.log({"learning_rate": torch.tensor(0.5), "my/words": "none"})
    run.registry.close()
    (row,) = run.trainer.state.log_history
    assert (type(row["learning_rate"]), row["learning_rate"], row["my/words"]) == (
        float,
        0.5,
        "none",
    )
    assert run.rows()[0]["learning_rate"] == 0.5


def test_a_second_pass_in_a_micro_step_is_not_counted(tmp_path: Path) -> None:
    class Twice(Trainer):
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            with torch.no_grad():
                self.compute_loss(model, dict(inputs))
            return super().training_step(model, inputs, *args, **kwargs)

    run = Run(tmp_path, base=Twice, max_steps=8, logging_steps=8, learning_rate=0.0).train()
    wanted = tiny.alone(tiny.model(), tiny.Samples(16))
    assert run.rows()[0]["token_count"] == wanted["token_count"]


def test_missing_labels_are_no_error(tmp_path: Path) -> None:
    run = Run(tmp_path)
    rows = [{k: v for k, v in row.items() if k != "labels"} for row in tiny.Samples(4).rows]
    run.trainer.predict(rows)
    assert run.metrics.guard.faults == {}


def test_a_class_is_wrapped_once() -> None:
    with pytest.raises(DeclarationError, match="wrapped twice"):
        with_metrics(with_metrics(Trainer))


def test_labels_are_read_before_a_loss_masks_them(tmp_path: Path) -> None:
    class Masks(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            inputs["labels"][inputs["labels"] >= tiny.TEXT] = -100
            return super().compute_loss(model, inputs, *args, **kwargs)

    run = Run(tmp_path, base=Masks, max_steps=8, logging_steps=8, learning_rate=0.0).train()
    wanted = tiny.alone(tiny.model(), tiny.Samples(16))
    assert run.rows()[0]["token_count"] == wanted["token_count"]


def test_a_misspelt_best_metric_is_said_before_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "coordexp_metrics"):
        Run(tmp_path, metric_for_best_model="rolout/f1")
    assert "eval_rollout/f1" in caplog.text
