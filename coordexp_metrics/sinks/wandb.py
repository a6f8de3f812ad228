"""Every key goes to the user's own W&B run under an explicit definition, against ``global_step``.

The step is a metric: ``step=`` would discard what another logger or a resumed run sends. A NaN is
sent as NaN, and never as somebody's best value: see ``_summary_of``.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.errors import MissingExtraError, SinkError
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink

__all__ = ["WandbSink"]

STEP = "global_step"
LAST = "last"
BEST = {"higher": "max,last", "lower": "min,last"}


class WandbSink(Sink):
    """Logs to a W&B run that the user began; it neither begins nor finishes one.

    The summary of a key holds its last value and, where the catalogue says which direction is
    better, its best: ``run.summary["rollout/f1"]["max"]``.

    Args:
        run: the run; None for ``wandb.run``.

    Raises:
        MissingExtraError: wandb is not installed.
        SinkError: there is no run.

        import wandb
        run = wandb.init(project="detector")
        registry = MetricsRegistry(sinks=[WandbSink(run)])
    """

    def __init__(self, run: Any = None) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtraError("wandb", type(self).__name__) from error
        self._run: Any = wandb.run if run is None else run
        self._refusals = wandb.Error
        if self._run is None:
            raise SinkError(
                f"{self.name} has no run: call wandb.init(...) first, or pass the run", self.name
            )
        self._summaries: dict[str, str] = {}
        self._catalogue: Catalogue | None = None

    def open(self, header: Header) -> None:
        """Define the step and note in the run's config which definitions its numbers follow.

        Raises:
            SinkError: the run takes nothing any more.
        """
        self._catalogue = header.catalogue
        self._summaries.clear()
        try:
            self._run.define_metric(STEP, hidden=True)
            self._run.config.update({"coordexp_metrics": _identity(header)}, allow_val_change=True)
        except self._refusals as error:
            raise SinkError(f"{self.name} cannot use its run: {error}", self.name) from error

    def write(self, record: Record) -> None:
        numbers = {**record.values(), **record.health}
        for key, number in numbers.items():
            self._define(key, number)
        self._run.log({**numbers, STEP: record.global_step})

    def _define(self, key: str, number: float) -> None:
        known = self._summaries.get(key)
        if known == LAST or (known is not None and math.isfinite(number)):
            return
        summary = self._summary_of(key) if math.isfinite(number) else LAST
        self._run.define_metric(
            key.replace(".", "\\."),  # an unescaped dot reads as a path, and loses the summary
            step_metric=STEP,
            summary=summary,
            overwrite=known is not None,
        )
        self._summaries[key] = summary

    def _summary_of(self, key: str) -> str:
        """The summary of ``key``, as long as its values are finite.

        One NaN or infinity would stand in a maximum or minimum for the rest of the run, so a key
        that shows one is defined anew, with its last value alone.
        """
        found = self._catalogue.resolve(key) if self._catalogue is not None else None
        better = found.metric.better if found is not None else None
        return BEST[better] if better is not None else LAST


def _identity(header: Header) -> dict[str, Any]:
    data = header.to_data()
    definitions = json.dumps(data["definitions"], sort_keys=True, separators=(",", ":"))
    return {
        "format": data["format"],
        "package": data["package"],
        "catalogue": data["catalogue"],
        "definitions": hashlib.sha256(definitions.encode()).hexdigest()[:16],
        "pipeline": data["pipeline"]["checksum"] if data["pipeline"] else None,
    }
