"""The caller's side of ``emit``: exact types, a snapshot, a number, the spool, a hand-over.

Nothing here locks, waits, logs or calls a sink: a deque, a counter and mapped memory are all that
threads, signal handlers and finalisers share. Whatever depends on keys and types alone is a
``Shape``, made once.
"""

from __future__ import annotations

import itertools
import json
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from .contract.check import Plan
from .contract.keys import MAX_KEY_LENGTH
from .contract.metric import Mode
from .contract.payload import MAX_KEYS, MAX_STEP, SCHEMA_VERSION, Payload
from .emission import EmitReport, Namer, all_finite, are_plain
from .sinks.encode import RESERVED, plain
from .sinks.spool import Spool
from .sinks.spool_frames import ROOM, Kind, packer

__all__ = ["NOWHERE", "HandOver", "Shape", "Stamp"]

MAX_SHAPES = 256
MAX_LAYOUTS = 16
PREFIX = 32
REQUIRED = 4  # sections: schema_version, mode, global_step, metrics
NOWHERE: Sequence[int] = (-1,)  # the place of a record that this rank checks and does not write


Layout = tuple[Callable[..., bytes], int] | None


class Stamp(NamedTuple):
    """When and in which order a record came, and its place in the spool; None if it had to have one
    and has none."""

    seq: int
    time: float
    monotonic: float
    slots: Sequence[int] | None


class Shape:
    """What the keys of a payload decide: its plan and the report that its caller gets.

    Attributes:
        plan: names, bounds and laws.
        keys: in their order.
        mode: of the payloads that have it.
        report: what ``emit`` returns for each.
        current: the types that the last payload had, and how to pack them.
        size: of the dict that the last payload had. A dict with any key that is no exact str keeps
            a hash beside each key, so that of equally many keys it is never of this size.
    """

    __slots__ = ("_layouts", "current", "keys", "mode", "plan", "report", "size")

    def __init__(self, plan: Plan, mode: Mode) -> None:
        names = plan.names
        self.plan = plan
        self.keys = names.keys
        self.mode: Mode = mode
        accepted = len(names.keys) - len(names.dropped)
        dropped = MappingProxyType(names.dropped)
        self.report = EmitReport(accepted, dropped, tuple(names.violations))
        self.current: tuple[tuple[type, ...] | None, Layout] = (None, None)
        self._layouts: dict[tuple[type, ...], Layout] = {}
        self.size = -1

    def fits(self, row: Mapping[Any, Any]) -> bool:
        """Whether the keys of ``row``, equal to those of the plan, are exact strings as well."""
        exact = are_exact(row)
        if exact:
            self.size = sys.getsizeof(row, -1)
        return exact

    def layout(self, types: tuple[type, ...], make: Callable[[Shape, str], Layout]) -> Layout:
        """How to pack numbers of these types."""
        if types not in self._layouts:
            if len(self._layouts) >= MAX_LAYOUTS:
                self._layouts.clear()
            codes = "".join("q" if kind is int else "d" for kind in types)
            self._layouts[types] = make(self, codes)
        layout = self._layouts[types]
        self.current = types, layout
        return layout


