"""What reads the logits: kernels where a CUDA device and triton are, plain torch everywhere else.

Whether there is a device is asked of the logits, never of the driver: to ask a driver would start
it in the calling process, and a process that forks later could not use it. So before the first
batch ``auto`` only says what it would do.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..contract.errors import DeclarationError, MissingExtraError
from .positions import unusable

if TYPE_CHECKING:
    from .kernels.launch import Kernels
    from .kernels.program import Settings

__all__ = ["Backend", "Choice"]

NAMES = ("auto", "torch", "triton")
READ = (torch.float32, torch.bfloat16, torch.float16)


class Backend(NamedTuple):
    """What computes the row statistics, and why it was chosen."""

    name: str
    why: str


class Choice:
    """The backend of one reducer.

    Args:
        asked: ``"auto"``, ``"torch"`` or ``"triton"``.

    Attributes:
        backend: what read the last batch; before the first, what will.

    Raises:
        DeclarationError: there is no such backend, or this torch knows no CUDA.
        MissingExtraError: triton is not installed.

    >>> Choice("torch").backend
    Backend(name='torch', why='asked for')
    """

    def __init__(self, asked: str) -> None:
        if asked not in NAMES:
            raise DeclarationError(f"backend {asked!r} is unknown; there are {', '.join(NAMES)}")
        if asked == "triton":
            _refuse_without_triton()
        self._asked = asked
        self._failed = ""
        self._tried: set[torch.device] = set()
        self._kernels: Kernels | None = None
        self.backend = _expected(asked)

    def kernels(self, logits: Tensor, settings: Settings) -> Kernels | None:
        """The kernels that read these logits, or None where plain torch does.

        Raises:
            ObservationError: triton was asked for, and the logits are on no CUDA device.
        """
        self.backend = self._chosen(logits.device, logits.dtype)
        if type(logits) is not Tensor and self.backend.name != "torch":
            why = f"the logits are a {type(logits).__name__}, which holds no memory of its own"
            self.backend = Backend("torch", why)
        if self.backend.name == "torch":
            return None
        if self._kernels is None:
            # triton is optional, and its import takes as long as that of torch.
            self._kernels = import_module(f"{__package__}.kernels.launch").Kernels(settings)
        return self._kernels

    def is_on_trial(self, device: torch.device) -> bool:
        """Whether nobody asked for the kernels and they read on this device for the first time."""
        first = device not in self._tried
        self._tried.add(device)
        return first and self._asked == "auto"

    def gave_up(self, error: Exception) -> bool:
        """Whether to read with plain torch from now on, because a kernel could not be launched."""
        if self._asked != "auto" or isinstance(error, torch.cuda.OutOfMemoryError):
            return False
        self.give_up(f"a kernel could not be launched: {type(error).__name__}: {error}")
        return True

    def give_up(self, why: str) -> None:
        """Read with plain torch from now on, and say so once."""
        self._failed = why[:300]
        self.backend = Backend("torch", self._failed)
        warnings.warn(
            f"coordexp_metrics reads logits with plain torch, the same numbers but slower: "
            f"{self._failed}",
            RuntimeWarning,
            stacklevel=5,
        )

    def _chosen(self, place: torch.device, dtype: torch.dtype) -> Backend:
        device, asked = place.type, self._asked
        if asked == "torch" or self._failed:
            return self.backend
        if asked == "triton" and device != "cuda" and not (device == "cpu" and _interpreted()):
            why = "must be on a CUDA device for backend='triton'; 'auto' and 'torch' read any"
            raise unusable("logits", str(place), why)
        if dtype not in READ:
            return Backend("torch", f"the kernels read no {str(dtype)[6:]}")
        if asked == "triton":
            return Backend("triton", "asked for")
        if device != "cuda":
            return Backend("torch", f"the logits are on {device}, which the kernels do not read")
        return _on_cuda()


def failures() -> tuple[type[Exception], ...]:
    """What a compiler raises that is missing, broken, or cannot build a kernel for a device."""
    errors = import_module("triton.errors") if find_spec("triton.errors") else None
    own = (errors.TritonError,) if errors is not None else ()
    found = (RuntimeError, OSError, ImportError, subprocess.SubprocessError)
    return (*own, *found)


def _interpreted() -> bool:
    """Whether triton runs its kernels in numpy, on the host: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def _expected(asked: str) -> Backend:
    if asked != "auto":
        return Backend(asked, "asked for")
    found = _on_cuda()
    if found.name == "triton":
        return Backend("triton", "for logits on a CUDA device; plain torch reads any other")
    return found


@cache
def _on_cuda() -> Backend:
    """What reads logits on a CUDA device."""
    if torch.version.cuda is None:
        return Backend(
            "torch", "this torch is built without CUDA, and plain torch reads any device"
        )
    if find_spec("triton") is None:
        return Backend("torch", "triton is not installed: pip install 'coordexp-metrics[gpu]'")
    return Backend("triton", "the logits are on a CUDA device, and triton is installed")


def _refuse_without_triton() -> None:
    if find_spec("triton") is None:
        raise MissingExtraError("gpu", "LogitsReducer(backend='triton')")
    if torch.version.cuda is None and not torch.version.hip and not _interpreted():
        raise DeclarationError(
            "backend 'triton' needs a torch that is built for CUDA, which this one is not; "
            "install one, or use backend 'auto' or 'torch'"
        )
