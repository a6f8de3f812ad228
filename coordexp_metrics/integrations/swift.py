"""The contract inside ms-swift: the Hugging Face mixin, and ``custom_metrics`` through the window.

    from swift.trainers import Seq2SeqTrainer

    trainer = with_metrics(Seq2SeqTrainer)(model=..., args=..., template=..., metrics=metrics)

ms-swift reduces what is pushed into ``custom_metrics`` with one collective a key. Keys that the
catalogue declares go to the window instead; what nobody declared stays with ms-swift.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..contract.kinds import Mean
from ..contract.metric import Mode
from .session import TrainerMetrics
from .transformers import MetricsMixin
from .transformers import with_metrics as hf_with_metrics
from .versions import Supported, require

__all__ = ["CustomMetrics", "SwiftMetricsMixin", "with_metrics"]

SUPPORTED = Supported("ms-swift", "4.0", "5", "swift")
FROM_LOGITS = frozenset({"token_acc"})
"""ms-swift computes it too; the reducer's is the one that is token-weighted over everything."""

_T = TypeVar("_T", bound=type)


def with_metrics(trainer: _T) -> _T:
    """The same ms-swift trainer class under the contract; it takes ``metrics=`` beside the rest.

    Raises:
        MissingExtraError: ms-swift is not installed.
        MetricsError: it is too old.
    """
    require(SUPPORTED)
    return hf_with_metrics(trainer, SwiftMetricsMixin)


class CustomMetrics(dict[str, Any]):
    """``custom_metrics`` of one mode: a declared key feeds the window, any other is ms-swift's.

    >>> metrics = TrainerMetrics(group="local")
    >>> metrics.open()
    >>> custom = CustomMetrics("train", metrics, list)
    >>> custom["token_acc"].update([1.0, 0.0, 1.0, 1.0])
    >>> custom["loss_coco"]
    []
    >>> list(custom), metrics.close("train", 1)
    (['loss_coco'], {'token_acc': 0.75})
    """

    def __init__(self, mode: Mode, metrics: TrainerMetrics, make: Callable[[], Any]) -> None:
        super().__init__()
        self._mode, self._metrics, self._make = mode, metrics, make

    def __missing__(self, key: str) -> Any:
        resolution = self._metrics.registry.catalogue.resolve(key)
        if resolution is None:
            self[key] = self._make()
            return self[key]
        taken = self._metrics.reducer is not None and resolution.metric.key in FROM_LOGITS
        return _Feed(resolution.metric, self._mode, None if taken else self._metrics)


class _Feed:
    """What ``custom_metrics[key]`` is for a declared key: ``update`` observes."""

    def __init__(self, metric: Any, mode: Mode, metrics: TrainerMetrics | None) -> None:
        self._metric, self._mode, self._metrics = metric, mode, metrics

    def update(self, values: Any) -> None:
        """Fold one number, or many; a mean takes each of them with weight 1."""
        if self._metrics is None:
            return
        with self._metrics.guard.diagnostic("observing", self._metric.key):
            import torch

            found = torch.as_tensor(values).detach().double()
            self._metrics.mode = self._mode
            if isinstance(self._metric, Mean):
                self._metrics.window.observe(self._metric, found.sum(), float(found.numel()))
            else:
                self._metrics.window.observe(self._metric, found.sum())


class SwiftMetricsMixin(MetricsMixin):
    """The Hugging Face mixin before an ms-swift trainer."""

    custom_metrics: Mapping[str, Any]

    def __init__(self, *args: Any, metrics: TrainerMetrics | None = None, **kwargs: Any) -> None:
        super().__init__(*args, metrics=metrics, **kwargs)
        modes: tuple[Mode, ...] = ("train", "eval")
        self.custom_metrics = {
            mode: CustomMetrics(
                mode, self.contract_metrics, self.custom_metrics[mode].default_factory
            )
            for mode in modes
        }
