"""The same laws on a device: states are float64 tensors, folded without a host sync.

Every function here has its twin in ``contract.algebra``; the tests hold them equal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

from ..contract.algebra import Histogram, Op, Reduction
from ..contract.errors import ObservationError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Copy", "fold", "is_tensor", "kept", "lift", "lift_values", "place_of"]


def is_tensor(value: object) -> TypeGuard[Tensor]:
    """Whether ``value`` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def place_of(values: tuple[Any, ...]) -> Literal["numbers", "host", "device"]:
    """What it takes to read ``values``: nothing, host memory, or waiting for a device."""
    place: Literal["numbers", "host"] = "numbers"
    for value in values:
        if type(value) is not float and is_tensor(value):
            if not value.is_cpu:
                return "device"
            place = "host"
    return place


def kept(key: str, statistic: Tensor) -> Tensor:
    """A copy of a 0-d tensor of the host, float64, to be read with all others at once.

    Raises:
        ObservationError: a tensor with dimensions, or a complex one.
    """
    import torch

    _refuse_dimensions(key, statistic)
    return statistic.detach().to(torch.float64, copy=True)


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
        device: where the state lives; by default that of the first tensor off the host.
        keep_nonfinite: whether NaN stays, as it does for keys that are in the loss.

    Raises:
        ObservationError: a tensor with dimensions.
    """
    import torch

    if device is None:
        device = next(a.device for a in arguments if is_tensor(a) and not a.is_cpu)
    numbers = torch.stack([_scalar(key, argument, device) for argument in arguments])
    finite = numbers.isfinite().all()
    if keep_nonfinite:
        finite = torch.ones_like(finite)
    state = _state(reduction, numbers)
    identity = _identity(reduction, device)
    return torch.where(finite, state, identity), (~finite).to(torch.float64)


def _state(reduction: Any, numbers: Tensor) -> Tensor:
    import torch

    parts = reduction.lift(*numbers.unbind())
    return torch.stack([part if is_tensor(part) else numbers.new_full((), part) for part in parts])


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
    _refuse_dimensions(key, argument)
    return argument.detach().to(device, torch.float64, non_blocking=True)


def _refuse_dimensions(key: str, argument: Tensor) -> None:
    if argument.dim() or argument.is_complex():
        raise ObservationError(key, "statistic", argument, "must be a real number or a 0-d tensor")


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
    """The state of both observations: slot by slot, each under its own operation."""
    import torch

    if reduction.adds:
        return a + b
    operations: dict[Op, Callable[[Tensor, Tensor], Tensor]] = {
        Op.SUM: torch.add,
        Op.MIN: torch.minimum,
        Op.MAX: torch.maximum,
    }
    if len(set(reduction.slots)) == 1:
        return operations[reduction.slots[0]](a, b)
    rows = zip(reduction.slots, a.unbind(), b.unbind(), strict=True)
    return torch.stack([operations[op](x, y) for op, x, y in rows])


class Copy:
    """Tensors on their way to the host, with one copy a device that no one waits for yet."""

    def __init__(self, states: list[Tensor]) -> None:
        self._sizes = [state.numel() for state in states]
        self._places: dict[Any, list[int]] = {}
        for index, state in enumerate(states):
            self._places.setdefault(state.device, []).append(index)
        self._flat = [
            _to_host([states[index] for index in indices]) for indices in self._places.values()
        ]

    def rows(self) -> list[list[float]]:
        """All states as numbers, in their order."""
        rows: list[list[float]] = [[] for _ in self._sizes]
        for indices, (buffer, event) in zip(self._places.values(), self._flat, strict=True):
            if event is not None:
                event.synchronize()
            numbers = iter(buffer.tolist())
            for index in indices:
                rows[index] = list(islice(numbers, self._sizes[index]))
        return rows


def _to_host(states: list[Tensor]) -> tuple[Tensor, Any]:
    """One tensor on the host, and the event after which its numbers are there."""
    import torch

    flat = torch.cat([state.reshape(-1) for state in states])
    if flat.device.type != "cuda":
        return flat, None
    buffer = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    buffer.copy_(flat, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(flat.device))
    return buffer, event
