"""A log by columns: eight bytes a number, and how finely each key was rounded.

Rows with the same keys stand together, so a row and a column are both one slice.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from ..contract.record import Record

__all__ = ["CELLS", "Column", "Shape", "Table"]

CELLS = 1_500_000
FULL = 12  # decimals from which on a float counts as not rounded
FEW = 4
SHAPE = 50  # cells that a set of keys takes as much memory as
LARGEST = 1e38
HUGE = 1e100
LOOKED_AT = 400
FLOAT32 = 1.2e-7
FLOAT64 = 1e-12


@dataclass
class Shape:
    """The rows that have the same keys.

    Attributes:
        keys: the keys as spelled, in order.
        rows: the row of each entry in the table.
        cells: the values, row after row.
    """

    keys: tuple[str, ...]
    rows: array[int] = field(default_factory=lambda: array("I"))
    cells: array[float] = field(default_factory=lambda: array("d"))

    def values(self, entry: int) -> array[float]:
        """The values of one row, in the order of the keys."""
        width = len(self.keys)
        return self.cells[entry * width : (entry + 1) * width]


@dataclass(frozen=True)
class Column:
    """One key over the rows that have it.

    Attributes:
        key: the key as spelled.
        rows: the rows, ascending.
        values: the value at each of them.
        quantum: half of the last decimal that was logged; 0 where nothing was rounded away.
        whole: whether all values are whole numbers.
        least: the least value.
        greatest: the greatest.
        grain: the relative precision of the values, that of float32 or of float64.
    """

    key: str
    rows: array[int]
    values: array[float]
    quantum: float = 0.0
    whole: bool = False
    least: float = 0.0
    greatest: float = 0.0
    grain: float = FLOAT64

    def __len__(self) -> int:
        return len(self.values)

    @property
    def constant(self) -> bool:
        """Whether every value is the same."""
        return self.least == self.greatest

    def slack(self, value: float) -> float:
        """What rounding and float32 may have done to ``value``."""
        return self.quantum * 1.01 + 4 * FLOAT32 * abs(value)

    def at(self, row: int) -> float | None:
        """The value in ``row``."""
        place = bisect_left(self.rows, row)
        return self.values[place] if place < len(self.rows) and self.rows[place] == row else None

    def distinct(self, cap: int = 1000) -> int:
        """How many values differ, among the first ``cap``."""
        return len(set(islice(self.values, cap)))


class Table:
    """The records of one file and mode, or a stretch of them.

    Args:
        path: the file.
        mode: ``train`` or ``eval``.

    >>> table = Table("a.jsonl", "train")
    >>> for step in (1, 2):
    ...     table.add(Record("train", step, {"loss": step / 4}, origin=("a.jsonl", step)))
    >>> list(table["loss"].values), table["loss"].quantum
    ([0.25, 0.5], 0.0)
    """

    def __init__(self, path: str, mode: str) -> None:
        self.path, self.mode = path, mode
        self.steps = array("q")
        self.lines = array("q")
        self.size = 0
        self.nonfinite: dict[int, tuple[str, ...]] = {}
        self.shapes: dict[tuple[str, ...], Shape] = {}
        self._columns: dict[str, Column] | None = None

    def add(self, record: Record) -> None:
        """Take a record, but for numbers at the end of the floats: none of them was measured."""
        row, metrics = len(self.steps), record.metrics
        if metrics and not -HUGE < min(metrics.values()) <= max(metrics.values()) < HUGE:
            metrics = {key: value for key, value in metrics.items() if abs(value) < HUGE}
        keys = tuple(metrics)
        shape = self.shapes.get(keys)
        if shape is None:
            shape = self.shapes[keys] = Shape(keys)
            self.size += SHAPE
        shape.rows.append(row)
        shape.cells.extend(metrics.values())
        self.steps.append(record.global_step)
        self.lines.append(record.origin[1] if record.origin else 0)
        self.size += len(keys) + 2
        if record.nonfinite:
            self.nonfinite[row] = tuple(record.nonfinite)

    def __len__(self) -> int:
        return len(self.steps)

    def __contains__(self, key: str) -> bool:
        return key in self.columns

    def __getitem__(self, key: str) -> Column:
        return self.columns[key]

    def place(self, row: int) -> tuple[str, int]:
        """File and line of ``row``."""
        return self.path, self.lines[row]

    @property
    def columns(self) -> Mapping[str, Column]:
        """Every key's column."""
        if self._columns is None:
            raw = {key: self._raw(key, shapes) for key, shapes in self._homes().items()}
            decimals = {key: _decimals(values) for key, (_, values) in raw.items()}
            common = _common([count for count in decimals.values() if count])
            self._columns = {
                key: _column(key, rows, values, decimals[key], common)
                for key, (rows, values) in raw.items()
            }
        return self._columns

    def in_order(self) -> Iterator[tuple[int, Shape, int]]:
        """Each row with its shape and its entry there, as the records came."""
        homes = [(row, s, n) for s in self.shapes.values() for n, row in enumerate(s.rows)]
        yield from sorted(homes, key=lambda home: home[0])

    def together(self, keys: Sequence[str]) -> tuple[array[int], list[array[float]]]:
        """The rows that have all ``keys``, and the values there."""
        columns = [self.columns[key] for key in keys]
        if all(column.rows == columns[0].rows for column in columns[1:]):
            return columns[0].rows, [column.values for column in columns]
        shared = frozenset(columns[0].rows).intersection(*(c.rows for c in columns[1:]))
        rows = array("I", sorted(shared))
        return rows, [_pick(column, shared) for column in columns]

    def _homes(self) -> dict[str, list[tuple[Shape, int]]]:
        homes: dict[str, list[tuple[Shape, int]]] = {}
        for shape in self.shapes.values():
            for position, key in enumerate(shape.keys):
                homes.setdefault(key, []).append((shape, position))
        return homes

    def _raw(self, key: str, homes: Sequence[tuple[Shape, int]]) -> tuple[array[int], array[float]]:
        if len(homes) == 1:
            shape, position = homes[0]
            return shape.rows, shape.cells[position :: len(shape.keys)]
        pairs: list[tuple[int, float]] = []
        for shape, position in homes:
            pairs += zip(shape.rows, shape.cells[position :: len(shape.keys)], strict=True)
        pairs.sort()
        return array("I", [row for row, _ in pairs]), array("d", [value for _, value in pairs])


