"""A spool is slots of one size; each says what it holds and proves it with a CRC.

A frame takes one slot or several, in any places; it is whole or absent. All zeroes in the first
eight bytes of a slot say that it is free. So that a reader needs no catalogue, a plan frame says
once what the packed numbers of later frames are called; every number keeps every bit.

    slot    crc32 u32 | "cx" | kind u8 | 0 | parts, part, length u16 | 0 0 | ident u64 | data
    HEADER  JSON: run, rank, journal, pid, boot, created          ident 0
    PLAN    JSON: plan, mode, format, wire, aliases, doubles      ident = number of the plan
    PACKED  time f64 | monotonic f64 | step i64 | plan u32 | tail u32 | numbers | JSON of the tail
    ROW     JSON: a record as a log spells it                     ident = its sequence number
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Frame", "Kind", "Opened", "frames_of", "opened", "packer", "slots_of"]

SLOT = 2048
FREE = bytes(8)
MAGIC = b"cx"
_CRC = struct.Struct("<I")
_HEAD = struct.Struct("<2sBxHHHxxQ")
_PREFIX = struct.Struct("<ddqII")
HEAD = _CRC.size + _HEAD.size
ROOM = SLOT - HEAD
MAX_PARTS = 2**16 - 1
CODES = frozenset("dq")


class Kind:
    """What a frame holds."""

    HEADER, PLAN, PACKED, ROW = 1, 2, 3, 4


class Frame(NamedTuple):
    """One whole frame."""

    kind: int
    ident: int
    data: bytes


class Opened(NamedTuple):
    """What a spool held.

    Attributes:
        header: whose spool it is; empty where its frame is damaged.
        records: what no journal had confirmed, one a sequence number, in order.
        problems: what could not be read, as sentences.
    """

    header: dict[str, Any]
    records: list[dict[str, Any]]
    problems: list[str]


def packer(format: str) -> struct.Struct:  # noqa: A002
    """Packs a one-slot PACKED frame without its CRC: head, prefix and numbers."""
    return struct.Struct("<2sBxHHHxxQddqII" + format)


def slots_of(kind: int, ident: int, data: bytes) -> Iterator[bytes]:
    """The bytes of each slot of a frame, CRC included."""
    parts = max(1, -(-len(data) // ROOM))
    for part in range(parts):
        piece = data[part * ROOM : (part + 1) * ROOM]
        body = _HEAD.pack(MAGIC, kind, parts, part, len(piece), ident) + piece
        yield _CRC.pack(zlib.crc32(body)) + body


def frames_of(image: bytes) -> tuple[list[Frame], list[str]]:
    """The whole frames of a spool's bytes, and what is wrong with the others."""
    pieces: dict[tuple[int, int], dict[int, bytes]] = {}
    parts_of: dict[tuple[int, int], int] = {}
    problems = []
    for start in range(0, len(image), SLOT):
        slot = image[start : start + SLOT]
        if slot[: len(FREE)] == FREE[: len(slot)]:
            continue
        found = _slot(slot)
        if found is None:
            problems.append(f"slot {start // SLOT} is damaged, or was never finished")
            continue
        what, parts, part, data = found
        parts_of[what] = parts
        pieces.setdefault(what, {})[part] = data
    frames = []
    for what, found_parts in pieces.items():
        if len(found_parts) == parts_of[what]:
            whole = b"".join(data for _, data in sorted(found_parts.items()))
            frames.append(Frame(*what, whole))
        else:
            lacks = parts_of[what] - len(found_parts)
            problems.append(f"frame {what[1]} lacks {lacks} of its {parts_of[what]} slots")
    return frames, problems


def _slot(slot: bytes) -> tuple[tuple[int, int], int, int, bytes] | None:
    if len(slot) < HEAD:
        return None
    magic, kind, parts, part, length, ident = _HEAD.unpack_from(slot, _CRC.size)
    if magic != MAGIC or length > len(slot) - HEAD or part >= parts:
        return None
    end = HEAD + length
    if zlib.crc32(slot[_CRC.size : end]) != _CRC.unpack_from(slot)[0]:
        return None
    return (kind, ident), parts, part, slot[HEAD:end]


def opened(image: bytes) -> Opened:
    """Everything that a spool's bytes hold; damage is a problem, never an exception."""
    frames, problems = frames_of(image)
    header: dict[str, Any] = {}
    plans: dict[int, dict[str, Any]] = {}
    for frame in frames:
        if frame.kind in {Kind.HEADER, Kind.PLAN}:
            data = _json(frame, problems)
            if frame.kind == Kind.HEADER:
                header = data
            elif data:
                plans[frame.ident] = data
    if not header:
        problems.append("the header is missing")
    records: dict[int, dict[str, Any]] = {}
    for frame in frames:
        record = _record(frame, plans, problems)
        if record is not None:
            records[frame.ident] = record
    return Opened(header, [records[seq] for seq in sorted(records)], problems)


def _record(
    frame: Frame, plans: Mapping[int, dict[str, Any]], problems: list[str]
) -> dict[str, Any] | None:
    if frame.kind == Kind.ROW:
        return _json(frame, problems) or None
    if frame.kind != Kind.PACKED:
        return None
    try:
        return _unpacked(frame, plans)
    except (struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"[:100]
        problems.append(f"record {frame.ident} cannot be unpacked ({why})")
        return None


def _json(frame: Frame, problems: list[str]) -> dict[str, Any]:
    try:
        data = json.loads(frame.data)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict):
        return data
    problems.append(f"frame {frame.ident} is no JSON object")
    return {}


def _unpacked(frame: Frame, plans: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    time, monotonic, step, number, tail = _PREFIX.unpack_from(frame.data)
    if number not in plans:
        raise LookupError(f"its plan {number} is missing")
    plan = plans[number]
    if not CODES.issuperset(plan["format"]):
        raise ValueError("its plan has another format")
    layout = struct.Struct("<" + plan["format"])
    end = _PREFIX.size + layout.size
    if end + tail != len(frame.data):
        raise ValueError("its length is not that of its plan")
    values = layout.unpack_from(frame.data, _PREFIX.size)
    row = {
        "schema_version": 1,
        "mode": plan["mode"],
        "global_step": step,
        "seq": frame.ident,
        "time": time,
        "monotonic": monotonic,
        "metrics": _named(plan, values),
    }
    if plan["doubles"]:
        row["doubles"] = {key: values[position] for key, position in plan["doubles"]}
    return row | (json.loads(frame.data[end:]) if tail else {})


def _named(plan: Mapping[str, Any], values: tuple[float, ...]) -> dict[str, float]:
    """The numbers under the names that the sinks use."""
    metrics = {name: values[position] for position, name in plan["wire"]}
    for alias, position, switch in plan["aliases"]:
        if switch is None or values[switch]:
            metrics.setdefault(alias, values[position])
    return metrics
