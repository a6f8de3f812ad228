"""One record is one sealed line of JSON; numbers keep every bit, NaN is a word in ``nonfinite``.

orjson writes the lines where it is installed, ten times as fast; the standard library writes the
same data where it is not, and the lines that orjson refuses (integers beyond 64 bits).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ..contract.errors import safe_text
from ..contract.header import FORMAT_VERSION, Header
from ..contract.journal import CHECKSUM, seal
from ..contract.payload import SCHEMA_VERSION
from ..contract.record import Record
from ..contract.values import nonfinite_name

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

__all__ = [
    "RESERVED",
    "footer_line",
    "head_line",
    "header_line",
    "plain",
    "record_line",
    "row_line",
]

RESERVED = frozenset(
    {
        "schema_version",
        "mode",
        "global_step",
        "seq",
        "time",
        "monotonic",
        "dataset",
        "metrics",
        "nonfinite",
        "coverage",
        "health",
        "header",
        "footer",
        "extra",
        "crc",
    }
)
MAX_DEPTH = 32
MAX_INT_BITS = 1024
# Readers skip longer lines unread. The numbers of a record never come near it.
MAX_LINE = 1 << 20


def header_line(header: Header, place: Mapping[str, Any] | None = None) -> bytes:
    """The first line of a log.

    Args:
        header: what the registry says of the run.
        place: what the journal says of this file: attempt, resumed_from, continues.
    """
    told = header.to_data() | dict(place or {})
    line = head_line(told)
    return line if len(line) <= MAX_LINE else head_line(told | {"run": _left_out(header.run)})


def head_line(told: Mapping[str, Any]) -> bytes:
    """A header that is data already, as a line; it says that the lines are sealed."""
    known = {"format": FORMAT_VERSION, "checksum": CHECKSUM}
    return _line({"header": plain(known | dict(told) | known)})


def footer_line(footer: Mapping[str, Any]) -> bytes:
    """The last line of a log that was closed."""
    return _line({"footer": plain(footer)})


def record_line(record: Record) -> bytes:
    """One record as a line.

    Further sections of the payload stand beside the known ones; a section whose name the format
    needs for itself stands under ``extra``. Sections that would make a line longer than 1 MiB,
    which readers skip, are left out and named in ``left_out``.

    Raises:
        ValueError: a number in ``metrics`` or ``health`` is not finite.

    >>> record_line(Record("train", 7, {"loss": 1.25}, {"grad_norm": "inf"}, seq=0))[:60]
    b'{"seq":0,"schema_version":1,"mode":"train","global_step":7,"'
    """
    row: dict[str, Any] = {} if record.seq is None else {"seq": record.seq}
    row["schema_version"] = SCHEMA_VERSION
    row["mode"] = record.mode
    row["global_step"] = record.global_step
    if record.time is not None:
        row["time"] = record.time
    if record.monotonic is not None:
        row["monotonic"] = record.monotonic
    if record.dataset is not None:
        row["dataset"] = plain(record.dataset)
    row["metrics"] = _finite(record.metrics)
    if record.nonfinite or record.coverage or record.health or record.extra:
        _add_sections(row, record)
    line = _line(row)
    if len(line) > MAX_LINE and record.extra:
        kept = {name: section for name, section in row.items() if name in RESERVED - {"extra"}}
        line = _line(kept | _left_out(record.extra))
    return line


def _left_out(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The names of what would make a line too long to be read."""
    return {"left_out": [safe_text(name)[1:-1] for name in list(sections)[:64]]}


def _add_sections(row: dict[str, Any], record: Record) -> None:
    clashing = {name: section for name, section in record.extra.items() if name in RESERVED}
    beside = {name: section for name, section in record.extra.items() if name not in RESERVED}
    sections = {
        "nonfinite": dict(record.nonfinite),
        "coverage": plain(record.coverage),
        "health": _finite(record.health),
        "extra": plain(clashing),
    }
    row |= {name: section for name, section in sections.items() if section}
    row |= plain(beside)


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    # orjson would write null, json a bare NaN: neither is a number, so neither is written.
    if not _sums_up(numbers) and not all(map(math.isfinite, numbers.values())):
        wrong = [key for key, number in numbers.items() if not math.isfinite(number)]
        raise ValueError(f"{safe_text(wrong[0])} is not finite; it belongs in `nonfinite`")
    return numbers if type(numbers) is dict else dict(numbers)


def _sums_up(numbers: Mapping[str, float]) -> bool:
    """Whether the sum is finite; then so is each number, and one addition each has shown it."""
    try:
        return math.isfinite(sum(numbers.values()))
    except OverflowError:  # an integer beyond the range of a float
        return False


def row_line(row: Mapping[str, Any]) -> bytes:
    """A record that is JSON data already, such as a spool keeps, as a line."""
    return _line(({"seq": row["seq"]} if "seq" in row else {}) | dict(row))


def _line(row: dict[str, Any]) -> bytes:
    if orjson is not None:
        try:
            return seal(orjson.dumps(row))
        except orjson.JSONEncodeError:
            pass
    text = json.dumps(row, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return seal(text.encode())


def plain(value: object, around: tuple[int, ...] = ()) -> Any:
    """``value`` as JSON data, whatever a configuration holds; no method of it is called.

    Non-finite floats become words, paths strings, and what JSON cannot say becomes the name of its
    type.

    >>> plain({"lr": float("inf"), "out": PurePath("runs/a"), "betas": (0.9, 0.999), "f": object()})
    {'lr': 'inf', 'out': 'runs/a', 'betas': [0.9, 0.999], 'f': '<builtins.object>'}
    """
    if value is None or type(value) is bool:
        return value
    if isinstance(value, (str, int, float, PurePath)):
        return _plain_scalar(value)
    if id(value) in around or len(around) >= MAX_DEPTH:
        return safe_text(value)
    inside = (*around, id(value))
    if isinstance(value, Mapping):
        return {_plain_key(key): plain(item, inside) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, inside) for item in value]
    return safe_text(value)


def _plain_key(key: object) -> str:
    return _plain_text(str.__str__(key)) if isinstance(key, str) else safe_text(key)


def _plain_scalar(value: object) -> str | float:
    if isinstance(value, float):
        number = float.__float__(value)
        return nonfinite_name(number) or number
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if whole.bit_length() <= MAX_INT_BITS else safe_text(whole)
    return _plain_text(str.__str__(value) if isinstance(value, str) else str(value))


def _plain_text(text: str) -> str:
    # A lone surrogate (a file name that is not UTF-8) cannot be written as UTF-8.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
