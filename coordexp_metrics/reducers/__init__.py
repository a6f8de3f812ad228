"""Floor 3: tensors become sufficient statistics, on their device, without a host sync.

Naming ``LogitsReducer`` imports torch; importing this package, or ``RolloutReducer``, does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .coord_vocabulary import coord_token_ids_from
    from .evaluation import RolloutEvaluation
    from .fact_ledger import RolloutReport
    from .fact_reading import RolloutColumns
    from .positions import COORD, DESC, FORMAT, IGNORE
    from .reducer import LogitsReducer
    from .rollouts import RolloutReducer

__all__ = [
    "COORD",
    "DESC",
    "FORMAT",
    "IGNORE",
    "LogitsReducer",
    "RolloutColumns",
    "RolloutEvaluation",
    "RolloutReducer",
    "RolloutReport",
    "coord_token_ids_from",
]

_HOMES = {
    "COORD": "positions",
    "DESC": "positions",
    "FORMAT": "positions",
    "IGNORE": "positions",
    "LogitsReducer": "reducer",
    "RolloutColumns": "fact_reading",
    "RolloutEvaluation": "evaluation",
    "RolloutReducer": "rollouts",
    "RolloutReport": "fact_ledger",
    "coord_token_ids_from": "coord_vocabulary",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
