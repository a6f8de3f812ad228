"""The contract for the numbers that a training run logs.

    from coordexp_metrics import CATALOGUE, MetricsRegistry, Payload, Record, read

Importing the package loads nothing heavy; each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .audit.readers import read as read
    from .catalogue import CATALOGUE as CATALOGUE
    from .contract.catalogue import Catalogue as Catalogue
    from .contract.errors import DeclarationError as DeclarationError
    from .contract.errors import MetricsError as MetricsError
    from .contract.errors import MissingExtraError as MissingExtraError
    from .contract.errors import ObservationError as ObservationError
    from .contract.errors import PayloadError as PayloadError
    from .contract.errors import RankError as RankError
    from .contract.errors import RemovedKeyError as RemovedKeyError
    from .contract.errors import SchemaVersionError as SchemaVersionError
    from .contract.errors import SinkError as SinkError
    from .contract.errors import UnknownKeyError as UnknownKeyError
    from .contract.family import Family as Family
    from .contract.family import FamilyOver as FamilyOver
    from .contract.identity import PipelineIdentity as PipelineIdentity
    from .contract.identity import pipeline_checksum as pipeline_checksum
    from .contract.metric import Metric as Metric
    from .contract.payload import Payload as Payload
    from .contract.pipeline import resolve_pipeline as resolve_pipeline
    from .contract.record import Record as Record
    from .registry import EmitReport as EmitReport
    from .registry import MetricsRegistry as MetricsRegistry

_HOME = {
    "CATALOGUE": "catalogue",
    "Catalogue": "contract.catalogue",
    "DeclarationError": "contract.errors",
    "EmitReport": "registry",
    "Family": "contract.family",
    "FamilyOver": "contract.family",
    "Metric": "contract.metric",
    "MetricsError": "contract.errors",
    "MetricsRegistry": "registry",
    "MissingExtraError": "contract.errors",
    "ObservationError": "contract.errors",
    "Payload": "contract.payload",
    "PayloadError": "contract.errors",
    "PipelineIdentity": "contract.identity",
    "RankError": "contract.errors",
    "Record": "contract.record",
    "RemovedKeyError": "contract.errors",
    "SchemaVersionError": "contract.errors",
    "SinkError": "contract.errors",
    "UnknownKeyError": "contract.errors",
    "pipeline_checksum": "contract.identity",
    "read": "audit.readers",
    "resolve_pipeline": "contract.pipeline",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
