"""What comes as a tensor, an array or a list goes back as one; in between it is numpy."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..contract.errors import ObservationError

__all__ = ["Integers", "as_integers", "is_tensor", "like"]

Integers: TypeAlias = NDArray[np.int64]


def is_tensor(values: object) -> bool:
    """Whether this is a torch tensor; never imports torch to find out.

    >>> is_tensor([1, 2])
    False
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def as_integers(values: Any, name: str) -> Integers:
    """Labels or types as an int64 array on the host.

    Raises:
        ObservationError: they are no whole numbers, or ragged.

    >>> as_integers([1, -100], "labels")
    array([   1, -100])
    """
    try:
        array = np.asarray(values.detach().cpu() if is_tensor(values) else values)
    except (TypeError, ValueError, RuntimeError):
        raise ObservationError("token_types", name, values, "must be integers") from None
    if array.dtype.kind not in "iu" and array.size:
        raise ObservationError("token_types", name, values, "must be integers")
    return array.astype(np.int64, copy=False)


def like(values: Any, array: Integers) -> Any:
    """``array`` as the same kind of thing as ``values``, on its device.

    >>> like([7, 8], np.array([1, 3]))
    [1, 3]
    """
    if is_tensor(values):
        return sys.modules["torch"].from_numpy(array).to(values.device)
    return array if isinstance(values, np.ndarray) else array.tolist()
