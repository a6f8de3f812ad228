"""Seconds are of their step, and a throughput divides its own things by its own seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median

from ...contract.kinds import Total
from ..series import Column
from .factors import explained
from .log import Case, Log, Offender, said, shown

__all__ = ["cumulative_clocks", "cumulative_counters", "mixed_throughput"]

ENOUGH = 5
PAIRED = 12
CLOSE = 1e-4
SPACES = frozenset({"time", "timing", "timer", "timers", "perf"})


def cumulative_clocks(log: Log) -> Iterator[Case]:
    """A clock of the whole run among those of the step (CXM571)."""
    for key, name in log.names.items():
        column = log.columns[key]
        if not name.clock or len(column) < ENOUGH:
            continue
        beside = [
            k
            for k in log.families[name.family]
            if log.names[k].clock and not _grows(log.columns[k])
        ]
        space = SPACES.intersection(name.family.strip("/").split("/"))
        metric = log.metric(key)
        declared = metric is not None and metric.kind not in {"cumulative", "derived"}
        if not (declared or (space and beside)) or not _grows(column):
            continue
        beside.sort(key=lambda k: -len(log.columns[k]))
        among = f" among clocks of the step such as {said(beside[0])}" if beside else ""
        steps = [b - a for a, b in pairwise(column.values)]
        true = [column.values[0], *steps]
        yield Case(
            "CXM571",
            key,
            f"{said(key)} only grows, from {column.values[0]:.5g} to {column.values[-1]:.5g}: it "
            f"is a clock of the whole run{among}; its "
            f"differences are {shown(steps)} ({len(column)} of {len(column)} records)",
            [Offender(r, v, t) for r, v, t in zip(column.rows, column.values, true, strict=True)],
            len(column),
            0.9,
            {"true_values": steps[:8], "beside": beside[:1]},
            tuple(beside[:1]),
        )


def _grows(column: Column) -> bool:
    """Whether it adds up: it never falls, and ends far beyond its greatest step."""
    steps = [b - a for a, b in pairwise(column.values)]
    up = [step for step in steps if step > 0]
    if len(up) < ENOUGH - 1 or min(steps) < 0 or column.least < 0:
        return False
    even = median(up)
    return column.values[-1] - column.values[0] > 3 * even and max(up) < 20 * even and (
        column.greatest > 0.5 * len(up) * even
    )  # fmt: skip


def cumulative_counters(log: Log) -> Iterator[Case]:
    """A total of the step that adds up over the run (CXM572); only where it is declared."""
    for key, column in log.columns.items():
        metric = log.metric(key)
        if not isinstance(metric, Total) or len(column) < 2 * ENOUGH or not _grows(column):
            continue
        steps = [b - a for a, b in pairwise(column.values)]
        if max(steps[ENOUGH:]) <= 0 or column.values[-1] < 0.5 * len(steps) * median(steps):
            continue
        yield Case(
            "CXM572",
            key,
            f"{said(key)} is declared as a total of the step but never falls, from "
            f"{column.values[0]:g} to {column.values[-1]:g}; its differences are {shown(steps)} "
            f"({len(column)} of {len(column)} records)",
            [Offender(r, v) for r, v in zip(column.rows, column.values, strict=True)],
            len(column),
            0.8,
            {"true_values": steps[:8]},
        )


def mixed_throughput(log: Log) -> Iterator[Case]:
    """Things a second, whose things and seconds are of two populations (CXM570)."""
    for key, name in log.names.items():
        words = name.throughput
        if words is None or len(log.columns[key]) < 3:
            continue
        totals = [k for k in log.columns if _counts(log, k, words)]
        clocks = [k for k, n in log.names.items() if n.clock or n.last.endswith("runtime")]
        pairs = [(total, clock) for total in totals[:PAIRED] for clock in clocks[:PAIRED]]
        right = next((pair for pair in pairs if _is(log, key, *pair)), None)
        if right is not None:
            yield from _more_generated(log, key, *right)
        else:
            fits = [pair for pair in pairs if _ratio(log, key, *pair) is not None]
            yield from _explained(log, key, fits, clocks)


def _counts(log: Log, key: str, words: Sequence[str]) -> bool:
    """Whether ``key`` is a total of the things that ``words`` name."""
    name = log.names[key]
    mine = set(name.words)
    return set(words) <= mine and (name.counts or name.things) and name.throughput is None


def _ratio(log: Log, key: str, total: str, clock: str) -> list[tuple[int, float, float]] | None:
    """Row, logged value and quotient, where at least three records have all three."""
    rows, (rates, totals, seconds) = log.table.together([key, total, clock])
    found = [
        (row, rate, n / s)
        for row, rate, n, s in zip(rows, rates, totals, seconds, strict=True)
        if s > 0 and n
    ]
    return found if len(found) >= 3 else None


def _is(log: Log, key: str, total: str, clock: str) -> bool:
    """Whether ``key`` is ``total`` / ``clock`` in every record; its first one rules most out."""
    rates, things, seconds = (log.columns[k] for k in (key, total, clock))
    for row, rate in zip(rates.rows, rates.values, strict=True):
        n, s = things.at(row), seconds.at(row)
        if n is not None and s:
            if not _close(rate, n / s, rates):
                return False
            break
    found = _ratio(log, key, total, clock) or []
    return bool(found) and all(_close(rate, true, rates) for _, rate, true in found)


def _close(rate: float, true: float, column: Column) -> bool:
    return abs(rate - true) <= CLOSE * abs(rate) + 1.01 * column.quantum


def _explained(
    log: Log, key: str, pairs: Sequence[tuple[str, str]], clocks: Sequence[str]
) -> Iterator[Case]:
    """What it divides instead: another total, or its own times the number of ranks."""
    for total, clock in pairs:
        found = _ratio(log, key, total, clock) or []
        factor = explained(log, [r for r, _, _ in found], [a / b for _, a, b in found])
        if factor is not None:
            why = f"{factor} times {said(total)} / {said(clock)}"
            yield _mixed(key, why, found, (total, clock), factor.values[0])
            return
    own = {total for total, _ in pairs}
    others = [k for k, n in log.names.items() if k not in own and log.columns[k].whole]
    for clock in clocks[:PAIRED] if own else ():
        for other in others[:100]:
            if log.columns[other].distinct() > 2 and _is(log, key, other, clock):
                total = min(own)
                true = _ratio(log, key, total, clock)
                if true is None:
                    continue
                why = f"{said(other)} / {said(clock)}, not {said(total)} / {said(clock)}"
                yield _mixed(key, why, true, (other, clock), None)
                return


def _mixed(
    key: str,
    why: str,
    found: Sequence[tuple[int, float, float]],
    beside: tuple[str, ...],
    factor: float | None,
) -> Case:
    return Case(
        "CXM570",
        key,
        f"{said(key)} is {found[0][1]:.6g} where {found[0][2]:.6g} is right: it is {why} "
        f"({len(found)} of {len(found)} records)",
        [Offender(row, rate, true) for row, rate, true in found],
        len(found),
        0.85,
        {"factor": factor, "true_values": [true for _, _, true in found[:8]]},
        beside,
    )


def _more_generated(log: Log, key: str, total: str, clock: str) -> Iterator[Case]:
    """The total is of one policy, and the seconds are of several (``rollout/explorer/...``)."""
    name = log.names[total]
    stem = "_".join(name.stem)
    below = {
        k: log.names[k].family
        for k in log.columns
        if k.startswith(name.family) and k.endswith(f"/{stem}_mean")
    }
    own = name.family + stem + "_mean"
    if own not in log.columns or len(below) < 3:
        return
    same = [k for k in below if k != own and _same(log, k, own)]
    more = [k for k in below if k != own and k not in same]
    if len(same) != 1 or not more:
        return
    rows, (values, means, other) = log.table.together([key, own, more[0]])
    true = [v * (1 + o / m) for v, o, m in zip(values, other, means, strict=True) if m]
    if len(true) != len(rows):
        return
    yield Case(
        "CXM570",
        key,
        f"{said(key)} divides the tokens of {said(below[same[0]])} alone by {said(clock)}, though "
        f"{said(below[more[0]])} generated {shown(other)} a sample beside its {shown(means)}: if "
        f"the clock covers both, {shown(true)} is right ({len(rows)} of {len(rows)} records)",
        [Offender(r, v, t) for r, v, t in zip(rows, values, true, strict=True)],
        len(rows),
        0.6,
        {"total": total, "missing": more[0], "true_values": true[:8]},
        (total, clock),
    )


def _same(log: Log, key: str, other: str) -> bool:
    return log.columns[key].values == log.columns[other].values
