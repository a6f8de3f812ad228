"""Images and their objects as bytes, and back, exactly: three columns, and no code in them.

Whole numbers, float64 and texts stand in a column each, in the order in which a reader asks for
them, little-endian and after the lengths of the three. Packing raises on nothing: one rank that did
would leave the others waiting. What is no object becomes one that cannot be drawn.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from math import nan
from operator import index

import numpy as np

from .objects import DetectedObject, Geometry, ImageObjects

__all__ = ["pack_images", "unpack_images"]

HEAD = struct.Struct("<3q")
KINDS: tuple[Geometry, Geometry] = ("bbox_2d", "poly")


def pack_images(images: Iterable[ImageObjects]) -> bytes:
    """All of ``images``; of an object whose points are no numbers, none of them."""
    columns = _Writer()
    found = list(images)
    columns.wholes.append(len(found))
    for one in found:
        columns.key(one.image)
        for side in (one.predictions, one.ground_truth):
            columns.wholes.append(len(side))
            for thing in side:
                columns.thing(thing)
    return columns.to_bytes()


def unpack_images(message: bytes) -> list[ImageObjects]:
    """What ``pack_images`` was given.

    >>> cat = DetectedObject("bbox_2d", [1, 2, 3, 4], "cat")
    >>> unpack_images(pack_images([ImageObjects("a.jpg", [cat], [])]))[0].predictions[0].points
    (1.0, 2.0, 3.0, 4.0)
    """
    columns = _Reader(message)
    return [_image(columns) for _ in range(columns.whole())]


class _Writer:
    def __init__(self) -> None:
        self.wholes: list[int] = []
        self.floats: list[float] = []
        self.texts: list[bytes] = []

    def text(self, text: str) -> None:
        encoded = text.encode("utf-8", "surrogatepass")
        self.wholes.append(len(encoded))
        self.texts.append(encoded)

    def key(self, key: int | str) -> None:
        try:
            number = index(key)  # type: ignore[arg-type]
        except TypeError:
            self.wholes.append(1)
            self.text(str(key))
        else:
            self.wholes.append(0)
            self.text(str(number))

    def thing(self, thing: DetectedObject) -> None:
        points = _numbers(thing.points) if thing.kind in KINDS else []
        score = [] if thing.score is None else _numbers([thing.score]) or [nan]
        self.wholes += [thing.kind == "poly", len(points), len(score)]
        self.floats += points + score
        self.text(str(thing.desc))

    def to_bytes(self) -> bytes:
        columns = (
            np.array(self.wholes, "<i8").tobytes(),
            np.array(self.floats, "<f8").tobytes(),
            b"".join(self.texts),
        )
        return HEAD.pack(*map(len, columns)) + b"".join(columns)


class _Reader:
    def __init__(self, message: bytes) -> None:
        wholes, floats, texts = HEAD.unpack_from(message)
        after = HEAD.size + wholes
        self._wholes: Iterator[int] = iter(
            np.frombuffer(message, "<i8", wholes // 8, HEAD.size).tolist()
        )
        self._floats: list[float] = np.frombuffer(message, "<f8", floats // 8, after).tolist()
        self._texts = message[after + floats : after + floats + texts]
        self._float = self._text = 0

    def whole(self) -> int:
        return next(self._wholes)

    def floats(self, count: int) -> tuple[float, ...]:
        start, self._float = self._float, self._float + count
        return tuple(self._floats[start : self._float])

    def text(self) -> str:
        start = self._text
        self._text += self.whole()
        return self._texts[start : self._text].decode("utf-8", "surrogatepass")


def _image(columns: _Reader) -> ImageObjects:
    named = columns.whole()
    key = columns.text()
    sides = [[_thing(columns) for _ in range(columns.whole())] for _ in "pg"]
    return ImageObjects(key if named else int(key), *sides)


def _thing(columns: _Reader) -> DetectedObject:
    kind, points, scored = columns.whole(), columns.whole(), columns.whole()
    found = columns.floats(points)
    score = columns.floats(1)[0] if scored else None
    return DetectedObject(KINDS[kind], found, columns.text(), score)


def _numbers(values: Iterable[float]) -> list[float]:
    try:
        return [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        return []
