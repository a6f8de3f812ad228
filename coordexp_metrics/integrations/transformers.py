"""The contract inside a Hugging Face trainer, by one line: ``with_metrics(Trainer)``.

    trainer = with_metrics(Trainer)(model=..., args=..., metrics=TrainerMetrics(registry, reducer))
    trainer.train()

Finished values go into the dicts that the trainer logs, in place: so every callback,
``log_history`` and the choice of the best checkpoint see them. The trainers of ms-swift and TRL are
such trainers too.
"""

from __future__ import annotations

import math
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from transformers import Trainer, TrainerCallback

from ..contract.errors import DeclarationError, UnknownKeyError
from ..contract.metric import Mode
from ..contract.payload import Payload
from ..token_types import BatchExtras, pop_batch_extras
from .checkpoints import read_state, write_state
from .hf_names import best_key, dataset_of, from_trainer, to_trainer
from .session import TrainerMetrics, numbers
from .versions import Supported, require

__all__ = ["MetricsMixin", "with_metrics"]

SUPPORTED = Supported("transformers", "4.46", "6", "hf")
HELD_AS = "contract_metrics"
FULL_ROWS = 100
"""So many rows of ``log_history`` keep all keys; it is rewritten whole at every checkpoint."""

_T = TypeVar("_T", bound=type)

if TYPE_CHECKING:
    Base = Trainer
else:
    Base = object


def with_metrics(trainer: _T, mixin: type | None = None) -> _T:
    """The same trainer class, under the contract; it takes ``metrics=`` beside its own arguments.

    Args:
        trainer: ``transformers.Trainer`` or a subclass, such as TRL's.
        mixin: a subclass of :class:`MetricsMixin` to use in its place.

    Raises:
        MetricsError: transformers is too old.
        DeclarationError: the class has an attribute that the mixin needs.

    >>> from transformers import Trainer
    >>> with_metrics(Trainer).__name__
    'TrainerWithMetrics'
    """
    require(SUPPORTED)
    if issubclass(trainer, MetricsMixin) or hasattr(trainer, HELD_AS):
        raise DeclarationError(f"{trainer.__name__} has {HELD_AS!r} already; is it wrapped twice?")
    mixed: Any = type(f"{trainer.__name__}WithMetrics", (mixin or MetricsMixin, trainer), {})
    return mixed  # type: ignore[no-any-return]


class _Evaluated(NamedTuple):
    """An evaluation that is closed, and not emitted yet: its run time is still to come."""

    payload: Payload
    reported: dict[str, Any]
    prefix: str


