"""Sums of many rows are float64; float32 sticks at 2**24 and is 0.12 % wrong at 1e9 tokens."""

from __future__ import annotations

import torch

__all__ = ["wide"]


def wide(device: torch.device) -> torch.dtype:
    """The widest floating-point type of a device: float64, or float32 where there is no other.

    >>> wide(torch.device("cpu"))
    torch.float64
    """
    return torch.float32 if device.type == "mps" else torch.float64
