"""A sink is named in a line of text; nothing is imported until it is asked for.

``jsonl:runs/a/metrics.jsonl``, ``tensorboard:runs/a/tb``, ``console``, ``wandb``, or the name that
an installed package gave its own sink in the group ``coordexp_metrics.sinks``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ..contract.errors import MetricsError, SinkError, safe_text
from ..contract.header import Header
from ..contract.record import Record
from .base import Sink

__all__ = ["ENTRY_POINTS", "known_sinks", "sink_from"]

ENTRY_POINTS = "coordexp_metrics.sinks"
TARGETS = {"jsonl": "PATH", "tensorboard": "DIR"}
PLAIN = ("console", "wandb")


def sink_from(spec: object) -> Sink:
    """The sink that ``spec`` stands for.

    Args:
        spec: ``"name"`` or ``"name:target"``; a sink, which is given back as it is; or any object
            with a method ``write(record)``.

    Raises:
        SinkError: no sink has that name, it needs a target, or it cannot be made; a
            MissingExtraError where only its package is missing.

    >>> sink_from("jsonl:runs/a/metrics.jsonl").name, sink_from("console").name
    ('JsonlSink', 'ConsoleSink')
    """
    if isinstance(spec, Sink):
        return spec
    if not isinstance(spec, str):
        return _adapted(spec, type(spec).__name__)
    name, _, target = spec.partition(":")
    if name in TARGETS or name in PLAIN:
        return _own(name, target)
    entry = _entry_point(name)
    try:
        make = entry.load()
        made = make(target) if target else make()
    except MetricsError:
        raise
    except Exception as error:
        why = safe_text(f"{type(error).__name__}: {error}", limit=300)[1:-1]
        raise SinkError(f"sink {name} ({_origin(entry)}) cannot be made: {why}", name) from error
    return made if isinstance(made, Sink) else _adapted(made, name)


def known_sinks() -> tuple[str, ...]:
    """What ``sink_from`` takes, in words; no entry point is imported.

    >>> known_sinks()[:4]
    ('console', 'jsonl:PATH', 'tensorboard:DIR', 'wandb')
    """
    own = [*(f"{name}:{target}" for name, target in TARGETS.items()), *PLAIN]
    installed = {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    return (*sorted(own), *sorted(installed.difference(TARGETS, PLAIN)))


def _own(name: str, target: str) -> Sink:
    from . import ConsoleSink, JsonlSink, TensorBoardSink, WandbSink

    if name in TARGETS and not target:
        raise SinkError(f"{name} needs a place: {name}:{TARGETS[name]}", name)
    if name in PLAIN and target:
        raise SinkError(f"{name} takes no target; got {safe_text(target)}", name)
    makers: dict[str, Callable[[], Sink]] = {
        "jsonl": lambda: JsonlSink(target),
        "tensorboard": lambda: TensorBoardSink(target),
        "console": ConsoleSink,
        "wandb": WandbSink,
    }
    return makers[name]()


def _entry_point(name: str) -> EntryPoint:
    found = {
        (entry.value, _origin(entry)): entry
        for entry in entry_points(group=ENTRY_POINTS)
        if entry.name == name
    }
    if not found:
        shown = safe_text(name)
        raise SinkError(f"no sink is named {shown}; there are {', '.join(known_sinks())}", shown)
    if len({value for value, _ in found}) > 1:
        both = " and ".join(sorted(origin for _, origin in found))
        raise SinkError(f"two sinks are named {name}: {both}; pass the sink itself", name)
    return next(iter(found.values()))


def _origin(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name}" if entry.dist is not None else ""
    return f"{entry.value}{package}"


def _adapted(sink: Any, name: str) -> Sink:
    if isinstance(sink, type) or not callable(getattr(sink, "write", None)):
        raise SinkError(f"{name} is no sink: pass an object with a method write(record)", name)
    return _Adapted(sink, name)


class _Adapted(Sink):
    """A sink that derives from nothing: what it lacks is left out."""

    def __init__(self, sink: Any, name: str) -> None:
        self._sink = sink
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def open(self, header: Header) -> None:
        self._if_there("open", header)

    def write(self, record: Record) -> None:
        self._sink.write(record)

    def flush(self) -> None:
        self._if_there("flush")

    def close(self) -> None:
        self._if_there("close")

    def _if_there(self, verb: str, *arguments: object) -> None:
        method = getattr(self._sink, verb, None)
        if method is not None:
            method(*arguments)
