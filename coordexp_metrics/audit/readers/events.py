"""TensorBoard event files, read without TensorBoard: scalars only, and only what was really stored.

A scalar is a ``simple_value``, or a tensor of one number. Images, histograms and texts are read
over; the shape that a tensor declares allocates nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from .limits import Limits
from .problems import Say
from .protobuf import (
    BadMessageError,
    Value,
    bytes_of,
    double_of,
    fields,
    float_of,
    signed,
    texts,
    varints,
)
from .sampled import Gathering, Sample
from .tfrecord import Frame, Frames

__all__ = ["samples_of_events"]

SCALARS = "scalars"
MAX_TAGS = 100_000
# struct's letter for each dtype whose content is one plain number.
PLAIN = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 17: "H", 19: "e"}
PLAIN |= {22: "I", 23: "Q"}
BFLOAT16, HALF = 14, 19
# The field of a tensor that holds its numbers one by one.
FLOATS, DOUBLES, HALVES = 5, 6, 13
WHOLE = (7, 10, 11, 16, 17)


def samples_of_events(frames: Frames, limits: Limits, say: Say) -> Iterator[Sample]:
    """The scalars of an event file, those of one step together."""
    reader, gathering = _Events(say), Gathering(limits)
    for frame in frames:
        sample = reader.sample(frame)
        if sample is not None:
            yield from gathering.take(sample)
    yield from gathering.rest()


class _Events:
    def __init__(self, say: Say) -> None:
        self._say = say
        self._plugins: dict[str, str] = {}

    def sample(self, frame: Frame) -> Sample | None:
        """The scalars of one event, None where it has none."""
        try:
            found = self._event(frame)
        except BadMessageError as error:
            self._problem(frame, "record.proto", f"is no event: {error}")
            return None
        if not found.values:
            return None
        if found.step < 0:
            self._problem(frame, "step_unresolved", f"has the step {found.step}")
        return found

    def _event(self, frame: Frame) -> Sample:
        sample = Sample(0, None, frame.number)
        for number, value in fields(frame.body):
            if number == 1:
                time = double_of(value)
                sample.time = time if math.isfinite(time) else None
            elif number == 2:
                sample.step = signed(value)
            elif number == 5:
                for inner, part in fields(bytes_of(value)):
                    if inner == 1:
                        self._value(bytes_of(part), sample, frame)
        return sample

    def _value(self, data: bytes, sample: Sample, frame: Frame) -> None:
        tag, number, tensor = "", None, None
        plugin = None
        for field, value in fields(data):
            if field == 1:
                tag = texts(value)
            elif field == 2:
                number = float_of(value)
            elif field == 8:
                tensor = bytes_of(value)
            elif field == 9:
                plugin = _plugin(bytes_of(value))
        if number is None and tensor is not None and self._is_scalar(tag, plugin):
            number = _scalar(tensor)
            if number is None and self._plugins.get(tag) == SCALARS:
                self._problem(frame, "record.tensor", "has a scalar that is not one number")
        if number is not None:
            sample.values[tag] = number

    def _is_scalar(self, tag: str, plugin: str | None) -> bool:
        """Only the first value of a tag tells its plugin; one that never tells may be a scalar."""
        if plugin and len(self._plugins) < MAX_TAGS:
            self._plugins.setdefault(tag, plugin)
        return self._plugins.get(tag, SCALARS) == SCALARS

    def _problem(self, frame: Frame, code: str, message: str) -> None:
        self._say(code, message, frame.offset, frame.number)


def _plugin(metadata: bytes) -> str | None:
    for number, value in fields(metadata):
        if number == 1:
            for inner, name in fields(bytes_of(value)):
                if inner == 1:
                    return texts(name)
    return None


def _scalar(tensor: bytes) -> float | None:
    """The one number of a tensor, None where it has none or more."""
    kind, elements, content = 0, 1, b""
    listed: list[float] = []
    for number, value in fields(tensor):
        if number == 1:
            kind = signed(value)
        elif number == 2:
            elements = _elements(bytes_of(value))
        elif number == 4:
            content = bytes_of(value)
        elif len(listed) < 2:
            listed += _listed(number, value, kind)
    if elements != 1:
        return None
    if content:
        return _content(kind, content)
    return listed[0] if len(listed) == 1 else None


def _elements(shape: bytes) -> int:
    """How many numbers a shape declares; it is compared, and never allocated."""
    product = 1
    for number, value in fields(shape):
        if number == 2:
            sizes = [signed(size) for inner, size in fields(bytes_of(value)) if inner == 1]
            product *= sizes[0] if sizes else 0
    return product


def _content(kind: int, content: bytes) -> float | None:
    if kind == BFLOAT16 and len(content) == 2:
        kind, content = 1, b"\x00\x00" + content
    letter = PLAIN.get(kind)
    if letter is None or struct.calcsize(f"<{letter}") != len(content):
        return None
    (number,) = struct.unpack(f"<{letter}", content)
    return float(number) if letter in "efd" else int(number)


def _listed(number: int, value: Value, kind: int) -> list[float]:
    """The first numbers of a repeated field: two are enough to know that there is not one."""
    if number in {FLOATS, DOUBLES}:
        form, size = ("<f", 4) if number == FLOATS else ("<d", 8)
        data = bytes_of(value)
        if len(data) % size:
            raise BadMessageError("numbers of the wrong size")
        return [struct.unpack_from(form, data, at)[0] for at in range(0, min(len(data), 16), size)]
    if number in WHOLE:
        return [signed(found) for found in _first_two(value)]
    if number == HALVES and kind in {HALF, BFLOAT16}:
        words = [struct.pack("<H", found & 0xFFFF) for found in _first_two(value)]
        return [found for found in (_content(kind, word) for word in words) if found is not None]
    return []


def _first_two(value: Value) -> list[int]:
    return varints(value if type(value) is int else bytes_of(value)[:20])[:2]
