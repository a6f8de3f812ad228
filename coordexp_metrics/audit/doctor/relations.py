"""Kin keys keep what their names promise: x_rate = x_num / x_den, p50 <= p90 <= max."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from .factors import explained, nearly
from .log import Case, Log, Offender, said, shown
from .words import Name

__all__ = ["broken_relations", "order_of_quantiles", "parts_and_whole", "sums_under_means"]

ENOUGH = 3
ORDER = ("min", "p01", "p05", "p10", "p25", "p50", "median", "p75", "p90", "p95", "p99", "max")


def broken_relations(log: Log) -> Iterator[Case]:
    """A ratio that is not what its parts give (CXM520, or CXM511 where it is a sum)."""
    for key, name in log.names.items():
        if log.metric(key) is not None and getattr(log.metric(key), "formula", None) is not None:
            continue
        for part, whole, sure in _parts(log, key, name):
            case = _ratio(log, key, part, whole, sure=sure)
            if case is not None:
                yield case
                break


def _parts(log: Log, key: str, name: Name) -> Iterator[tuple[str, str, bool]]:
    """Numerator and denominator by name, and whether the name leaves no doubt."""
    if name.averages:
        total, count = log.kin(key, "_total", "_sum"), log.kin(key, "_count", "_num")
        if total and count:
            yield total, count, False
    elif name.rates or name.shares or name.last.endswith("_mean"):
        for num, den in (("_rate_num", "_rate_den"), ("_num", "_den"), ("_frac_num", "_frac_den")):
            part, whole = log.kin(key, num), log.kin(key, den)
            if part and whole:
                yield part, whole, True


def _ratio(log: Log, key: str, part: str, whole: str, *, sure: bool) -> Case | None:
    rows, (values, parts, wholes) = log.table.together([key, part, whole])
    column = log.columns[key]
    found = [
        (row, value, n / d)
        for row, value, n, d in zip(rows, values, parts, wholes, strict=True)
        if d
    ]
    at = [(r, v, t) for r, v, t in found if not nearly(v, t, column.slack(v) + 1e-5 * abs(t))]
    if not at:
        return None
    factor = explained(log, [r for r, _, _ in at], [v / t if t else 0.0 for _, v, t in at])
    if factor is None and (len(at) == len(found) or 2 * len(at) > len(found)) and not sure:
        return None
    because = f"; the factor is {factor}" if factor else ""
    rule = "CXM511" if factor and log.names[key].averages else "CXM520"
    return Case(
        rule,
        key,
        f"{said(key)} is {at[0][1]:.9g}, but {said(part)} / {said(whole)} is {at[0][2]:.9g}"
        f"{because} ({len(at)} of {len(found)} records)",
        [Offender(r, v, t) for r, v, t in at],
        len(found),
        0.9 if sure or factor else 0.7,
        {"factor": factor.values[0] if factor else None, "true_values": [t for _, _, t in at[:8]]},
        (part, whole),
    )


def sums_under_means(log: Log) -> Iterator[Case]:
    """A sum under the name of a mean or share (CXM511)."""
    for key, name in log.names.items():
        column = log.columns[key]
        if name.averages:
            yield from _is_its_total(log, key)
        elif name.shares and column.greatest > 1 and log.metric(key) is None:
            over = [n for n, value in enumerate(column.values) if value > 1 + 1e-6]
            within = [v for v in column.values if 0 < v <= 1]
            if 2 * len(within) <= len(column) or column.greatest > 64:
                continue  # percent, or another meaning
            yield Case(
                "CXM511",
                key,
                f"{said(key)} is a share, but {shown(column.values[n] for n in over)} in "
                f"{len(over)} of {len(column)} records: shares were added",
                [Offender(column.rows[n], column.values[n]) for n in over],
                len(column),
                0.75,
            )


def _is_its_total(log: Log, key: str) -> Iterator[Case]:
    total = log.kin(key, "_total", "_sum")
    if total is None:
        return
    rows, (means, totals) = log.table.together([key, total])
    count = log.kin(key, "_count")
    if count is not None and _ratio(log, key, total, count, sure=False) is not None:
        return  # said already, with its factor
    counts = log.columns[count] if count else None
    at = [
        (row, a)
        for row, a, b in zip(rows, means, totals, strict=True)
        if a == b and a and (counts is None or (counts.at(row) or 0) > 1)
    ]
    if len(at) >= ENOUGH and len(at) == len(rows) and len({a for _, a in at}) > 2:
        yield Case(
            "CXM511",
            key,
            f"{said(key)} equals {said(total)} in all {len(rows)} records ({at[0][1]:.6g}): a sum "
            "under the name of a mean",
            [Offender(row, value) for row, value in at],
            len(rows),
            0.85 if count else 0.6,
            {"total": total},
            (total,),
        )


def order_of_quantiles(log: Log) -> Iterator[Case]:
    """A higher quantile is no less, and a mean lies between the extremes (CXM512)."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for key, name in log.names.items():
        marks = [word for word in name.words if word in ORDER or word in {"mean", "avg"}]
        if len(marks) == 1:
            rest = tuple(word for word in name.words if word != marks[0])
            mark = "mean" if marks[0] == "avg" else marks[0]
            groups.setdefault((name.family, *rest), {})[mark] = key
    for marks_of in groups.values():
        ordered = [marks_of[mark] for mark in ORDER if mark in marks_of]
        pairs = list(pairwise(ordered))
        if "mean" in marks_of:
            pairs += [(marks_of["min"], marks_of["mean"])] if "min" in marks_of else []
            pairs += [(marks_of["mean"], marks_of["max"])] if "max" in marks_of else []
        for low, high in pairs:
            yield from _disorder(log, low, high)


