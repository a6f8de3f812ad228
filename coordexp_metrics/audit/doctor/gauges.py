"""A setting is what it is: a seed is whole, a maximum over objects at least one, a knob steady."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from ..series import Column
from .factors import Factor, known, makes_whole, nearly
from .log import Case, Log, Offender, said, shown

__all__ = ["diluted_gauges"]

WHOLE = frozenset({"seed", "seeds"})
BESIDE_SEED = frozenset(
    {
        "base", "data", "eval", "global", "np", "random", "rollout", "sampler", "torch", "train",
    }
)  # fmt: skip
FLAGS = frozenset({"enabled", "disabled"})
KNOBS = frozenset({"temperature", "top_p", "top_k", "repetition_penalty", "num_beams"})
WHOLE_KNOBS = frozenset({"top_k", "num_beams", "max_new_tokens", "world_size", "grad_steps"})
MOST = 64
ENOUGH = 3


@dataclass(frozen=True)
class Recovered:
    """What a diluted gauge was: ``value x n / k`` in each row."""

    true: tuple[int, ...]
    factors: tuple[float, ...]
    law: str
    source: str


def diluted_gauges(log: Log) -> Iterator[Case]:
    """A gauge averaged with micro-batches or ranks that never saw it (CXM540)."""
    shares: dict[int, float] = {}
    for key, name in log.names.items():
        column = log.columns[key]
        words = set(name.words)
        if column.whole or name.averages or name.rates:
            continue
        seed = words & WHOLE and words <= WHOLE | BESIDE_SEED
        if seed or name.last.lower() in WHOLE_KNOBS:
            yield _whole_gauge(log, column, shares)
        elif words & FLAGS or name.words[:1] in {("do",), ("use",)} or _declared_flag(log, key):
            yield from _flag(log, column)
        elif name.last.lower() in KNOBS:
            yield from _knob(log, column)
    yield from _maxima(log, shares)


def _whole_gauge(log: Log, column: Column, shares: dict[int, float]) -> Case:
    """A seed with a fraction; the factors that give it back hold for its whole row."""
    found = recover(log, column)
    odd = [n for n, value in enumerate(column.values) if value % 1]
    message = f"{said(column.key)} is {shown(column.values)}, but is whole by its meaning"
    evidence: dict[str, object] = {"factor": None, "true_values": None}
    expected: Sequence[float | None] = [None] * len(column)
    if found is not None:
        shares.update(zip(column.rows, found.factors, strict=True))
        factors = shown(dict.fromkeys(found.factors))
        message += (
            f": diluted by {factors} ({found.source}); its true values are "
            f"{shown(found.true, 6)}{found.law}"
        )
        evidence = {"factor": list(found.factors[:8]), "true_values": list(found.true[:8])}
        evidence["law"] = found.law.strip(" =,")
        expected = [float(value) for value in found.true]
    return Case(
        "CXM540",
        column.key,
        f"{message} ({len(odd)} of {len(column)} records)",
        [Offender(column.rows[n], column.values[n], expected[n]) for n in odd],
        len(column),
        0.99 if found else 0.85,
        evidence,
    )


def recover(log: Log, column: Column) -> Recovered | None:
    """The whole numbers behind ``column``: constant, or a line over the steps, times k / n."""
    base = makes_whole(log, column)
    if base is None:
        return None
    sums = [round(n * v) for n, v in zip(base.values, column.values, strict=True)]
    steps = [log.table.steps[row] for row in column.rows]
    usual = _usual(log, column.rows, base)
    for fit in (_constant(sums, base), _line(sums, steps, base, usual)):
        if fit is not None:
            true, law = fit
            shares = [n * t / s for n, t, s in zip(base.values, true, sums, strict=True)]
            source = f"{base} over the {shown(sorted(_ks(sums, true)))} that saw it"
            return Recovered(tuple(true), tuple(shares), law, source)
    return None


def _ks(sums: Sequence[int], true: Sequence[int]) -> set[int]:
    return {s // t for s, t in zip(sums, true, strict=True)}


def _usual(log: Log, rows: Sequence[int], base: Factor) -> set[int]:
    """How many of ``base`` one micro-step has, rounded either way."""
    found: set[int] = set()
    for factor in known(log, rows):
        if "micro" in factor.name:
            for n, m in zip(base.values, factor.values, strict=True):
                found |= {int(n // m), int(-(-n // m))}
    return found


def _constant(sums: Sequence[int], base: Factor) -> tuple[list[int], str] | None:
    """One value in every row, seen by the fewest that explain it."""
    for k in _divisors(sums[0], base.values[0]):
        true = sums[0] // k
        if true and all(
            s % true == 0 and 0 < s // true <= n for s, n in zip(sums, base.values, strict=True)
        ):
            return [true] * len(sums), ", the same in every record"
    return None


def _line(
    sums: Sequence[int], steps: Sequence[int], base: Factor, usual: set[int]
) -> tuple[list[int], str] | None:
    """A whole number a step, as seeds are often made; the simplest line that fits all rows."""
    last = len(sums) - 1
    if len(sums) < ENOUGH or steps[last] == steps[0]:
        return None
    best: tuple[tuple[int, int, int], list[int], str] | None = None
    for k, j in product(
        _divisors(sums[0], base.values[0]), _divisors(sums[last], base.values[last])
    ):
        first = sums[0] // k
        slope, rest = divmod(sums[last] // j - first, steps[last] - steps[0])
        if rest or not slope:
            continue
        true = [first + slope * (step - steps[0]) for step in steps]
        if all(t > 0 and s % t == 0 and s // t <= n for t, s, n in _with(true, sums, base)):
            ks = _ks(sums, true)
            start = first - slope * steps[0]
            score = len(ks - usual), len(ks), sum(ks)
            if best is None or score < best[0]:
                best = score, true, f" = {start} + {slope} x step"
    return None if best is None else best[1:]


def _with(
    true: Sequence[int], sums: Sequence[int], base: Factor
) -> Iterator[tuple[int, int, float]]:
    return zip(true, sums, base.values, strict=True)


def _divisors(number: int, most: float) -> list[int]:
    return [k for k in range(1, min(MOST, int(most)) + 1) if number and number % k == 0]


def _declared_flag(log: Log, key: str) -> bool:
    metric = log.metric(key)
    return metric is not None and metric.kind == "flag"


def _flag(log: Log, column: Column) -> Iterator[Case]:
    """A flag is 0 or 1: any other value is a mean of flags."""
    odd = [n for n, value in enumerate(column.values) if value % 1 and 0 < value < 1]
    if odd and column.greatest <= 1:
        factor = next(log.context.told(), None)
        told = f"; {factor[0]} is {factor[1]}" if factor else ""
        yield Case(
            "CXM540",
            column.key,
            f"{said(column.key)} is {shown(column.values[n] for n in odd)}, but a flag is 0 or 1: "
            f"averaged over those that never saw it{told} ({len(odd)} of {len(column)} records)",
            [Offender(column.rows[n], column.values[n], 1.0) for n in odd],
            len(column),
            0.85,
            {"factor": 1 / column.values[odd[0]], "true_values": [1.0]},
        )


def _knob(log: Log, column: Column) -> Iterator[Case]:
    """A knob that is k/n of itself in some records, and comes back: nobody turned it."""
    full = column.greatest
    low = [n for n, v in enumerate(column.values) if not nearly(v, full, column.quantum)]
    if full <= 0 or not low or len(low) > 0.8 * len(column) or not _returns(column, full):
        return
    for name, parts in _parts(log):
        fits = [n for n in low if _fraction(column.values[n] / full, parts, column.quantum / full)]
        if len(fits) == len(low):
            first = column.values[low[0]]
            yield Case(
                "CXM540",
                column.key,
                f"{said(column.key)} falls from {full:g} to {first:g} and comes back: "
                f"{round(parts * first / full)} of {parts} ({name}) saw it; its true value is "
                f"{full:g} ({len(low)} of {len(column)} records)",
                [Offender(column.rows[n], column.values[n], full) for n in low],
                len(column),
                0.8,
                {"factor": full / first, "true_values": [full]},
            )
            return


def _returns(column: Column, full: float) -> bool:
    """Whether the value falls and rises again: a schedule does not."""
    falls = [n for n in range(1, len(column)) if column.values[n] < column.values[n - 1]]
    rises = [n for n in range(1, len(column)) if column.values[n] > column.values[n - 1]]
    return bool(falls and rises) and nearly(max(column.values[rises[-1] :]), full, column.quantum)


def _parts(log: Log) -> Iterator[tuple[str, int]]:
    yield from log.context.told()
    for key in log.counters:
        column = log.columns[key]
        if column.constant and column.least <= MOST:
            yield said(key), int(column.least)
    yield from ((f"{n} ranks or micro-steps", n) for n in (2, 3, 4, 8, 16, 32))


def _fraction(share: float, parts: int, slack: float) -> bool:
    number = share * parts
    return 0 < round(number) < parts and abs(number - round(number)) <= parts * slack + 1e-5


def _maxima(log: Log, shares: Mapping[int, float]) -> Iterator[Case]:
    """A greatest count below one, and the gauges beside it that lost the same share."""
    found: dict[str, list[str]] = {}
    for key, name in log.names.items():
        column = log.columns[key]
        if not name.greatest or column.whole or column.least < 0:
            continue
        low = [n for n, value in enumerate(column.values) if 0 < value < 1]
        if low and 2 * len(low) > len(column):
            found.setdefault(name.family, []).append(key)
            yield _maximum(log, column, low, _share(shares, column))
    for family, maxima in found.items():
        yield from _beside(log, family, maxima, shares)


def _share(shares: Mapping[int, float], column: Column) -> list[float]:
    """The factor of each row, where a gauge beside gave all of them away."""
    return [shares[row] for row in column.rows] if all(r in shares for r in column.rows) else []


def _maximum(log: Log, column: Column, low: Sequence[int], share: Sequence[float]) -> Case:
    message = (
        f"{said(column.key)} is {shown(column.values[n] for n in low)}: a greatest of at least one "
        f"object is never below 1, so it was averaged with batches that had none"
    )
    true: list[float] = []
    if share:
        true = [k * v for k, v in zip(share, column.values, strict=True)]
    whole = makes_whole(log, column, true, max(share)) if share else None
    evidence: dict[str, object] = {"factor": list(share[:8]) or None, "true_values": None}
    if true and min(true) >= 1 - 1e-6:
        evidence["true_values"] = [round(value, 6) for value in true[:8]]
        message += (
            f"; by the factor {shown(dict.fromkeys(share))} of its records it is {shown(true)}"
        )
        if whole is not None:
            message += f", and that times {whole} is whole"
    return Case(
        "CXM540",
        column.key,
        f"{message} ({len(low)} of {len(column)} records)",
        [Offender(column.rows[n], column.values[n], true[n] if true else None) for n in low],
        len(column),
        0.97 if whole is not None else 0.9,
        evidence,
    )


def _beside(
    log: Log, family: str, maxima: Sequence[str], shares: Mapping[int, float]
) -> Iterator[Case]:
    """Where the maxima of a family are diluted, its other gauges came the same way."""
    for key in log.families[family]:
        column, name = log.columns[key], log.names[key]
        same = column.rows == log.columns[maxima[0]].rows
        if key in maxima or column.whole or not same or name.counts or name.averages:
            continue
        share = _share(shares, column)
        true = [k * v for k, v in zip(share, column.values, strict=False)]
        would = f"; by the same factor it is {shown(true)}" if true else ""
        yield Case(
            "CXM540",
            key,
            f"{said(key)} came the way of {said(maxima[0])}, which is diluted: it probably is "
            f"too{would} ({len(column)} records)",
            [
                Offender(row, value, true[n] if true else None)
                for n, (row, value) in enumerate(zip(column.rows, column.values, strict=True))
            ],
            len(column),
            0.6,
            {"factor": list(share[:8]) or None, "true_values": true[:8] or None},
            tuple(maxima[:1]),
        )
