"""Rollouts in a file: a JSON record a line is used whole, or named with its line and not at all.

    {"image": "a.jpg", "width": 640, "height": 480, "gt": [{"desc": "cat", "bbox_2d": [x1, y1, x2,
    y2]}], "pred": [{"desc": "cat", "poly": [x, y, ...], "score": 0.9}]}

Coordinates are pixels; with ``"coord_mode": "norm1000"`` they are bins already. Other keys are left
alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contract.errors import safe_text
from .objects import DetectedObject, Geometry, normalize_box

__all__ = ["RolloutRecord", "Unusable", "read_rollouts"]


@dataclass(frozen=True, slots=True)
class RolloutRecord:
    """The objects of one image in norm1000 space, and where they were read.

    Attributes:
        image: its file, as far as the record says.
        width, height: its size in pixels.
    """

    path: Path
    line: int
    image: str
    width: int
    height: int
    predictions: tuple[DetectedObject, ...]
    ground_truth: tuple[DetectedObject, ...]


@dataclass(frozen=True, slots=True)
class Unusable:
    """A line that holds no rollout; line 0 is the file."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else f"{self.path}"
        return f"{where if where.isprintable() else ascii(where)}: {self.message}"


def read_rollouts(path: Path) -> Iterator[RolloutRecord | Unusable]:
    """Every line of a file that is not blank; a file that cannot be read is one ``Unusable``."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _record(path, number, line)
    except OSError as error:
        yield Unusable(path, 0, error.strerror or type(error).__name__)


def _record(path: Path, number: int, line: bytes) -> RolloutRecord | Unusable:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Unusable(path, number, f"is no JSON: {safe_text(str(error), 120)[1:-1]}")
    try:
        return _checked(path, number, row)
    except _WrongError as why:
        return Unusable(path, number, str(why))


class _WrongError(Exception):
    """Why a record cannot be used."""


def _checked(path: Path, number: int, row: object) -> RolloutRecord:
    if not isinstance(row, dict):
        raise _WrongError(f"a record is an object, not {safe_text(row)}")
    width, height = (_size(row, name) for name in ("width", "height"))
    mode = row.get("coord_mode", "pixel")
    if mode not in ("pixel", "norm1000"):
        raise _WrongError(f"coord_mode is 'pixel' or 'norm1000', not {safe_text(mode)}")
    sizes = (width, height) if mode == "pixel" else None
    sides = {name: _objects(row, name, sizes) for name in ("pred", "gt")}
    image = row.get("image")
    name = image if isinstance(image, str) else ""
    return RolloutRecord(path, number, name, width, height, sides["pred"], sides["gt"])


def _size(row: Mapping[str, Any], name: str) -> int:
    size = row.get(name)
    if type(size) is not int or size < 1:
        raise _WrongError(f"{name} is a number of pixels from 1, not {safe_text(size)}")
    return size


def _objects(
    row: Mapping[str, Any], side: str, sizes: tuple[int, int] | None
) -> tuple[DetectedObject, ...]:
    things = row.get(side)
    if not isinstance(things, list):
        raise _WrongError(f"{side} is a list of objects, not {safe_text(things)}")
    return tuple(_thing(thing, f"{side}[{place}]", sizes) for place, thing in enumerate(things))


def _thing(thing: object, where: str, sizes: tuple[int, int] | None) -> DetectedObject:
    if not isinstance(thing, dict):
        raise _WrongError(f"{where} is no object, but {safe_text(thing)}")
    if ("bbox_2d" in thing) == ("poly" in thing):
        raise _WrongError(f"{where} has not one of bbox_2d and poly")
    desc, score = thing.get("desc"), thing.get("score")
    if not isinstance(desc, str):
        raise _WrongError(f"{where}.desc is a text, not {safe_text(desc)}")
    if score is not None and type(score) not in (int, float):
        raise _WrongError(f"{where}.score is a number, not {safe_text(score)}")
    kind: Geometry = "bbox_2d" if "bbox_2d" in thing else "poly"
    points = thing[kind]
    if not isinstance(points, list) or any(type(point) not in (int, float) for point in points):
        raise _WrongError(f"{where}.{kind} is a list of numbers, not {safe_text(points)}")
    if len(points) != 4 if kind == "bbox_2d" else len(points) < 6 or len(points) % 2:
        raise _WrongError(f"{where}.{kind} has {len(points)} numbers")
    try:
        return DetectedObject(kind, _bins(points, sizes), desc, score)
    except ValueError as error:
        raise _WrongError(f"{where}.{kind}: {error}") from error


def _bins(points: list[float], sizes: tuple[int, int] | None) -> tuple[float, ...]:
    """Bins of pixels, each point by itself."""
    if sizes is None:
        return tuple(points)
    pairs = zip(points[::2], points[1::2], strict=True)
    return tuple(bin_ for x, y in pairs for bin_ in normalize_box((x, y, x, y), *sizes)[:2])
