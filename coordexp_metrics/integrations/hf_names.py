"""Names between the contract and a Hugging Face trainer, which prefixes an evaluation's keys.

An evaluation is called ``eval``, ``eval_<set>`` or, for predictions, ``test``; its keys begin with
that name. Inside the contract the key is ``eval_<train name>``, and the set is the ``dataset``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..contract.catalogue import Catalogue

__all__ = ["best_key", "dataset_of", "from_trainer", "to_trainer"]

EVAL = "eval"


def dataset_of(prefix: str) -> str | None:
    """The name of the evaluation set behind a prefix.

    >>> dataset_of("eval"), dataset_of("eval_coco"), dataset_of("test")
    (None, 'coco', 'test')
    """
    return None if prefix == EVAL else prefix.removeprefix(f"{EVAL}_")


def to_trainer(values: Mapping[str, float], prefix: str, catalogue: Catalogue) -> dict[str, float]:
    """Values under train names, as an evaluation called ``prefix`` reports them.

    >>> from coordexp_metrics import CATALOGUE
    >>> to_trainer({"rollout/f1": 0.5, "rollout/gt_objects_total": 9.0}, "eval_coco", CATALOGUE)
    {'eval_coco_rollout/f1': 0.5, 'eval_coco_rollout/gt_objects': 9.0}
    """
    named = {}
    for key, value in values.items():
        name = catalogue[key].eval_key if key in catalogue else f"{EVAL}_{key}"
        named[f"{prefix}_{name.removeprefix(f'{EVAL}_')}"] = value
    return named


def from_trainer(logged: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What an evaluation called ``prefix`` reports, under names that the catalogue resolves.

    >>> from_trainer({"eval_coco_loss": 1.0, "epoch": 2.0}, "eval_coco")
    {'eval_loss': 1.0, 'epoch': 2.0}
    """
    return {
        f"{EVAL}_{key.removeprefix(f'{prefix}_')}" if key.startswith(f"{prefix}_") else key: value
        for key, value in logged.items()
    }


def best_key(metric_for_best_model: str | None) -> str | None:
    """The key that the trainer looks up to choose the best checkpoint.

    >>> best_key("rollout/f1")
    'eval_rollout/f1'
    """
    if metric_for_best_model is None or metric_for_best_model.startswith(f"{EVAL}_"):
        return metric_for_best_model
    return f"{EVAL}_{metric_for_best_model}"
