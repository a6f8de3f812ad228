"""A record is what sinks write and readers give back: one closed window under its mode's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .metric import Mode

__all__ = ["NONFINITE", "Record"]

PLAIN = re.compile(r"[^A-Za-z0-9.-]")
NONFINITE = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a run's log.

    Attributes:
        mode: ``train`` or ``eval``.
        global_step: the optimizer step.
        metrics: finite numbers under the names of the mode (``eval_rollout/f1``). Do not mutate.
        nonfinite: keys whose value is no finite number: ``nan``, ``inf`` or ``-inf``.
        seq: the position in the order of emission, from 0; None where the log has none.
        time: seconds since the epoch when it was emitted, None where the log has none.
        dataset: the name of the evaluation set.
        coverage: world size, missing ranks, steps and scope of the window.
        health: counters of the library itself, ``contract/*``, beside the metrics.
        extra: further sections of the payload, kept as they came.
        skipped: keys of a foreign log whose values are no numbers, as text.
        origin: file and line that it was read from.
        monotonic: seconds on a clock that never jumps, when it was emitted.
    """

    mode: Mode
    global_step: int
    metrics: Mapping[str, float]
    nonfinite: Mapping[str, str] = field(default_factory=dict)
    seq: int | None = None
    time: float | None = None
    dataset: str | None = None
    coverage: Mapping[str, Any] | None = None
    health: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    origin: tuple[str, int] | None = None
    monotonic: float | None = None

    def spelled(self, key: str) -> str:
        """``key`` as a dashboard draws it: a curve of its own for each evaluation set.

        >>> Record("eval", 7, {}, dataset="coco").spelled("eval_rollout/f1")
        'eval_coco_rollout/f1'
        """
        if self.dataset is None or not key.startswith("eval_"):
            return key
        return f"eval_{PLAIN.sub('_', self.dataset)}_{key.removeprefix('eval_')}"

    def values(self) -> dict[str, float]:
        """All numbers, the non-finite ones as floats, in one dict of its own.

        >>> Record("train", 7, {"loss": 1.0}, {"grad_norm": "inf"}).values()
        {'loss': 1.0, 'grad_norm': inf}
        """
        return {**self.metrics, **{key: NONFINITE[text] for key, text in self.nonfinite.items()}}
