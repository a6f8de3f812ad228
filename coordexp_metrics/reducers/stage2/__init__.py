"""What a Stage-2 trainer says of its steps: objective, diagnostics, channel, time and packs."""

from __future__ import annotations

from .atoms import ObjectiveAtoms
from .coord_diagnostics import CoordDiagnostics
from .telemetry import Stage2Telemetry
from .timings import RolloutTimings

__all__ = ["CoordDiagnostics", "ObjectiveAtoms", "RolloutTimings", "Stage2Telemetry"]
