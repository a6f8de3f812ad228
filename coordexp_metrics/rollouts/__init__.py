"""From generated text to the facts of a rollout: parse, match, describe, evaluate; no torch."""

from __future__ import annotations

from .facts import RolloutFacts
from .objects import (
    DetectedObject,
    ImageObjects,
    ObjectMatch,
    ParsedRollout,
    normalize_box,
)

__all__ = [
    "DetectedObject",
    "ImageObjects",
    "ObjectMatch",
    "ParsedRollout",
    "RolloutFacts",
    "normalize_box",
]