def _disorder(log: Log, low: str, high: str) -> Iterator[Case]:
    rows, (lows, highs) = log.table.together([low, high])
    slack = log.columns[low].quantum + log.columns[high].quantum
    at = [
        (row, a, b)
        for row, a, b in zip(rows, lows, highs, strict=True)
        if a > b + slack + 1e-5 * abs(a)
    ]
    if at:
        yield Case(
            "CXM512",
            low,
            f"{said(low)} is {at[0][1]:.6g} above {said(high)} at {at[0][2]:.6g} in {len(at)} of "
            f"{len(rows)} records",
            [Offender(row, a, b) for row, a, b in at],
            len(rows),
            0.9,
            {"no_more_than": high},
            (high,),
        )


def parts_and_whole(log: Log) -> Iterator[Case]:
    """Parts add up to their whole, in all records or in none (CXM523)."""
    for whole, parts in _partitions(log):
        yield from _sum(log, whole, parts)
    yield from _shares_of_one(log)
    yield from _missing_part(log)


def _partitions(log: Log) -> Iterator[tuple[str, list[str]]]:
    """``x_total`` and its ``x_a``, ``x_b``; ``things/total`` and what lies beside it."""
    for key, name in log.names.items():
        if not log.columns[key].whole or name.words[-1:] != ("total",) or len(name.words) < 2:
            continue
        stem = name.words[:-1]
        parts = [
            k
            for k in log.families[name.family]
            if k != key
            and log.names[k].words[: len(stem)] == stem
            and len(log.names[k].words) == len(stem) + 1
            and log.columns[k].whole
            and log.names[k].words[-1] not in {"mean", "max", "min", "count", "sum"}
        ]
        if len(parts) >= 2:
            yield key, parts


