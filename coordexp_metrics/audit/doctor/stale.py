"""A number under a live name is of its own step, and can go back to zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from ..series import Column
from .log import Case, Log, Offender, said, shown

__all__ = ["carried_snapshots", "never_zero", "stale_values"]

DIGITS = 5
ENOUGH = 5


def carried_snapshots(log: Log) -> Iterator[Case]:
    """Copies of older values, logged again and again beside the live ones (CXM550)."""
    for prefix in log.copies:
        columns = [c for key, c in log.table.columns.items() if key.startswith(prefix)]
        rows = sorted({row for column in columns for row in column.rows})
        again = sum(a == b for c in columns for a, b in pairwise(c.values))
        first = min(columns, key=lambda column: (column.rows[0], column.key))
        live = log.table.columns.get(first.key.removeprefix(prefix))
        of = _age(log, first, live)
        yield Case(
            "CXM550",
            first.key,
            f"{said(prefix + '*')}: {len(columns)} keys repeat values of older steps, in "
            f"{len(rows)} of {len(log.table)} records; {again} values stand there twice or more"
            f"{of}: they are no measurement of the step they are logged at",
            [Offender(row, len(columns)) for row in rows],
            len(log.table),
            0.95,
            {"prefix": prefix, "keys": [column.key for column in columns][:200]},
            (first.key.removeprefix(prefix),),
            prefix,
        )


def _age(log: Log, copy: Column, live: Column | None) -> str:
    """How old the first copy is at last."""
    if live is None:
        return ""
    last = len(copy) - 1
    value, row = copy.values[last], copy.rows[last]
    at = [r for r, v in zip(live.rows, live.values, strict=True) if v == value and r <= row]
    age = log.table.steps[row] - log.table.steps[at[-1]] if at else 0
    return f"; {said(copy.key)} is {age} steps old at last" if age else ""


def never_zero(log: Log) -> Iterator[Case]:
    """A gauge that keeps its last value where nothing was counted (CXM551)."""
    for prefix in log.copies:
        for key in log.table.columns:
            if key.startswith(prefix):
                yield from _kept(log, key, key[len(prefix) :])
    for key, name in log.names.items():
        if name.rates or name.shares or name.averages:
            yield from _without_count(log, key)


def _kept(log: Log, key: str, live: str) -> Iterator[Case]:
    """A copy stands in for a bucket that is empty at a step whose other buckets are there."""
    copy, own = log.table.columns[key], log.columns.get(live)
    if own is None:
        return
    there = log.rows_of(live)
    beside = [k for k in log.families.get(log.names[live].family, ()) if k != live]
    steady = [k for k in beside if there <= log.rows_of(k)]
    if not steady:
        return
    ran = frozenset.intersection(*map(log.rows_of, steady))
    at = [
        (row, value)
        for row, value in zip(copy.rows, copy.values, strict=True)
        if row in ran and row not in there and value
    ]
    if at:
        values = shown(dict.fromkeys(value for _, value in at))
        yield Case(
            "CXM551",
            key,
            f"{said(key)} is {values} at steps that counted {said(steady[0])} and had no "
            f"{said(live)}: the gauge keeps its last value and can never go back to zero "
            f"({len(at)} of {len(copy)} records)",
            [Offender(row, value, 0.0) for row, value in at],
            len(copy),
            0.9,
            {"live": live, "beside": steady[0]},
            (live, steady[0]),
        )


def _without_count(log: Log, key: str) -> Iterator[Case]:
    """A mean or rate that is not zero though what it counts is."""
    count = log.kin(key, "_count", "_rate_num", "_num", "_den", "_rate_den", "_total")
    if count is None or log.columns[count].constant:
        return
    rows, (values, counts) = log.table.together([key, count])
    empty = [(n, row) for n, row in enumerate(rows) if counts[n] == 0]
    at = [(row, values[n]) for n, row in empty if values[n] and n and values[n] == values[n - 1]]
    if len(at) >= 2 and 2 * len(at) > len(empty):
        yield Case(
            "CXM551",
            key,
            f"{said(key)} is still {at[0][1]:g} where {said(count)} is 0: it keeps its last value "
            f"and can never go back to zero ({len(at)} of {len(empty)} such records)",
            [Offender(row, value, 0.0) for row, value in at],
            len(empty),
            0.9,
            {"count_key": count},
            (count,),
        )


def stale_values(log: Log) -> Iterator[Case]:
    """A measured value repeats to the last digit while others move (CXM552)."""
    moving = _moving(log)
    yield from _stale_counts(log)
    for key, column in log.columns.items():
        if key in moving or len(column) < 2 * ENOUGH or column.whole or column.distinct() < 3:
            continue
        if not _measured(log, column) or _monotone(column):
            continue
        again = [
            n for n in range(1, len(column)) if not _new(column, n) and _long(column.values[n])
        ]
        if (
            4 * len(again) < len(column)
            or _comes_back(column, len(column) - len(again))
            or not _others_move(log, column, again, moving)
        ):
            continue
        event = _event(log, column)
        only = f", and changes only where {said(event)} is not 0" if event else ""
        n = again[0]
        yield Case(
            "CXM552",
            key,
            f"{said(key)} repeats {column.values[n]:.10g} to the last digit{only}: in "
            f"{len(again)} of {len(column)} records it is the value of an older step",
            [Offender(column.rows[n], column.values[n]) for n in again],
            len(column),
            0.85 if event else 0.7,
            {"event": event, "distinct": column.distinct()},
            (event,) if event else (),
        )


def _measured(log: Log, column: Column) -> bool:
    """Whether the values have the digits of a measurement, and the name is of no setting."""
    words = set(log.names[column.key].words)
    if words & {
        "lr",
        "learning",
        "epoch",
        "memory",
        "max",
        "min",
        "best",
        "coef",
        "beta",
        "weight",
    }:
        return False
    fractions = [value for value in column.values if value % 1]
    return 2 * sum(map(_long, fractions)) > len(column)


def _long(value: float) -> bool:
    """Whether a value has the digits of a measurement: 0.5 has none."""
    return len(f"{value:.9e}".partition("e")[0].rstrip("0")) > DIGITS


def _monotone(column: Column) -> bool:
    """Whether the values only rise or only fall: the best so far, or a schedule."""
    steps = [b - a for a, b in pairwise(column.values)]
    return all(step >= 0 for step in steps) or all(step <= 0 for step in steps)


def _moving(log: Log) -> dict[str, Column]:
    """Columns that never repeat themselves."""
    return {
        key: column
        for key, column in log.columns.items()
        if not column.whole and all(a != b for a, b in pairwise(column.values))
    }


def _stale_counts(log: Log) -> Iterator[Case]:
    """Counts that change exactly where a flag is set, and stand still wherever it is not."""
    flags = [c for c in log.columns.values() if c.whole and (c.least, c.greatest) == (0, 1)]
    for column in log.columns.values():
        if not column.whole or column.distinct() < ENOUGH or len(column) < 2 * ENOUGH:
            continue
        again = [n for n in range(1, len(column)) if not _new(column, n)]
        if _monotone(column) or 5 * len(again) < len(column):
            continue
        still = {column.rows[n] for n in again}
        for flag in flags:
            off = {row for row, value in zip(flag.rows, flag.values, strict=True) if not value}
            off -= {column.rows[0]}
            beside = flag.rows == column.rows and len(off) >= ENOUGH
            if beside and off <= still and len(still - off) <= 0.1 * len(column):
                yield _stands(column, flag.key, again)
                break


def _stands(column: Column, flag: str, again: Sequence[int]) -> Case:
    n = again[0]
    return Case(
        "CXM552",
        column.key,
        f"{said(column.key)} stands at {column.values[n]:g} wherever {said(flag)} is 0: in "
        f"{len(again)} of {len(column)} records it is the value of an older step",
        [Offender(column.rows[n], column.values[n]) for n in again],
        len(column),
        0.85,
        {"event": flag},
        (flag,),
    )


def _comes_back(column: Column, runs: int) -> bool:
    """Whether values return after others: few values, as shares of few tokens have."""
    return column.distinct(len(column)) < 0.9 * runs


def _others_move(
    log: Log, column: Column, again: Sequence[int], moving: Mapping[str, Column]
) -> bool:
    """Whether measured values beside it changed in the records where it did not."""
    rows = [column.rows[n] for n in again[:50]]
    for other in moving.values():
        if _measured(log, other) and sum(other.at(row) is not None for row in rows) > 0.9 * len(
            rows
        ):
            return True
    return False


def _event(log: Log, column: Column) -> str | None:
    """A flag or count that is not zero exactly where the value changes."""
    changed = {column.rows[n] for n in range(1, len(column)) if _new(column, n)}
    for key, other in log.columns.items():
        if other.whole and other.least == 0 and other.rows == column.rows:
            pairs = zip(other.rows, other.values, strict=True)
            if {row for row, value in pairs if value} - {column.rows[0]} == changed:
                return key
    return None


def _new(column: Column, n: int) -> bool:
    return column.values[n] != column.values[n - 1]
