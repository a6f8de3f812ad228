"""A factor explains a fault when it is whole, or a number of the log, in every record at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..series import Column
from .log import Log, said

__all__ = ["Factor", "explained", "nearly", "makes_whole"]

TRIED = 64
# What things are handed out by: the likelier a factor the earlier it is tried.
USUAL = ("micro", "accum", "world", "ranks", "packs", "segments", "samples", "rollouts", "batch")


@dataclass(frozen=True)
class Factor:
    """A number a row, and where it comes from.

    Attributes:
        name: the key that logs it, or who told it; empty where nobody did.
        values: the factor in each row.
        logged: whether it is a key of the log.
    """

    name: str
    values: tuple[float, ...]
    logged: bool = False

    @property
    def constant(self) -> bool:
        """Whether it is the same in every row."""
        return len(set(self.values)) == 1

    def __str__(self) -> str:
        source = said(self.name) if self.logged else self.name
        numbers = " or ".join(f"{value:.10g}" for value in list(dict.fromkeys(self.values))[:3])
        return f"{numbers} ({source})" if source else numbers


def nearly(a: float, b: float, slack: float = 0.0) -> bool:
    """Whether two numbers are the same but for rounding and float32."""
    return abs(a - b) <= slack + 1e-6 * max(abs(a), abs(b))


def known(
    log: Log, rows: Sequence[int], fits: Callable[[float], bool] | None = None
) -> Iterator[Factor]:
    """Factors that the user told, and then those in the log, likeliest first.

    ``fits`` looks at the factor of the first row, which spares the others.
    """
    for name, number in log.context.told():
        if fits is None or fits(number):
            yield Factor(name, (float(number),) * len(rows))
    for key in sorted(log.counters, key=lambda key: _rank(log, key))[:TRIED]:
        column = log.columns[key]
        first = column.at(rows[0])
        if first is None or (fits is not None and not fits(first)):
            continue
        values = column.values if column.rows == rows else [column.at(row) for row in rows]
        if None not in values:
            yield Factor(key, tuple(v for v in values if v is not None), logged=True)


def _rank(log: Log, key: str) -> tuple[int, float, str]:
    words = log.names[key].words
    place = next((n for n, usual in enumerate(USUAL) if usual in words), len(USUAL))
    return place, log.columns[key].greatest, key


def explained(log: Log, rows: Sequence[int], ratios: Sequence[float]) -> Factor | None:
    """The whole factor, two or more, that every one of ``ratios`` is; None where there is none."""
    if not ratios or min(ratios) < 1.5:
        return None
    for factor in known(log, rows, lambda k: nearly(ratios[0], k)):
        if all(nearly(a, b) for a, b in zip(ratios, factor.values, strict=True)):
            return factor
    first = round(ratios[0])
    if all(nearly(ratio, first) for ratio in ratios):
        return Factor("", (float(first),) * len(ratios))
    return None


def makes_whole(
    log: Log, column: Column, values: Sequence[float] | None = None, coarser: float = 1.0
) -> Factor | None:
    """The factor that turns all fractions into whole numbers, where chance would not.

    Args:
        log: where factors come from.
        column: the fractions.
        values: numbers to take for its values.
        coarser: by how much their rounding is coarser than the column's.
    """
    values, rows = values or column.values, column.rows
    quantum, grain = 1.01 * coarser * column.quantum, max(column.grain, 1e-11)
    odd = sum(1 for value in values if value % 1)
    first = values[0]

    def fits(k: float) -> bool:
        return abs(k * first - round(k * first)) <= k * (quantum + 2 * grain * abs(first)) + 1e-9

    for factor in known(log, rows, fits):
        slacks = [
            k * (quantum + 2 * grain * abs(v)) + 1e-9
            for k, v in zip(factor.values, values, strict=True)
        ]
        chance = 1.0
        for slack in slacks[:40]:
            chance *= min(1.0, 2 * slack)
        if odd < 2 or chance > 1e-5 or max(slacks) > 0.2:
            continue
        products = [k * v for k, v in zip(factor.values, values, strict=True)]
        if all(abs(p - round(p)) <= s for p, s in zip(products, slacks, strict=True)):
            return factor
    return None
