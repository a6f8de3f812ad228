"""Every key goes to the user's own W&B run under an explicit definition, against ``global_step``.

The step is a metric: ``step=`` would discard what another logger or a resumed run sends. A NaN is
in the curve, and in no summary: see ``_row``.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from typing import Any

from ..contract.catalogue import Catalogue
from ..contract.errors import MissingExtraError, SinkError, safe_text
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink

__all__ = ["WandbSink"]

STEP = "global_step"
LAST = "last"
NONE = "none"
BEST = {"higher": "max,last", "lower": "min,last"}
# As W&B itself writes what JSON has no number for; its charts read the words as numbers.
WORDS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
ASIDE = "carried/"


class WandbSink(Sink):
    """Logs to a W&B run that the user began; it neither begins nor finishes one.

    The summary of a key holds its last finite value and, where the catalogue says which direction
    is better, its best: ``run.summary["rollout/f1"]["max"]``.

    Args:
        run: the run; None for ``wandb.run``, which is looked up where the sink is opened: ranks
            that open no sink load no wandb.

    Raises:
        MissingExtraError: wandb is not installed.

        import wandb
        run = wandb.init(project="detector")
        registry = MetricsRegistry(sinks=[WandbSink(run)])
    """

    def __init__(self, run: Any = None) -> None:
        if find_spec("wandb") is None:
            raise MissingExtraError("wandb", type(self).__name__)
        self._given = run
        self._run: Any = None
        self._refusals: type[Exception] = SinkError
        self._summaries: dict[str, str] = {}
        self._catalogue: Catalogue | None = None

    def open(self, header: Header) -> None:
        """Define the step and note in the run's config which definitions its numbers follow.

        Raises:
            SinkError: there is no run, or it takes nothing any more.
        """
        import wandb

        self._refusals = wandb.Error
        self._run = wandb.run if self._given is None else self._given
        if self._run is None:
            raise SinkError(
                f"{self.name} has no run: call wandb.init(...) first, or pass the run", self.name
            )
        self._catalogue = header.catalogue
        try:
            self._run.define_metric(STEP, hidden=True)
            self._run.config.update({"coordexp_metrics": _identity(header)}, allow_val_change=True)
        except self._refusals as error:
            raise self._unusable(error) from error

    def write(self, record: Record) -> None:
        """Log one row.

        Raises:
            SinkError: the run has finished, or is a disabled one, which keeps nothing.
        """
        if self._run.disabled:
            raise SinkError(
                f"{self.name} has a run that is disabled and keeps nothing; "
                f"leave the sink out, or set WANDB_MODE=offline",
                self.name,
            )
        try:
            self._run.log(self._row(record), commit=True)
        except self._refusals as error:
            raise self._unusable(error) from error

    def _row(self, record: Record) -> dict[str, float | str]:
        """The row, whose keys are defined before it.

        One NaN would stand in a maximum, minimum or mean for the rest of the run, so it is logged
        in the words that W&B has for it, which no summary counts. A word would still become the
        last value, and a best one of 0 where nothing came before, so a key has no summary until its
        next finite value.
        """
        row: dict[str, float | str] = {}
        for key, number in (*record.metrics.items(), *record.health.items()):
            row[self._define(record.spelled(key), key, finite=True)] = number
        for key, text in record.nonfinite.items():
            row[self._define(record.spelled(key), key, finite=False)] = WORDS[text]
        row[STEP] = record.global_step
        return row

    def _define(self, curve: str, key: str, *, finite: bool) -> str:
        """The name under which the curve of ``key`` is logged, once that is defined."""
        summary = self._summary_of(key) if finite else NONE
        name = _spelled(curve)
        if self._summaries.get(name) != summary:
            self._run.define_metric(
                name.replace(".", "\\."),  # an unescaped dot reads as a path, and loses the summary
                step_metric=STEP,
                summary=summary,
            )
            self._summaries[name] = summary
        return name

    def _summary_of(self, key: str) -> str:
        found = self._catalogue.resolve(key) if self._catalogue is not None else None
        better = found.metric.better if found is not None else None
        return BEST[better] if better is not None else LAST

    def _unusable(self, error: Exception) -> SinkError:
        why = safe_text(str(error), limit=200)[1:-1]
        return SinkError(
            f"{self.name} cannot use its run: {why}; "
            "finish the run after the registry is closed, or make a new sink for a new run",
            self.name,
        )


def _spelled(key: str) -> str:
    """``key``, or where W&B would drop it or take it for one of its own, that below ``carried/``.

    >>> _spelled("loss"), _spelled("_timestamp"), _spelled("")
    ('loss', 'carried/_timestamp', 'carried/')
    """
    return f"{ASIDE}{key}" if not key or key.startswith("_") or key == STEP else key


def _identity(header: Header) -> dict[str, Any]:
    """What the config says: few values, because each becomes a column of the table of runs."""
    data = header.to_data()
    definitions = json.dumps(data["definitions"], sort_keys=True, separators=(",", ":"))
    return {
        "format": data["format"],
        "package": data["package"],
        "catalogue": data["catalogue"],
        "definitions": hashlib.sha256(definitions.encode()).hexdigest()[:16],
        "pipeline": data["pipeline"]["checksum"] if data["pipeline"] else None,
        "descriptions": _descriptions(header.catalogue),
    }


def _descriptions(catalogue: Catalogue) -> str:
    """A line for each key, in one text, which is one column."""
    shown = (metric for metric in catalogue.values() if not metric.internal)
    return "\n".join(f"{metric.key}: {metric.description} [{metric.unit}]" for metric in shown)
