"""Each ecosystem spells keys its own way; the map runs both ways.

Our own log, W&B and TensorBoard use the name for the mode. The Hugging Face callbacks write
``eval/x`` for ``eval_x``, ``test/x`` for ``test_x``, and ``train/x`` for everything else. Back from
any of these, ``Catalogue.resolve`` finds the metric.
"""

from __future__ import annotations

from .metric import Metric

__all__ = ["huggingface_name", "names_of"]


def huggingface_name(name: str) -> str:
    """How transformers' W&B and TensorBoard callbacks spell a key of ``Trainer.log``.

    >>> huggingface_name("eval_rollout/f1"), huggingface_name("train/samples_total")
    ('eval/rollout/f1', 'train/train/samples_total')
    """
    for prefix in ("eval_", "test_"):
        if name.startswith(prefix):
            return f"{prefix[:-1]}/{name[len(prefix) :]}"
    return f"train/{name}"


def names_of(metric: Metric) -> dict[str, str]:
    """Every spelling of a metric by where it is met."""
    names = {}
    for mode in metric.modes:
        wire = metric.key_in(mode)
        names[f"payload, mode {mode}"] = metric.key
        names[f"log, W&B, TensorBoard ({mode})"] = wire
        names[f"Hugging Face callbacks ({mode})"] = huggingface_name(wire)
    return names
