"""A loss that knows a row's log-sum-exp and its coordinate logits knows the coordinate metrics.

With L = log Σ_i exp x_i over the vocabulary and l = log Σ_k exp c_k over the bins:

    −log p_y = L − x_y,    gate = −log mass = L − l,    mass = exp(l − L)

What needs the other logits themselves is absent: accuracies, entropies and flips.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import hosts
from .chunks import Read
from .positions import Misfits, Positions, aligned, integers_on, refuse_labels, unusable, with_types
from .rowstats import Request, RowStatistics, bins_at_targets

__all__ = ["read_log_sum_exp"]


def read_log_sum_exp(
    lse: Tensor,
    coord_logits: Tensor,
    labels: Tensor,
    target_logits: Tensor | None,
    lse_at_temperature: Tensor | None,
    token_types: Any,
    request: Request,
) -> Read:
    """The rows of ``LogitsReducer.from_log_sum_exp``."""
    heated = lse if request.temperature == 1 else lse_at_temperature
    _refuse(lse, coord_logits, labels, len(request.vocabulary))
    _refuse_column("target_logits", target_logits, lse.shape)
    _refuse_column("lse_at_temperature", heated, lse.shape)
    target = labels.detach().to(lse.device, torch.int64, non_blocking=True)
    positions, out_of_range = aligned(target, None, request.vocabulary)
    types = integers_on(lse.device, token_types, labels.shape)
    positions, dropped = with_types(positions, types, given=token_types is not None)
    heated, targets = _wide(heated), _wide(target_logits)
    statistics = _statistics(_wide(lse), heated, _wide(coord_logits), targets, positions, request)
    return Read(positions, statistics, Misfits(out_of_range, dropped))


def _statistics(
    lse: Tensor,
    heated: Tensor | None,
    coords: Tensor,
    targets: Tensor | None,
    positions: Positions,
    request: Request,
) -> RowStatistics:
    """In float64, whatever the loss computed in: nothing is lost here that was not lost there."""
    at_bin = coords.gather(1, positions.bin.clamp(min=0)[:, None]).squeeze(1)
    top = coords.amax(1, keepdim=True)
    top = torch.where(top.isfinite(), top, 0.0)
    scaled = (coords - top) / request.temperature
    powers = scaled.exp()
    inside = powers.sum(1)
    finite = lse.isfinite() & (inside < torch.inf) & (at_bin.isfinite() | ~positions.is_coord)
    gate = None
    if heated is not None:
        finite &= heated.isfinite()
        gate = heated - (top.squeeze(1) / request.temperature + inside.log())
    if targets is not None:
        finite &= targets.isfinite() | positions.is_coord
    return RowStatistics(
        finite=finite,
        top1=None,
        top5=None,
        says_coord=None,
        ce=None if targets is None else lse - targets,
        entropy=None,
        mass=None if gate is None else torch.exp(-gate),
        gate=gate,
        bins=bins_at_targets(scaled, powers, positions, request.soft_target),
    )


def _wide(column: Tensor | None) -> Any:
    return None if column is None else column.detach().to(hosts.wide(column.device))


def _refuse(lse: Any, coord_logits: Any, labels: Any, bins: int) -> None:
    if getattr(lse, "ndim", 0) != 1:
        raise unusable("lse", _shown(lse), "must be a tensor [n], its rows those of the labels")
    _refuse_column("lse", lse, lse.shape)
    _refuse_column("coord_logits", coord_logits, torch.Size((len(lse), bins)))
    if coord_logits is None:
        raise unusable("coord_logits", None, f"must be a tensor [n, {bins}], by bin")
    refuse_labels(labels, lse.shape)


def _refuse_column(name: str, column: Any, shape: torch.Size) -> None:
    if column is None:
        return
    if not isinstance(column, Tensor) or column.shape != shape:
        raise unusable(name, _shown(column), f"must be a tensor of the shape {tuple(shape)}")
    if not column.dtype.is_floating_point:
        raise unusable(name, column, "must be floating point")


def _shown(value: Any) -> object:
    return tuple(value.shape) if isinstance(value, Tensor) else value
