"""Two names of one number have one value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .factors import nearly
from .log import Case, Log, Offender, said

__all__ = ["disagreeing_twins"]

RECENT = 5


def disagreeing_twins(log: Log) -> Iterator[Case]:
    """Two keys for one number, with two values (CXM553)."""
    for prefix in log.copies:
        for key in log.table.columns:
            if key.startswith(prefix):
                yield from _unlike_live(log, key, key[len(prefix) :])
    yield from _aliases(log)
    yield from _prefixed(log)
    yield from _nearly_equal(log)


def _unlike_live(log: Log, key: str, live: str) -> Iterator[Case]:
    """A copy that is no value that its live twin ever had up to then."""
    copy, own = log.table.columns[key], log.columns.get(live)
    if own is None:
        return
    at: list[Offender] = []
    past: list[float] = []
    seen: set[float] = set()
    live_values = iter(zip(own.rows, own.values, strict=True))
    upcoming = next(live_values, None)
    for row, value in zip(copy.rows, copy.values, strict=True):
        while upcoming is not None and upcoming[0] <= row:
            past.append(upcoming[1])
            seen.add(upcoming[1])
            upcoming = next(live_values, None)
        if past and value not in seen and not _near(value, past[-RECENT:], own.quantum):
            at.append(Offender(row, value, past[-1]))
    if at:
        yield Case(
            "CXM553",
            key,
            f"{said(key)} is {at[0].value:.10g}, a value that {said(live)} never had; it was "
            f"{at[0].expected:.10g} last ({len(at)} of {len(copy)} records)",
            at,
            len(copy),
            0.85,
            {"twin": live},
            (live,),
        )


def _near(value: float, past: Sequence[float], slack: float) -> bool:
    return any(nearly(value, other, slack) for other in past)


def _aliases(log: Log) -> Iterator[Case]:
    """Two declared spellings of one metric in one record."""
    found: dict[tuple[str, str], list[Offender]] = {}
    for keys, plan in log.plans.items():
        shape = log.table.shapes[keys]
        for double, position in plan.names.doubles.items():
            pair = shape.keys[double], shape.keys[position]
            for entry, row in enumerate(shape.rows) if not log.copied(pair[0]) else ():
                values = shape.values(entry)
                if values[double] != values[position]:
                    offender = Offender(row, values[double], values[position])
                    found.setdefault(pair, []).append(offender)
    for (key, other), at in found.items():
        yield Case(
            "CXM553",
            key,
            f"{said(key)} is {at[0].value:.10g} where {said(other)} is {at[0].expected:.10g}: two "
            f"names of one metric disagree in {len(at)} records",
            at,
            len(log.columns[key]),
            0.95,
            {"twin": other},
            (other,),
            "declared",
        )


def _prefixed(log: Log) -> Iterator[Case]:
    """``train/x`` beside ``x``."""
    for key in log.columns:
        if key.startswith(("train/", "eval/")) and key.partition("/")[2] in log.columns:
            other = key.partition("/")[2]
            yield from _unequal(log, key, other, sure=0.8, most=0.8, equal=1)


def _nearly_equal(log: Log) -> Iterator[Case]:
    """Keys with one last segment that agree nearly always."""
    lasts: dict[str, list[str]] = {}
    for key, name in log.names.items():
        if log.columns[key].distinct() >= 4 and len(log.columns[key]) >= 10:
            lasts.setdefault(name.last, []).append(key)
    for keys in lasts.values():
        for at, key in enumerate(keys[:20]):
            for other in keys[at + 1 : 20]:
                if not key.endswith(f"/{other}"):
                    yield from _unequal(log, key, other, sure=0.7, most=0.2, equal=4)


def _unequal(
    log: Log, key: str, other: str, *, sure: float, most: float, equal: int
) -> Iterator[Case]:
    rows, (ours, theirs) = log.table.together([key, other])
    slack = log.columns[key].quantum + log.columns[other].quantum
    at = [
        Offender(row, a, b)
        for row, a, b in zip(rows, ours, theirs, strict=True)
        if not nearly(a, b, slack)
    ]
    agreed = {a for a, b in zip(ours, theirs, strict=True) if a == b and a}
    if at and len(at) <= most * len(rows) and len(agreed) >= equal:
        yield Case(
            "CXM553",
            key,
            f"{said(key)} is {at[0].value:.10g} where {said(other)} is {at[0].expected:.10g}: two "
            f"names of one number disagree in {len(at)} of {len(rows)} records",
            at,
            len(rows),
            sure,
            {"twin": other},
            (other,),
        )
