"""A value is a finite Python number, converted once, exactly; anything else is named and refused.

Types are compared by identity, and no method of a foreign object is called: ``__float__`` may
block, fail or lie. A numpy or torch scalar is recognised without importing either package.
"""

from __future__ import annotations

import math
import sys
from typing import Any

__all__ = ["Rejected", "nonfinite_name", "plain_number"]


def nonfinite_name(number: float) -> str | None:
    """``nan``, ``inf`` or ``-inf``, or None for a finite number.

    >>> nonfinite_name(float("-inf")), nonfinite_name(2**900)
    ('-inf', None)
    """
    if math.isfinite(number):
        return None
    return "nan" if number != number else "inf" if number > 0 else "-inf"


class Rejected(Exception):  # noqa: N818
    """Why a value was refused; carries the code, and a sentence for people."""

    def __init__(self, code: str, why: str) -> None:
        self.code = code
        super().__init__(why)


def plain_number(value: object) -> float:
    """``value`` as an int or float of Python's own.

    Accepts int and float and their subclasses, numpy scalars, 0-d arrays, and 0-d torch tensors of
    any real dtype (bf16 is widened exactly). NaN and infinities pass: they are values.

    Raises:
        Rejected: bools, strings, containers, complex numbers, arrays with dimensions, ints beyond
            the range of a float.
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[return-value]
    if kind is bool:
        raise Rejected("value.bool", "is a bool; send 0 or 1, and declare it as a flag")
    if issubclass(kind, int):
        return _checked_int(int.__int__(value))  # type: ignore[arg-type]
    module = kind.__module__.partition(".")[0]
    if module == "numpy" and "numpy" in sys.modules:
        return _from_numpy(value)
    if issubclass(kind, float):
        return float.__float__(value)  # type: ignore[arg-type]
    if module == "torch" and "torch" in sys.modules:
        return _from_torch(value)
    raise Rejected("value.type", f"is a {kind.__qualname__}, not a number{_hint(value)}")


def _checked_int(value: int) -> int:
    try:
        float(value)
    except OverflowError:
        raise Rejected("value.overflow", "is an integer beyond the range of a float") from None
    return value


def _hint(value: object) -> str:
    return "; flatten it into keys such as a/b" if type(value) is dict else ""


def _from_numpy(value: Any) -> float:
    numpy = sys.modules["numpy"]
    array = numpy.asarray(value) if isinstance(value, numpy.generic) else value
    if type(array) is not numpy.ndarray:
        raise Rejected("value.type", f"is a {type(value).__qualname__}, not a number")
    if array.ndim:
        raise Rejected("value.shape", "is an array with dimensions; send one number")
    if array.dtype.kind == "b":
        raise Rejected("value.bool", "is a bool; send 0 or 1, and declare it as a flag")
    if array.dtype.kind not in "iuf":
        raise Rejected("value.type", f"is a numpy {array.dtype}, not a real number")
    if array.dtype.kind in "iu":
        return int(array)
    number = float(array)
    if numpy.isinf(number) and not numpy.isinf(array):
        raise Rejected("value.overflow", f"is a {array.dtype} beyond the range of a float")
    return number


def _from_torch(value: Any) -> float:
    torch = sys.modules["torch"]
    if type(value) not in {torch.Tensor, torch.nn.Parameter}:
        raise Rejected("value.type", f"is a {type(value).__qualname__}; send a plain tensor")
    if value.dim() or value.layout is not torch.strided or value.is_quantized or value.is_meta:
        raise Rejected("value.shape", "is no dense tensor of dimension 0; send one number")
    if value.dtype is torch.bool:
        raise Rejected("value.bool", "is a bool; send 0 or 1, and declare it as a flag")
    if value.is_complex():
        raise Rejected("value.type", "is complex, not a real number")
    number = value.detach().item()
    return number if isinstance(number, float) else _checked_int(int(number))
