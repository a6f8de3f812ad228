"""Numbers with a step, as dashboards keep them, become records under the names that they have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from ...contract.payload import MAX_STEP
from ...contract.record import Record
from .limits import Limits
from .modes import modes_of, neutral

__all__ = ["Gathering", "Sample", "records_of"]

_Value = TypeVar("_Value")


@dataclass
class Sample:
    """What a file holds of one step.

    Attributes:
        step: the step.
        time: seconds since the epoch, None where that is not told.
        number: which record of the file it is, or begins at.
        values: numbers by key; NaN and infinities too.
        skipped: what is no number, as text.
    """

    step: int
    time: float | None
    number: int
    values: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class Gathering:
    """Puts the scalars of one step together, which callbacks write one by one.

    A tag that comes again begins another record, unless it says the same again, as ``train/epoch``
    does beside each of ``train/loss`` and ``eval/loss``.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: Sample | None = None

    def take(self, sample: Sample) -> Iterator[Sample]:
        """What is complete when ``sample`` comes."""
        if len(sample.values) != 1:  # a record of its own
            yield from self.rest()
            yield sample
            return
        ((key, value),) = sample.values.items()
        if self._open is not None and not self._continues(self._open, sample.step, key, value):
            yield from self.rest()
        if self._open is None:
            self._open = sample
        else:
            self._open.values[key] = value

    def rest(self) -> Iterator[Sample]:
        """What is complete at the end."""
        if self._open is not None:
            found, self._open = self._open, None
            yield found

    def _continues(self, before: Sample, step: int, key: str, value: float) -> bool:
        if before.step != step or len(before.values) >= self._limits.keys:
            return False
        return key not in before.values or (neutral(key) and before.values[key] == value)


def records_of(sample: Sample, path: str) -> Iterator[Record]:
    """The records in ``sample``: none where its step is none, two where it mixes modes."""
    if not 0 <= sample.step <= MAX_STEP or not (sample.values or sample.skipped):
        return
    for mode, keys in modes_of((*sample.values, *sample.skipped)):
        values = _only(sample.values, keys)
        yield Record(
            mode,
            sample.step,
            {key: value for key, value in values.items() if math.isfinite(value)},
            {key: _name(value) for key, value in values.items() if not math.isfinite(value)},
            time=sample.time,
            skipped=_only(sample.skipped, keys),
            origin=(path, sample.number),
        )


def _only(row: Mapping[str, _Value], keys: tuple[str, ...] | None) -> dict[str, _Value]:
    return dict(row) if keys is None else {key: row[key] for key in keys if key in row}


def _name(value: float) -> str:
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"
