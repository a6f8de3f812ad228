"""The series that a finding is about, thinned to what a page can show, its offenders marked."""

from __future__ import annotations

from dataclasses import dataclass

from .log import Case, Log

__all__ = ["Curve", "curves"]

POINTS = 400
SERIES = 3
LEAST = 1e-200


@dataclass(frozen=True)
class Curve:
    """One key over the steps.

    Attributes:
        key: the key as spelled.
        steps: the steps.
        values: the value at each of them.
        marked: which of them offend.
        expected: what each should be, None where nobody knows.
    """

    key: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    marked: tuple[bool, ...]
    expected: tuple[float | None, ...]


def curves(log: Log, case: Case) -> list[Curve]:
    """The offending series first, then those beside it."""
    keys = [case.key, *case.beside]
    known = [key for key in dict.fromkeys(keys) if key in log.table.columns]
    return [_curve(log, case, key) for key in known[:SERIES]]


def _curve(log: Log, case: Case, key: str) -> Curve:
    column = log.table.columns[key]
    own = {o.row: o.expected for o in case.offenders} if key == case.key else {}
    stride = -(-len(column) // POINTS)
    keep = [n for n, row in enumerate(column.rows) if n % stride == 0 or row in own]
    if len(keep) > 2 * POINTS:
        keep = keep[:: -(-len(keep) // POINTS)]
    return Curve(
        key,
        tuple(log.table.steps[column.rows[n]] for n in keep),
        tuple(_plain(column.values[n]) for n in keep),
        tuple(column.rows[n] in own for n in keep),
        tuple(None if (e := own.get(column.rows[n])) is None else _plain(e) for n in keep),
    )


def _plain(value: float) -> float:
    """What a page can scale: the least floats are zero to any eye."""
    return value if abs(value) > LEAST else 0.0
