"""Floor 5: the contract inside the trainers that people run, one module for each ecosystem.

A diagnostic that fails costs itself and nothing else; it is counted and named. What trains the
model is never guarded: an objective that cannot be computed ends the run with a clear error.
"""

from __future__ import annotations

from .guard import Fault, Guard
from .hidden import HiddenTap
from .session import TrainerMetrics

__all__ = ["Fault", "Guard", "HiddenTap", "TrainerMetrics"]
