"""Floor 3: tensors become sufficient statistics, on their device, without a host sync.

``LogitsReducer`` imports torch when it is named; importing this package does not, nor do the
reducers of facts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .coord_vocabulary import coord_token_ids_from
    from .evaluation import RolloutEvaluation
    from .fact_ledger import RolloutReport
    from .fact_reading import RolloutColumns
    from .objective import LossParts, coord_loss
    from .positions import COORD, DESC, FORMAT, IGNORE
    from .reducer import LogitsReducer
    from .rollouts import RolloutReducer
    from .stage2 import CoordDiagnostics, ObjectiveAtoms, RolloutTimings, Stage2Telemetry

__all__ = [
    "COORD",
    "CoordDiagnostics",
    "DESC",
    "FORMAT",
    "IGNORE",
    "LogitsReducer",
    "LossParts",
    "ObjectiveAtoms",
    "RolloutColumns",
    "RolloutEvaluation",
    "RolloutReducer",
    "RolloutReport",
    "RolloutTimings",
    "Stage2Telemetry",
    "coord_loss",
    "coord_token_ids_from",
]

_HOMES = {
    "COORD": "positions",
    "CoordDiagnostics": "stage2",
    "DESC": "positions",
    "FORMAT": "positions",
    "IGNORE": "positions",
    "LogitsReducer": "reducer",
    "LossParts": "objective",
    "ObjectiveAtoms": "stage2",
    "RolloutColumns": "fact_reading",
    "RolloutEvaluation": "evaluation",
    "RolloutReducer": "rollouts",
    "RolloutReport": "fact_ledger",
    "RolloutTimings": "stage2",
    "Stage2Telemetry": "stage2",
    "coord_loss": "objective",
    "coord_token_ids_from": "coord_vocabulary",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
