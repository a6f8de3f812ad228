"""A fact of N rollouts is a column: a value a sample, which are known, and which cannot be right.

A count is a whole number and no bool; what is none is wrong, and never rounded. Columns of numbers
and lists are numpy; columns of tensors stay tensors, and nothing is read from them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MODE", "OTHER", "Column", "Facts", "column_of", "is_tensor", "kind_of", "list_column"]

FLAGS = frozenset({"truncated", "invalid_rollout", "closure_dropped"})
AMOUNTS = frozenset({"maskiou_sum", "desc_sim_sum"})
MODE, OTHER = "decode_mode", "other"
GREATEST = 2.0**53  # up to here a float64 counts by one


class Column(NamedTuple):
    """One fact of N samples, as arrays ``[N]`` of numpy or torch.

    Attributes:
        values: float64 (float32 where a device has no other); 0 where there is none.
        known: where a value was given that can be right.
        wrong: where something was given that is no value of the fact.
    """

    values: Any
    known: Any
    wrong: Any


class Facts(NamedTuple):
    """The facts of N samples.

    Attributes:
        xp: numpy or torch: what the columns are made of.
        size: N.
        columns: by fact; a fact that no sample gave is not there. Reasons stand under ``reason/``.
    """

    xp: Any
    size: int
    columns: dict[str, Column]

    @property
    def on_device(self) -> bool:
        """Whether the columns are tensors, so that to look at them could be a sync."""
        return self.xp is not np

    def known(self, *names: str) -> Any:
        """Where all of the facts are known."""
        mask = self.all_of(True)
        for name in names:
            mask = mask & self.columns[name].known if name in self.columns else self.all_of(False)
        return mask

    def all_of(self, value: bool) -> Any:
        """A mask that holds everywhere or nowhere."""
        if not self.on_device:
            return np.full(self.size, value)
        like = next(iter(self.columns.values())).known
        return self.xp.full_like(like, value)

    def value(self, name: str) -> Any:
        """The values of one fact, 0 where there are none."""
        return self.columns[name].values


def list_column(name: str, values: Sequence[Any]) -> Column | None:
    """A column of Python values; None where nobody knows the fact."""
    kinds = set(map(type, values))
    if kinds <= {type(None)}:
        return None
    if kinds == {int} and name != MODE and max(map(abs, values)) <= GREATEST:
        return judged(np, name, np.array(values, np.float64), np.full(len(values), True))
    numbers = [number(name, value) for value in values]
    given = np.array([value is not None for value in values])
    return judged(np, name, np.array(numbers, np.float64), given)


def number(name: str, value: Any) -> float:
    """``value`` as a float; NaN where it is none of the fact's."""
    if value is None:
        return 0.0
    if name == MODE:
        return float(value == "beam") if isinstance(value, str) else np.nan
    allowed = (float, np.floating) if name in AMOUNTS else (bool, np.bool_) if name in FLAGS else ()
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    try:
        return float(value) if is_whole or isinstance(value, allowed) else np.nan
    except OverflowError:
        return np.inf


def judged(xp: Any, name: str, values: Any, given: Any) -> Column:
    right = xp.isfinite(values)
    if name not in AMOUNTS:
        most = 1.0 if name in FLAGS or name == MODE else GREATEST
        right = right & (values >= 0) & (values <= most) & (xp.floor(values) == values)
    return Column(xp.where(given & right, values, 0.0), given & right, given & ~right)


def column_of(name: str, values: Any, given: Any, xp: Any, device: Any) -> Column:
    """A column of an array or a tensor ``[N]``; ``given`` is a mask, or None for all.

    A dtype that the fact cannot have makes every value wrong: counts are of an integer dtype.
    """
    kinds = "if" if name in AMOUNTS else "bi" if name in FLAGS or name == MODE else "i"
    fits = kind_of(values) in kinds
    values = moved(values, xp, device, as_mask=False)
    given = xp.ones_like(values) > 0 if given is None else moved(given, xp, device, as_mask=True)
    return judged(xp, name, values if fits else values + np.nan, given)


def moved(values: Any, xp: Any, device: Any, *, as_mask: bool) -> Any:
    """``values`` as a column of ``xp``; without a wait for the device."""
    if xp is np:
        return values if as_mask else values.astype(np.float64)
    from . import hosts

    tensor = values.detach() if is_tensor(values) else xp.from_numpy(np.ascontiguousarray(values))
    return tensor.to(device, xp.bool if as_mask else hosts.wide(device), non_blocking=True)


def kind_of(values: Any) -> str:
    """b, i or f for the dtype of an array or a tensor; empty for anything else."""
    if isinstance(values, np.ndarray):
        kind = values.dtype.kind.replace("u", "i")
        return kind if kind in "bif" else ""
    if not is_tensor(values):
        return ""
    if values.dtype.is_floating_point or values.dtype.is_complex:
        return "f"
    return "b" if str(values.dtype) == "torch.bool" else "i"


def is_tensor(values: object) -> TypeGuard[Tensor]:
    """Whether ``values`` is a tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)
