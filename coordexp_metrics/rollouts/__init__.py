"""From generated text to the facts of a rollout: parse, match, describe, evaluate; no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .describe import DescriptionFacts, DescriptionMonitor, normalize_description
from .embedding import SentenceTransformerEmbedder
from .facts import RolloutFacts, rollout_facts
from .masks import LossMasks, Span, build_masks
from .objects import (
    DetectedObject,
    ImageObjects,
    ObjectMatch,
    ParsedRollout,
    normalize_box,
)
from .parse import parse_rollout
from .render import render_objects, render_rollout
from .schedule import BresenhamSchedule

if TYPE_CHECKING:
    from .coco import mean_average_precision
    from .match import match_objects

__all__ = [
    "BresenhamSchedule",
    "DescriptionFacts",
    "DescriptionMonitor",
    "DetectedObject",
    "ImageObjects",
    "LossMasks",
    "ObjectMatch",
    "ParsedRollout",
    "RolloutFacts",
    "SentenceTransformerEmbedder",
    "Span",
    "build_masks",
    "match_objects",
    "mean_average_precision",
    "normalize_box",
    "normalize_description",
    "parse_rollout",
    "render_objects",
    "render_rollout",
    "rollout_facts",
]

_HOMES = {"match_objects": "match", "mean_average_precision": "coco"}


def __getattr__(name: str) -> Any:
    """What needs numpy, scipy and pycocotools is imported when it is asked for.

    Raises:
        MissingExtraError: they are not installed.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        from ..contract.errors import MissingExtraError

        raise MissingExtraError("rollouts", name) from error
