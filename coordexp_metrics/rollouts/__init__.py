"""From generated text to the facts of a rollout: parse, match, describe, evaluate; no torch."""

from __future__ import annotations

from .describe import DescriptionFacts, DescriptionMonitor, normalize_description
from .embedding import SentenceTransformerEmbedder
from .facts import RolloutFacts
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
    "normalize_box",
    "normalize_description",
    "parse_rollout",
    "render_objects",
    "render_rollout",
]
