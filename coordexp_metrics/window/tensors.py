"""The same laws on a device: states are float64 tensors, folded without a host sync.

Every function here has its twin in ``contract.algebra``; the tests hold them equal.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

from ..contract.algebra import Agreement, Extremum, Histogram, Op, Reduction
from ..contract.errors import ObservationError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["fold", "is_tensor", "lift", "lift_values", "to_host"]


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether ``value`` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def lift(
    key: str,
    reduction: Reduction,
    arguments: tuple[Any, ...],
    device: Any = None,
    *,
    keep_nonfinite: bool,
) -> tuple[Tensor, Tensor]:
    """One observation as a state, and how many observations were withheld: 0 or 1, on the device.

    Args:
        key: the metric, for errors.
        reduction: its law.
        arguments: numbers and 0-d tensors.
        device: where the state lives; that of the first tensor by default.
        keep_nonfinite: whether NaN stays, as it does for keys that are in the loss.

    Raises:
        ObservationError: a tensor with dimensions.
    """
    import torch

    if device is None:
        device = next(argument.device for argument in arguments if is_tensor(argument))
    numbers = torch.stack([_scalar(key, argument, device) for argument in arguments])
    finite = numbers.isfinite().all()
    if keep_nonfinite:
        finite = torch.ones_like(finite)
    state = _state(reduction, numbers)
    identity = _identity(reduction, device)
    return torch.where(finite, state, identity), (~finite).to(torch.float64)


def _state(reduction: Reduction, numbers: Tensor) -> Tensor:
    import torch

    if isinstance(reduction, Extremum):
        return numbers
    if isinstance(reduction, Agreement):
        return numbers.expand(2)
    return numbers if len(numbers) == 2 else torch.cat([numbers, torch.ones_like(numbers)])


def _identity(reduction: Reduction, device: Any) -> Tensor:
    import torch

    parts = [
        torch.full((1,), op.identity, dtype=torch.float64, device=device) for op in reduction.slots
    ]
    return torch.cat(parts)


def _scalar(key: str, argument: Any, device: Any) -> Tensor:
    import torch

    if not is_tensor(argument):
        return torch.full((), float(argument), dtype=torch.float64, device=device)
    if argument.dim():
        raise ObservationError(key, "statistic", argument, "must be a number or a 0-d tensor")
    return argument.detach().to(device, torch.float64, non_blocking=True)


def lift_values(reduction: Histogram, values: Tensor, weights: Any = None) -> tuple[Tensor, Tensor]:
    """A sample of any shape as counts, and how many of its values are not finite.

    ``weights`` is 1 where a value counts and 0 where it does not, so that rows are left out
    without a gather whose size depends on data.
    """
    import torch

    flat = values.detach().reshape(-1).to(torch.float64)
    counted = torch.ones_like(flat)
    if weights is not None:
        counted = weights.detach().reshape(-1).to(flat)
    finite = flat.isfinite()
    edges = torch.tensor(reduction.edges, dtype=torch.float64).to(flat.device, non_blocking=True)
    bins = torch.bucketize(torch.where(finite, flat, torch.zeros_like(flat)), edges, right=True)
    counts = torch.zeros(len(reduction.slots), dtype=torch.float64, device=flat.device)
    counts.scatter_add_(0, bins, counted * finite)
    return counts, (counted * ~finite).sum()


def fold(reduction: Reduction, a: Tensor, b: Tensor) -> Tensor:
    """The state of both observations."""
    import torch

    if isinstance(reduction, Agreement):
        return torch.stack([torch.minimum(a[0], b[0]), torch.maximum(a[1], b[1])])
    if isinstance(reduction, Extremum):
        return torch.minimum(a, b) if reduction.slots[0] is Op.MIN else torch.maximum(a, b)
    return a + b


def to_host(states: list[Tensor]) -> list[list[float]]:
    """All states as numbers, with one copy a device."""
    import torch

    by_device: dict[Any, list[int]] = {}
    for index, state in enumerate(states):
        by_device.setdefault(state.device, []).append(index)
    rows: list[list[float]] = [[] for _ in states]
    for indices in by_device.values():
        sizes = [states[index].numel() for index in indices]
        flat = torch.cat([states[index].reshape(-1) for index in indices]).tolist()
        for index, size in zip(indices, sizes, strict=True):
            rows[index], flat = flat[:size], flat[size:]
    return rows