def _sum(log: Log, whole: str, parts: Sequence[str]) -> Iterator[Case]:
    rows, (wholes, *columns) = log.table.together([whole, *parts])
    sums = [sum(values) for values in zip(*columns, strict=True)]
    at = [
        (row, whole_, sum_)
        for row, whole_, sum_ in zip(rows, wholes, sums, strict=True)
        if whole_ != sum_
    ]
    if at and len(rows) - len(at) >= ENOUGH and 2 * len(at) <= len(rows):
        yield Case(
            "CXM523",
            whole,
            f"{said(whole)} is {at[0][1]:g}, but {' + '.join(map(said, parts))} is {at[0][2]:g}: "
            f"they differ in {len(at)} of {len(rows)} records and agree in the others",
            [Offender(row, a, b) for row, a, b in at],
            len(rows),
            0.85,
            {"parts": list(parts)},
            tuple(parts),
        )


def _shares_of_one(log: Log) -> Iterator[Case]:
    """``x_a_frac`` and ``x_b_frac``, which add up to one where they are all there is."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for key, name in log.names.items():
        if len(name.words) >= 3 and name.words[-1] in {"frac", "fraction", "share"}:
            metric = log.metric(key)
            if metric is None or metric.formula is None:
                groups.setdefault((name.family, *name.words[:-2]), []).append(key)
    for keys in groups.values():
        if len(keys) < 2:
            continue
        rows, columns = log.table.together(keys)
        sums = [sum(values) for values in zip(*columns, strict=True)]
        slack = sum(log.columns[key].quantum for key in keys)
        at = [(r, s) for r, s in zip(rows, sums, strict=True) if not nearly(s, 1, slack + 1e-4)]
        if at and 2 * len(at) <= len(rows):
            yield Case(
                "CXM523",
                keys[0],
                f"{' + '.join(map(said, keys))} is {at[0][1]:.6g} in {len(at)} of {len(rows)} "
                "records and 1 in the others",
                [Offender(row, value, 1.0) for row, value in at],
                len(rows),
                0.85,
                {"parts": keys},
                tuple(keys[1:]),
            )


# Words that say at which stage things were counted, not which things.
STAGES = frozenset(
    {
        "count", "den", "n", "num", "obj", "object", "pars", "parse", "strict", "sum", "total",
    }
)  # fmt: skip


def _missing_part(log: Log) -> Iterator[Case]:
    """Two counts of one thing that differ by exactly a third count in every record."""
    counts: dict[frozenset[str], list[str]] = {}
    for key, name in log.names.items():
        column = log.columns[key]
        if column.whole and column.least >= 0 and not column.constant and not name.rates:
            bag = frozenset(map(_bare, name.words)) - STAGES
            if len(bag) >= 2 and len(column) >= ENOUGH:
                counts.setdefault(bag, []).append(key)
    for keys in counts.values():
        for key in keys:
            for other in keys:
                if key != other:
                    yield from _differ_by_a_count(log, key, other)


def _bare(word: str) -> str:
    """``dropped`` and ``drop``, ``objects`` and ``object``."""
    for ending in ("ped", "ed", "s"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            return word[: -len(ending)]
    return word


def _differ_by_a_count(log: Log, more: str, less: str) -> Iterator[Case]:
    rows, (many, few) = log.table.together([more, less])
    apart = [a - b for a, b in zip(many, few, strict=True)]
    if len(rows) < ENOUGH or min(apart) <= 0 or len(set(apart)) < ENOUGH:
        return
    for third, column in log.columns.items():
        if not column.whole or third in {more, less}:
            continue
        values = [column.at(row) for row in rows]
        if values == apart and values != list(many) and values != list(few):
            yield Case(
                "CXM523",
                less,
                f"{said(less)} is {shown(few)} where {said(more)} is {shown(many)}: what "
                f"{said(third)} counts ({shown(apart)}) is missing, in {len(rows)} of {len(rows)} "
                "records, so totals over it are not conserved",
                [Offender(r, b, a) for r, a, b in zip(rows, many, few, strict=True)],
                len(rows),
                0.85,
                {"twin": more, "missing": third},
                (more, third),
                more,
            )
            return
