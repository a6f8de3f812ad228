"""The contract as a tracker of Accelerate.

accelerator = Accelerator(log_with=ContractTracker(registry))
accelerator.init_trackers("run")
accelerator.log({"loss": loss}, step=step)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelerate.tracking import GeneralTracker

from .foreign_names import emit_by_place
from .versions import Supported, require

if TYPE_CHECKING:
    from ..registry import MetricsRegistry

__all__ = ["ContractTracker"]

SUPPORTED = Supported("accelerate", "0.30", "2", "hf")


class ContractTracker(GeneralTracker):  # type: ignore[misc]
    """Emits what ``accelerator.log`` is given; Accelerate calls it on the main process alone.

    Args:
        registry: where payloads go. It is yours to close.

    >>> from coordexp_metrics import MetricsRegistry
    >>> from coordexp_metrics.sinks import MemorySink
    >>> tracker = ContractTracker(MetricsRegistry([sink := MemorySink()]))
    >>> tracker.log({"train_loss": 1.5}, step=7)
    >>> sink.records[0].global_step, sink.records[0].metrics
    (7, {'loss': 1.5})
    """

    name = "coordexp_metrics"
    requires_logging_directory = False

    def __init__(self, registry: MetricsRegistry) -> None:
        require(SUPPORTED)
        super().__init__()
        self.registry = registry
        self._step = 0

    @property
    def tracker(self) -> MetricsRegistry:
        return self.registry

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """The configuration belongs to the header of the registry, which is written already."""

    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Emit one payload for each mode and evaluation set; without a step, at the last one."""
        self._step = self._step if step is None else int(step)
        emit_by_place(self.registry, values, self._step)

    def finish(self) -> None:
        self.registry.flush()