class MetricsMixin(Base):
    """Stands before a trainer class: strips batch extras, reads logits, completes what is logged.

    Args:
        metrics: what the contract needs; by default the catalogue and nothing else.

    Attributes:
        contract_metrics: the same.
        resumed_from: what ``train`` was asked to resume from.
    """

    def __init__(self, *args: Any, metrics: TrainerMetrics | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.contract_metrics = metrics if metrics is not None else TrainerMetrics()
        self.contract_metrics.open()
        self._unread: BatchExtras | None = None
        self._closed: Payload | None = None
        self._evaluated: _Evaluated | None = None
        self._injected: set[str] = set()
        self.resumed_from: Any = None
        self.add_callback(_Steps(self))
        self._check_best_metric()

    def _check_best_metric(self) -> None:
        """Say at the start what would cost the best checkpoint at the first evaluation."""
        wanted = best_key(self.args.metric_for_best_model)
        catalogue = self.contract_metrics.registry.catalogue
        if wanted is not None and catalogue.resolve(wanted) is None:
            why = UnknownKeyError(wanted, catalogue.near(wanted))
            self.contract_metrics.guard.note("metric_for_best_model", str(why))

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        self.resumed_from = resume_from_checkpoint
        return super().train(resume_from_checkpoint, *args, **kwargs)

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        metrics = self.contract_metrics
        metrics.begin("train")
        self._unread = pop_batch_extras(inputs)
        loss = super().training_step(model, inputs, *args, **kwargs)
        parts = getattr(self, "current_gradient_accumulation_steps", None)
        metrics.observe_loss(loss, 1 / (parts or self.args.gradient_accumulation_steps))
        return loss

    def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.contract_metrics.begin("eval")
        self._unread = pop_batch_extras(inputs)
        return super().prediction_step(model, inputs, *args, **kwargs)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, *args: Any, **kwargs: Any
    ) -> Any:
        unread, self._unread = self._unread, None  # a second call in a micro-step is not counted
        labels = inputs.get("labels")
        if unread is None or labels is None or not self.contract_metrics.reads(unread):
            return super().compute_loss(model, inputs, return_outputs, *args, **kwargs)
        labels = labels.clone()  # before any loss masks them
        loss, outputs = super().compute_loss(model, inputs, True, *args, **kwargs)
        own = None if model.training else self._own_samples(len(labels))
        self.contract_metrics.observe_batch(outputs, labels, unread, samples=own)
        return (loss, outputs) if return_outputs else loss

    def _own_samples(self, rows: int) -> int | None:
        """Ranks fill up the last evaluation batch with samples from its beginning."""
        state = self.accelerator.gradient_state
        if self.args.world_size == 1 or not state.end_of_dataloader or state.remainder <= 0:
            return None
        before: int = self.args.process_index * rows
        return min(max(int(state.remainder) - before, 0), rows)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        bound = signature(super().evaluation_loop).bind(*args, **kwargs)
        prefix = bound.arguments.get("metric_key_prefix", "eval")
        metrics, catalogue = self.contract_metrics, self.contract_metrics.registry.catalogue
        output = super().evaluation_loop(*args, **kwargs)
        metrics.mode = "eval"
        metrics.observe("accum/grad_steps", self.args.gradient_accumulation_steps)
        payload = metrics.finish("eval", self.state.global_step)
        metrics.mode = "train"
        with metrics.guard.diagnostic("reporting an evaluation"):
            reported: dict[str, Any] = output.metrics or {}
            self._inject(to_trainer(numbers(payload), prefix, catalogue), reported)
            self._stand_in(reported, prefix)
            self._evaluated = _Evaluated(payload, reported, prefix)
        return output

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        output = super().predict(*args, **kwargs)
        self._emit_evaluation()
        return output

    def _stand_in(self, reported: dict[str, Any], prefix: str) -> None:
        """Without its key the choice of the best checkpoint ends the run; NaN is never the best."""
        wanted = best_key(self.args.metric_for_best_model)
        if wanted and wanted not in reported and wanted.startswith(f"{prefix}_"):
            reported[wanted] = math.nan
            why = f"{wanted!r} is absent from this evaluation; it cannot be the best"
            self.contract_metrics.guard.note("metric_for_best_model", why)

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        with self.contract_metrics.guard.diagnostic("completing the log"):
            self._closed = self._complete(logs)
        super().log(logs, *args, **kwargs)
        with self.contract_metrics.guard.diagnostic("bounding log_history"):
            self._bound_history()

    def _complete(self, logs: dict[str, Any]) -> Payload | None:
        """Put the step's values in; their payload, where a step is what is logged."""
        for key, value in logs.items():
            if hasattr(value, "item"):  # one tensor would end the run at the next checkpoint
                logs[key] = value.item()
        if "loss" not in logs or not self.contract_metrics.in_step:
            return None
        payload = self.contract_metrics.finish("train", self.state.global_step)
        self._inject(numbers(payload), logs)
        return payload

    def emit_log(self, logs: dict[str, Any]) -> None:
        """Emit a row as the callbacks see it: trainers complete it on the way, some in a copy."""
        closed, self._closed = self._closed, None
        evaluated = any(key.startswith("eval_") for key in logs)
        if evaluated and self._evaluated is not None:
            self._evaluated = self._evaluated._replace(reported=logs)
            self._emit_evaluation()
        elif closed is not None:
            self.contract_metrics.emit(closed, logs)
        else:
            mode: Mode = "eval" if evaluated else "train"
            self.contract_metrics.emit(Payload(mode, self.state.global_step, {}), logs)

    def _inject(self, found: dict[str, float], reported: dict[str, Any]) -> None:
        """What the trainer says itself stands, but for a loss whose NaN it would hide."""
        for key, value in found.items():
            if key not in reported or not math.isfinite(value):
                reported[key] = value
                self._injected.add(key)

    def _emit_evaluation(self) -> None:
        if self._evaluated is not None:
            payload, reported, prefix = self._evaluated
            self._evaluated = None
            self.contract_metrics.emit(payload, from_trainer(reported, prefix), dataset_of(prefix))

    def _bound_history(self) -> None:
        history = self.state.log_history
        if len(history) > FULL_ROWS:
            row, kept = history[-FULL_ROWS - 1], best_key(self.args.metric_for_best_model)
            for key in self._injected.intersection(row) - {"loss", kept}:
                del row[key]


class _Steps(TrainerCallback):
    """Ends steps that are not logged, emits what is, and keeps the state with its checkpoint."""

    def __init__(self, trainer: MetricsMixin) -> None:
        self.trainer = trainer
        self._parts: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step:
            metrics = self.trainer.contract_metrics
            with metrics.guard.diagnostic("restoring the state of the metrics"):
                found = read_state(self._checkpoint(args, state))
                if found is None:
                    raise FileNotFoundError("the checkpoint was saved without metrics")
                metrics.load_state_dict(found)

    def _checkpoint(self, args: Any, state: Any) -> Path:
        given = self.trainer.resumed_from
        if isinstance(given, str):
            return Path(given)
        return Path(args.output_dir) / f"checkpoint-{state.global_step}"

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        metrics = self.trainer.contract_metrics
        metrics.end_step()
        metrics.mode = "train"
        parts = getattr(self.trainer, "current_gradient_accumulation_steps", None)
        if metrics.in_step and args.world_size == 1 and parts == self._parts:
            return  # this window knows, and there is no rank that could disagree
        self._parts = parts
        metrics.observe("accum/grad_steps", args.gradient_accumulation_steps)
        if parts:
            metrics.observe("accum/current_grad_steps", parts)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        metrics = self.trainer.contract_metrics
        with metrics.guard.diagnostic("saving the state of the metrics"):
            kept = metrics.state_dict()
            if args.should_save:
                write_state(Path(args.output_dir) / f"checkpoint-{state.global_step}", kept)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        with self.trainer.contract_metrics.guard.diagnostic("emitting the log"):
            self.trainer.emit_log(dict(logs or {}))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        metrics = self.trainer.contract_metrics
        if metrics.in_step:
            metrics.emit(metrics.finish("train", state.global_step), {})
