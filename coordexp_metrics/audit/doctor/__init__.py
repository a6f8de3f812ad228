"""The doctor finds what range checks cannot: numbers that no definition of theirs can give."""

from __future__ import annotations

from .examine import DETECTORS, Diagnosis, examine
from .log import Context

__all__ = ["DETECTORS", "Context", "Diagnosis", "examine"]