class HandOver:
    """Takes payloads to the inbox of the registry's own thread.

    Attributes:
        spool: where records are kept until the journal has them.
        is_spooled: whether there is a journal, so that every record belongs into a spool.
        writes: of a rank that is not the main one: whether it writes a record of such a coverage.
    """

    def __init__(self, namer: Namer, inbox: deque[Any]) -> None:
        self.spool: Spool | None = None
        self.is_spooled = False
        self.writes: Callable[[object], bool] | None = None
        self._namer = namer
        self._inbox = inbox
        self._seq = itertools.count()
        self._shapes: dict[tuple[str, tuple[object, ...]], Shape] = {}
        self._recent: Shape | None = None

    def usual(self, payload: Mapping[str, Any] | Payload) -> EmitReport | None:
        """Hand over a payload of plain finite numbers under known keys; None for any other."""
        opened = _opened(payload)
        if opened is None:
            return None
        mode, step, metrics, tail = opened
        row = metrics.copy()
        keys, values = tuple(row), list(row.values())
        types = tuple(map(type, values))
        shape = self._recent
        if shape is None or shape.keys != keys or shape.mode != mode:
            shape = self._recent = self._shapes.get((mode, keys)) or self._shape(mode, keys)
        if shape is None or (sys.getsizeof(row, 0) != shape.size and not shape.fits(row)):
            return None
        known, layout = shape.current
        if types != known:
            if not are_plain(types):
                return None
            layout = shape.layout(types, self._layout)
        if not all_finite(values):
            return None
        seq, now, monotonic = next(self._seq), time.time(), time.monotonic()
        slots: Sequence[int] | None = ()
        if self.writes is not None and not self.writes(json.loads(tail or b"{}").get("coverage")):
            slots = NOWHERE
        elif self.is_spooled:
            slots = self._packed(layout, seq, now, monotonic, step, tail, values)
            if slots is None:
                slots = self._as_row(shape, seq, now, monotonic, step, tail, values)
        self._inbox.append((shape, values, step, tail, seq, now, monotonic, slots))
        return shape.report

    def _shape(self, mode: str, keys: tuple[object, ...]) -> Shape | None:
        if mode not in {"train", "eval"} or not are_exact(keys):
            return None
        checked: Any = mode
        plan = self._namer.plan(keys, checked)
        if plan.names.doubles or "key.grammar" in plan.names.dropped.values():
            return None
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        self._shapes[mode, keys] = shape = Shape(plan, checked)
        return shape

    def _layout(self, shape: Shape, codes: str) -> Layout:
        """A plan in the spool; None where there is none, or no room for another one."""
        if self.spool is None:
            return None
        plan = {
            "mode": shape.mode,
            "format": codes,
            "wire": sorted(shape.plan.names.wire.items()),
            "aliases": self._namer.aliases(shape.plan),
            "doubles": [],
        }
        number = self.spool.plan(plan)
        return None if number is None else (packer(codes).pack, number)

    def _packed(
        self,
        layout: Layout,
        seq: int,
        now: float,
        monotonic: float,
        step: int,
        tail: bytes,
        values: list[float],
    ) -> Sequence[int] | None:
        if layout is None or self.spool is None:
            return None
        pack, plan = layout
        length = PREFIX + 8 * len(values) + len(tail)
        try:
            body = pack(
                b"cx",
                Kind.PACKED,
                1,
                0,
                length,
                seq,
                now,
                monotonic,
                step,
                plan,
                len(tail),
                *values,
            )
        except struct.error:  # an int of more than 64 bits
            return None
        return self.spool.put_packed(body + tail if tail else body)

    def _as_row(
        self,
        shape: Shape,
        seq: int,
        now: float,
        monotonic: float,
        step: int,
        tail: bytes,
        values: list[float],
    ) -> Sequence[int] | None:
        row = {
            "mode": shape.mode,
            "global_step": step,
            "seq": seq,
            "time": now,
            "monotonic": monotonic,
            "metrics": self._namer.metrics(shape.plan, values),
        }
        return self._spooled(seq, row | json.loads(tail or b"{}"))

    def stamped(self, row: Mapping[str, Any], coverage: object = None) -> Stamp:
        """Number ``row`` and keep it in the spool; it is a record as a log spells it."""
        seq, now, monotonic = next(self._seq), time.time(), time.monotonic()
        if self.writes is not None and not self.writes(coverage):
            return Stamp(seq, now, monotonic, NOWHERE)
        slots: Sequence[int] | None = ()
        if self.is_spooled:
            slots = self._spooled(seq, {**row, "seq": seq, "time": now, "monotonic": monotonic})
        return Stamp(seq, now, monotonic, slots)

    def _spooled(self, seq: int, row: Mapping[str, Any]) -> Sequence[int] | None:
        if self.spool is None:
            return None
        data = json.dumps({"schema_version": SCHEMA_VERSION, **row}, allow_nan=False)
        return self.spool.put(Kind.ROW, seq, data.encode())


def are_exact(keys: Iterable[object]) -> bool:
    """Whether all keys are strings and of no other type."""
    return {str}.issuperset(map(type, keys))


def sections_of(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Further sections as a log spells them: beside the known ones, or under ``extra``."""
    clashing = {name: data for name, data in extra.items() if name in RESERVED}
    beside = {name: data for name, data in extra.items() if name not in RESERVED}
    return plain(beside | ({"extra": clashing} if clashing else {}))  # type: ignore[no-any-return]


def _opened(
    payload: Mapping[str, Any] | Payload,
) -> tuple[str, int, dict[Any, Any], bytes] | None:
    """Mode, step, metrics and the JSON of the rest; None where anything is out of the ordinary."""
    if type(payload) is dict:
        try:
            version, mode = payload["schema_version"], payload["mode"]
            step, metrics = payload["global_step"], payload["metrics"]
        except KeyError:
            return None
        tail = b"" if len(payload) == REQUIRED else _tail_of(payload)
    elif type(payload) is Payload and not payload.nonfinite and not payload.extra:
        version, mode, step = payload.schema_version, payload.mode, payload.global_step
        metrics, tail = payload.metrics, _tail(payload.coverage, payload.dataset)
    else:
        return None
    types = type(version), type(mode), type(step), type(metrics), type(tail)
    if types != (int, str, int, dict, bytes) or version != SCHEMA_VERSION:
        return None
    if len(metrics) > MAX_KEYS or not 0 <= step <= MAX_STEP:
        return None
    return mode, step, metrics, tail or b""


def _tail_of(payload: Mapping[str, Any]) -> bytes | None:
    """The tail of a payload with more than the required sections; None where one is unknown."""
    known = REQUIRED + ("coverage" in payload) + ("dataset" in payload)
    if len(payload) != known:
        return None
    return _tail(payload.get("coverage"), payload.get("dataset"))


def _tail(coverage: object, dataset: object) -> bytes | None:
    """Coverage and data set as JSON, a snapshot of them; None where they need a closer look."""
    if coverage is None and dataset is None:
        return b""
    if type(coverage) not in {dict, type(None)} or type(dataset) not in {str, type(None)}:
        return None
    if type(dataset) is str and len(dataset) > MAX_KEY_LENGTH:
        return None
    given = {"coverage": coverage, "dataset": dataset}
    try:
        sections = {name: data for name, data in given.items() if data is not None}
        tail = _dumps(sections)
    except (TypeError, ValueError, RecursionError):
        return None
    # A NaN would be null: the slow way spells it.
    return None if b"null" in tail or len(tail) > ROOM else tail


def _encoder() -> Callable[[Any], bytes]:
    try:
        from orjson import dumps
    except ImportError:
        return lambda data: json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
    return dumps


_dumps = _encoder()
