"""A tensor on a device is copied at ``emit`` in the order of its stream, and read when it is there.

Nothing here waits for the device: a copy is queued behind the work that makes the value, and an
event behind the copy. What the caller does to the tensor afterwards comes later in that order.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["InFlight", "is_in_flight"]

PATIENCE = 60.0


def is_in_flight(value: object) -> bool:
    """Whether ``value`` is a number that only a wait for its device would tell."""
    if type(value).__module__.partition(".")[0] != "torch" or "torch" not in sys.modules:
        return False
    torch: Any = sys.modules["torch"]
    if type(value) not in {torch.Tensor, torch.nn.Parameter}:
        return False
    tensor: Any = value
    if tensor.device.type in {"cpu", "meta"} or tensor.dim() or tensor.is_complex():
        return False
    return tensor.layout is torch.strided and not tensor.is_quantized and tensor.dtype != torch.bool


class InFlight:
    """Copies of numbers on devices, under way to the host.

    Args:
        tensors: by key; each of dimension 0.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._since = time.monotonic()
        self._groups: list[tuple[list[str], Tensor, Any]] = []
        together: dict[tuple[Any, Any], list[str]] = {}
        for key, tensor in tensors.items():
            together.setdefault((tensor.device, tensor.dtype), []).append(key)
        for keys in together.values():
            self._groups.append((keys, *_copied([tensors[key] for key in keys])))

    @property
    def is_here(self) -> bool:
        """Whether every copy has arrived."""
        return all(event is None or event.query() for _, _, event in self._groups)

    @property
    def is_lost(self) -> bool:
        """Whether the wait has been so long that the device must be hung."""
        return time.monotonic() - self._since > PATIENCE

    def numbers(self) -> dict[str, float]:
        """What the tensors held when they were given."""
        return {
            key: number
            for keys, copies, _ in self._groups
            for key, number in zip(keys, copies.tolist(), strict=True)
        }


def _copied(tensors: list[Tensor]) -> tuple[Tensor, Any]:
    """One copy of all of them, and the event behind it where the device has events."""
    import torch

    stacked = torch.stack([tensor.detach() for tensor in tensors])
    if not stacked.is_cuda:
        return stacked, None
    host = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
    with torch.cuda.device(stacked.device):
        host.copy_(stacked, non_blocking=True)
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
    return host, event