def _pick(column: Column, rows: frozenset[int]) -> array[float]:
    both = zip(column.rows, column.values, strict=True)
    return array("d", [value for row, value in both if row in rows])


def _column(
    key: str, rows: array[int], values: array[float], decimals: int | None, common: int
) -> Column:
    kept = common or _least_decimals(values, decimals or 0)
    quantum = 0.5 * 10.0**-kept if decimals and kept < FULL and decimals < FULL else 0.0
    whole, least, greatest = decimals == 0, min(values), max(values)
    return Column(key, rows, values, quantum, whole, least, greatest, _grain(values, quantum))


def _grain(values: array[float], quantum: float) -> float:
    """Float64 where a value has digits that no float32 has."""
    singles = array("f", [v if abs(v) < LARGEST else 0.0 for v in islice(values, LOOKED_AT)])
    both = zip(values, singles, strict=False)
    finer = any(abs(v - single) > 1.01 * quantum for v, single in both if v % 1)
    return FLOAT64 if finer else FLOAT32


def _least_decimals(values: array[float], decimals: int) -> int:
    """The decimals that a column of its own proves: 0.7 or 0.25 alone say little."""
    seen = set(islice((value for value in values if value % 1), LOOKED_AT))
    if all(not value * 2.0**decimals % 1 for value in seen):
        return FULL  # k / 2**n has an end of its own
    return decimals if len(seen) >= FEW else max(decimals, 6)


def _decimals(values: array[float]) -> int | None:
    """The most decimals among the values; 0 where all are whole."""
    fractions: Iterator[float] = (value for value in values if value % 1)
    seen = set(islice(fractions, LOOKED_AT))
    return max((-_exponent(value) for value in seen), default=0)


def _exponent(value: float) -> int:
    exponent = Decimal(repr(value)).as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def _common(decimals: Sequence[int]) -> int:
    """The number of decimals that a writer rounds everything to, 0 where it does not."""
    count, many = Counter(decimals).most_common(1)[0] if decimals else (0, 0)
    rounds = count < FULL and many >= 3 and 2 * many >= len(decimals)
    return count if rounds and max(decimals) == count else 0
