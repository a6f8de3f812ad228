"""Names as other frameworks decorate them, back to names that the catalogue resolves.

A stage stands before the name (``val_loss``, ``train/loss``, ``test_f1``); Lightning puts
``_step``, ``_epoch`` and ``/dataloader_idx_N`` behind it. A suffix is undone only where the name is
known without it and not with it, so that a key of yours that ends in ``_step`` stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..contract.catalogue import Catalogue
from ..contract.metric import Mode
from ..contract.payload import Payload

if TYPE_CHECKING:
    from ..registry import MetricsRegistry

__all__ = ["Place", "emit_by_place", "sorted_by_place"]

LOADER = re.compile(r"/dataloader_idx_([0-9]{1,6})\Z")
STAGE = re.compile(r"(?:(train|val|valid|validation|eval|test|predict)[_/])?(.+)", re.DOTALL)
SUFFIXES = ("_step", "_epoch")


class Place(NamedTuple):
    """Where a value belongs: the mode, and the evaluation set."""

    mode: Mode
    dataset: str | None


def emit_by_place(registry: MetricsRegistry, values: Mapping[str, Any], global_step: int) -> None:
    """Emit one payload for each mode and evaluation set among the values."""
    for place, found in sorted_by_place(values, registry.catalogue).items():
        registry.emit(Payload(place.mode, global_step, found, dataset=place.dataset))


def sorted_by_place(values: Mapping[str, Any], catalogue: Catalogue) -> dict[Place, dict[str, Any]]:
    """The values of each place under the contract's names.

    Where two names mean one key, the first stands and the other stays as it was spelled.

    >>> from coordexp_metrics import CATALOGUE
    >>> sorted_by_place({"loss_step": 1.0, "val_rollout/f1_epoch/dataloader_idx_1": 0.5}, CATALOGUE)
    {Place(mode='train', dataset=None): {'loss': 1.0}, \
Place(mode='eval', dataset='dataloader_1'): {'eval_rollout/f1': 0.5}}
    """
    places: dict[Place, dict[str, Any]] = {}
    for spelled, value in values.items():
        place, key = _placed(str(spelled), catalogue)
        there = places.setdefault(place, {})
        there[spelled if key in there else key] = value
    return places


def _placed(spelled: str, catalogue: Catalogue) -> tuple[Place, str]:
    loader = LOADER.search(spelled)
    name = spelled[: loader.start()] if loader else spelled
    dataset = f"dataloader_{loader[1]}" if loader else None
    match = STAGE.fullmatch(name)
    stage, bare = (match[1], match[2]) if match else (None, name)
    bare = _without_suffix(bare, catalogue)
    if stage is None:
        return Place("train", dataset), bare
    if stage == "train":  # train_loss is what training logs; train/samples_total is a name
        return Place("train", dataset), bare if catalogue.resolve(bare) else name
    if stage in {"test", "predict"}:
        dataset = dataset or stage
    return Place("eval", dataset), f"eval_{bare}"


def _without_suffix(name: str, catalogue: Catalogue) -> str:
    if catalogue.resolve(name) is None:
        for suffix in SUFFIXES:
            bare = name.removesuffix(suffix)
            if bare != name and (catalogue.resolve(bare) or catalogue.resolve(f"eval_{bare}")):
                return bare
    return name
