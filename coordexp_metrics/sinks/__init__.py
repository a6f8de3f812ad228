"""Sinks take records somewhere; naming one loads neither its dashboard nor any array library.

Each class is imported when it is first asked for, and imports its dashboard when it is constructed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Sink
    from .console import ConsoleSink
    from .discovery import sink_from
    from .jsonl import JsonlSink
    from .memory import MemorySink
    from .tensorboard import TensorBoardSink
    from .wandb import WandbSink

__all__ = [
    "ConsoleSink",
    "JsonlSink",
    "MemorySink",
    "Sink",
    "TensorBoardSink",
    "WandbSink",
    "sink_from",
]

_HOMES = {
    "ConsoleSink": "console",
    "JsonlSink": "jsonl",
    "MemorySink": "memory",
    "Sink": "base",
    "TensorBoardSink": "tensorboard",
    "WandbSink": "wandb",
    "sink_from": "discovery",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
