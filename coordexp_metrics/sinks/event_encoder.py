"""A curve is introduced once, with its declaration; then a record is numbers in a layout."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..contract.crc32c import installed
from ..contract.header import Header
from .charts import charts_of
from .crc32c import crc32c
from .describe import curve_page, header_page
from .event_layout import EventLayout, framed, tag_bytes, varint
from .event_messages import EventMessages

__all__ = ["EventEncoder"]

HEADER_TAG = "contract/header"
MAX_LAYOUTS = 64
EXACT_BELOW = 2.0**53

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]


class EventEncoder:
    """Turns records into TFRecords for one file at a time.

    Attributes:
        losses: values of the last record that float32 changed to another whole number, to
            infinity or to zero.
    """

    def __init__(self, header: Header, messages: EventMessages) -> None:
        self.losses = 0
        self._header = header
        self._messages = messages
        self._checksum = installed()
        self._charts = charts_of(header.catalogue)
        self._layouts: OrderedDict[tuple[tuple[str, ...], int], EventLayout] = OrderedDict()
        self._introduced: set[str] = set()
        self._drawn = 0

    def opening(self) -> bytes:
        """How a new file begins; every curve is introduced again in it."""
        self._introduced.clear()
        self._drawn = 0
        return self._framed(self._messages.opening())

    def start(self, wall_time: float, step: int) -> bytes:
        """How an attempt begins, at ``step``."""
        return self._framed(self._messages.start(wall_time, step))

    def header(self, wall_time: float, step: int) -> bytes:
        """Which definitions and which run the curves come from."""
        page = header_page(self._header)
        return self._framed(self._messages.text(HEADER_TAG, page, wall_time, step))

    def record(self, values: Mapping[str, float], wall_time: float, step: int) -> bytes:
        """The values of one record, and what has to be said before them."""
        keys = tuple(values)
        singles = self._singles(values)
        if not self._introduced.issuperset(keys):
            return self._introduction(keys, singles, wall_time, step)
        spelled = varint(step)
        return self._layout(keys, len(spelled)).record(wall_time, spelled, singles)

    def _introduction(
        self, keys: tuple[str, ...], singles: Singles, wall_time: float, step: int
    ) -> bytes:
        # Only the first value of a tag is asked for its description, and a description without
        # a value would leave a tag without data, which one loader refuses to read.
        pages = {key: None if key in self._introduced else self._page(key) for key in keys}
        self._introduced.update(keys)
        shown = {
            tag_bytes(key).decode(): (float(single), pages[key])
            for key, single in zip(keys, singles, strict=True)
        }
        charts = self._new_charts(wall_time, step)
        return charts + self._framed(self._messages.scalars(shown, wall_time, step))

    def _new_charts(self, wall_time: float, step: int) -> bytes:
        """The charts that have something to overlay, if there are more of them than before."""
        charts = [
            chart for chart in self._charts if sum(key in chart for key in self._introduced) > 1
        ]
        if len(charts) == self._drawn:
            return b""
        self._drawn = len(charts)
        return self._framed(self._messages.layout(charts, wall_time, step))

    def _page(self, key: str) -> str:
        found = self._header.catalogue.resolve(key)
        return curve_page(key, found) if found is not None else ""

    def _layout(self, keys: tuple[str, ...], step_size: int) -> EventLayout:
        name = keys, step_size
        layout = self._layouts.get(name)
        if layout is None:
            layout = self._layouts[name] = EventLayout(keys, step_size, self._checksum)
            if len(self._layouts) > MAX_LAYOUTS:
                self._layouts.popitem(last=False)
        return layout

    def _singles(self, values: Mapping[str, float]) -> Singles:
        try:
            numbers = np.fromiter(values.values(), np.float64, len(values))
        except OverflowError:
            numbers = np.fromiter(map(_double, values.values()), np.float64, len(values))
        with np.errstate(over="ignore", under="ignore"):
            singles = numbers.astype(np.float32)
        self.losses = _losses(values.values(), numbers, singles)
        return singles

    def _framed(self, message: bytes) -> bytes:
        return framed(message, self._checksum or crc32c)


def _losses(given: Iterable[float], numbers: Doubles, singles: Singles) -> int:
    if (np.abs(numbers) >= EXACT_BELOW).any():
        # An int of this size may have been rounded before it came to float32.
        return sum(map(_changed, given, singles.tolist()))
    stored = singles.astype(np.float64)
    told = (stored == 0.0) | (np.rint(numbers) == numbers)
    return int(np.count_nonzero((stored != numbers) & told))


def _changed(number: float, stored: float) -> bool:
    """Whether float32 made another whole number, infinity or zero of ``number``.

    >>> _changed(2**24 + 1, float(2**24)), _changed(0.1, 0.10000000149011612)
    (True, False)
    """
    # Beyond 2**53 every float is whole, so what became infinite is counted as well.
    whole = isinstance(number, int) or number.is_integer()
    return stored != number and (stored == 0.0 or whole)


def _double(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
