"""A header opens every log: which definitions its numbers were made under, and by which run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .catalogue import Catalogue
from .identity import PipelineIdentity

__all__ = ["FORMAT_VERSION", "Header"]

FORMAT_VERSION = 1


def package_version() -> str:
    """The installed version of this package."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("coordexp-metrics")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class Header:
    """What a sink is told once, before the first record.

    Attributes:
        catalogue: the declarations, for display names and descriptions.
        run: run context, such as config, run_name and seed; logged, never hashed.
        pipeline: what the run optimises, or None.
        parameters: numbers that formulas need from the configuration.
        created: seconds since the epoch.
        run_id: what tells this registry from every other; the same in all of its files.
        rank: the rank that writes.
        spool: the file that holds what the journal has not taken yet, where there is one.
    """

    catalogue: Catalogue
    run: Mapping[str, Any] = field(default_factory=dict)
    pipeline: PipelineIdentity | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    created: float = field(default_factory=time.time)
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    rank: int = 0
    spool: str | None = None

    def to_data(self) -> dict[str, Any]:
        """The header as JSON data."""
        pipeline = None
        if self.pipeline is not None:
            pipeline = {"checksum": self.pipeline.checksum, **self.pipeline.to_data()}
        return {
            "format": FORMAT_VERSION,
            "package": package_version(),
            "catalogue": self.catalogue.digest,
            "definitions": {key: metric.digest for key, metric in self.catalogue.items()},
            "run": dict(self.run),
            "pipeline": pipeline,
            "parameters": dict(self.parameters),
            "created": self.created,
            "run_id": self.run_id,
            "rank": self.rank,
            "spool": self.spool,
        }
