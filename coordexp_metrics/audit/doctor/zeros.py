"""Absent is not zero: a mean over nothing and a loss that was NaN are not 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from ..series import Column
from .log import Case, Log, Offender, said, shown

__all__ = ["constant_rates", "hidden_nans", "switched_off", "zeros_for_nothing"]

MEASURED = frozenset(
    {
        "cosine", "distance", "entropy", "iou", "len", "length", "logp", "maskiou", "ppl", "score",
        "sim", "similarity", "time",
    }
)  # fmt: skip
POSITIVE = frozenset(["entropy", "loss", "nll", "perplexity", "ppl"])
ENOUGH = 5
HARD_ZEROS = 3


def zeros_for_nothing(log: Log) -> Iterator[Case]:
    """A mean or rate of nothing, logged as a number (CXM560)."""
    for key, name in log.names.items():
        if name.averages or name.rates or name.shares:
            endings = ("_rate_den", "_den") if not name.averages else ("_count", "_den", "_num")
            count = log.kin(key, *endings)
            if count is not None and count != key:
                yield from _of_nothing(log, key, count)
            if name.averages and MEASURED.intersection(name.words):
                yield from _always_zero(log, key, log.kin(key, "_count"))


def _of_nothing(log: Log, key: str, count: str) -> Iterator[Case]:
    rows, (values, counts) = log.table.together([key, count])
    empty = [n for n, number in enumerate(counts) if number == 0]
    at = [n for n in empty if values[n] in {0.0, 1.0}]
    if at:
        yield Case(
            "CXM560",
            key,
            f"{said(key)} is {values[at[0]]:g} where {said(count)} is 0: nothing was measured, so "
            f"it must be absent ({len(at)} of {len(rows)} records)",
            [Offender(rows[n], values[n]) for n in at],
            len(rows),
            0.9,
            {"count_key": count},
            (count,),
        )


def _always_zero(log: Log, key: str, count: str | None) -> Iterator[Case]:
    """The sum that a mean is read from was never logged."""
    if count is None or len(log.columns[key]) < ENOUGH:
        return
    column, counted = log.columns[key], log.columns[count]
    if column.least == column.greatest == 0 and counted.least > 0 and not counted.constant:
        yield Case(
            "CXM560",
            key,
            f"{said(key)} is 0 in all {len(column)} records, over {shown(counted.values)} things "
            f"({said(count)}): a part of the ratio is missing",
            [Offender(row, 0.0) for row in column.rows],
            len(column),
            0.75,
            {"count_key": count},
            (count,),
            "always",
        )


def hidden_nans(log: Log) -> Iterator[Case]:
    """A hard zero in a series that is never near zero (CXM561)."""
    for key, column in log.columns.items():
        if column.least != 0 or column.whole or len(column) < 2 * ENOUGH:
            continue
        name = log.names[key]
        if not POSITIVE.intersection(name.words[-2:]) or name.counts:
            continue
        above = sorted(value for value in column.values if value > 0)
        at = [n for n, value in enumerate(column.values) if value == 0]
        if not above or len(at) > 0.2 * len(column) or above[0] < 0.1 * median(above):
            continue
        lost = [n for n in at if column.rows[n] in log.table.nonfinite]
        beside = ", beside numbers that are not finite" if lost else ""
        yield Case(
            "CXM561",
            key,
            f"{said(key)} is exactly 0 in {len(at)} of {len(column)} records and never below "
            f"{above[0]:.4g} in the others{beside}: NaN was probably replaced",
            [Offender(column.rows[n], 0.0) for n in at],
            len(column),
            0.95 if lost else 0.75,
            {"least_otherwise": above[0], "beside_nonfinite": len(lost)},
        )


def switched_off(log: Log) -> Iterator[Case]:
    """Numbers of a feature that is off: zeros that nothing measured (CXM562)."""
    groups: dict[tuple[str, tuple[str, ...]], list[Column]] = {}
    for key, name in log.names.items():
        column = log.columns[key]
        words = name.words[1:] if name.words[:1] == ("n",) else name.words
        if column.least == column.greatest == 0 and len(column) >= HARD_ZEROS and len(words) > 2:
            groups.setdefault((name.family, words[:2]), []).append(column)
    for (family, words), columns in groups.items():
        same = [k for k, n in log.names.items() if n.family == family and _starts(n.words, words)]
        if len(columns) >= HARD_ZEROS and len(same) == len(columns):
            first = columns[0]
            yield Case(
                "CXM562",
                first.key,
                f"{said(family + '_'.join(words) + '*')}: {len(columns)} keys are 0 in every "
                f"record ({', '.join(said(c.key) for c in columns[:3])}...): a feature that is "
                "off measures nothing",
                [Offender(row, 0.0) for row in first.rows],
                len(first),
                0.6,
                {"keys": [column.key for column in columns]},
            )


def _starts(name: Sequence[str], words: Sequence[str]) -> bool:
    return tuple(name[1:] if name[:1] == ("n",) else name)[: len(words)] == tuple(words)


def constant_rates(log: Log) -> Iterator[Case]:
    """A rate whose numerator is its denominator says nothing (CXM563)."""
    for key, name in log.names.items():
        column = log.columns[key]
        if not (name.rates or name.shares) or len(column) < ENOUGH:
            continue
        part, whole = log.kin(key, "_rate_num", "_num"), log.kin(key, "_rate_den", "_den")
        if column.least != 1 or column.greatest != 1 or part is None or whole is None:
            continue
        _, (parts, wholes) = log.table.together([part, whole])
        if len(set(wholes)) >= 3 and parts == wholes:
            yield Case(
                "CXM563",
                key,
                f"{said(key)} is 1 in all {len(column)} records: {said(part)} and {said(whole)} "
                f"are always equal ({shown(wholes)}), so both count the same",
                [Offender(row, 1.0) for row in column.rows],
                len(column),
                0.8,
                {"numerator": part, "denominator": whole},
                (part, whole),
            )
