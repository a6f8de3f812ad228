"""A count is whole, no greater than what it is picked from, and the same wherever it is logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...contract.kinds import Rate
from ..series import Column
from .factors import Factor, explained, makes_whole, nearly
from .log import Case, Log, Offender, said, shown
from .words import PICKED, Name

__all__ = ["beyond_universe", "fractional_counts", "multiplied_counts", "overcounted_rollouts"]

ENOUGH = 3
MANY = 8
LIKE = 50


def fractional_counts(log: Log) -> Iterator[Case]:
    """A mean under the name of a count (CXM510)."""
    for key, name in log.names.items():
        column = log.columns[key]
        metric = log.metric(key)
        if column.whole or name.greatest or (metric is not None and not metric.whole):
            continue
        if name.averages or name.rates or name.shares or name.clock:
            continue
        at = [n for n, value in enumerate(column.values) if _odd(value, column)]
        twin = _whole_twin(log, name)
        promised = name.counts or name.things or metric is not None
        if not at or not (promised or twin):
            continue
        factor = makes_whole(log, column)
        # num_x and total_len are at times means by custom; a suffix is a promise.
        suffixed = name.words[-1:] in {("count",), ("counts",), ("total",), ("sum",)}
        certain = metric is not None or (name.counts and suffixed)
        if factor is not None or certain or (twin and promised):
            yield _fractional(column, at, factor, twin)


def _fractional(column: Column, at: Sequence[int], factor: Factor | None, twin: str | None) -> Case:
    numbers = [1.0] * len(column)
    because, evidence = "", dict[str, object]()
    if factor is not None:
        numbers = list(factor.values)
        true = [round(k * v) for k, v in zip(numbers, column.values, strict=True)]
        evidence = {"factor": numbers[0], "factor_key": factor.name, "true_values": true[:8]}
        because = f"; times {factor} it is whole: {shown(true[n] for n in at)}"
    beside = f", while {said(twin)} is whole" if twin else ""
    expected = [
        float(round(k * v)) if because else None
        for k, v in zip(numbers, column.values, strict=True)
    ]
    return Case(
        "CXM510",
        column.key,
        f"{said(column.key)} counts, but is {shown(column.values[n] for n in at)}: no whole "
        f"number in {len(at)} of {len(column)} records{because}{beside}",
        [Offender(column.rows[n], column.values[n], expected[n]) for n in at],
        len(column),
        0.95 if because else 0.85 if twin else 0.75,
        evidence,
        (twin,) if twin else (),
    )


def _odd(value: float, column: Column) -> bool:
    return abs(value - round(value)) > column.quantum * 1.01 + 1e-6 * abs(value) + 1e-9


def _whole_twin(log: Log, name: Name) -> str | None:
    """The same last segment in a family beside, whole and greater than one."""
    above = name.family.rstrip("/").rpartition("/")[0]
    for key in log.lasts[name.last][:LIKE] if above else ():
        near = log.names[key].family.rstrip("/").rpartition("/")[0]
        column = log.columns[key]
        if key != name.key and near == above and column.whole and column.greatest > 1:
            return key
    return None


def multiplied_counts(log: Log) -> Iterator[Case]:
    """A count that every pack or micro-step added again (CXM530)."""
    for stem, kin in log.stems.items():
        counts = [k for k in kin if log.columns[k].whole and log.columns[k].least >= 0][:MANY]
        for key in counts:
            twins = [k for k in counts if k != key and (len(stem) > 1 or _one_family(log, k, key))]
            cases = (_multiple(log, key, other) for other in twins)
            case = next(filter(None, cases), None)
            if case is not None:
                yield case


def _one_family(log: Log, key: str, other: str) -> bool:
    return log.names[key].family == log.names[other].family


def _multiple(log: Log, key: str, other: str) -> Case | None:
    """``key`` as a multiple of ``other``, its kin: x_count of x."""
    if not _countlike(log, key) or log.names[key].rates or log.names[other].rates:
        return None
    rows, (many, few) = log.table.together([key, other])
    pairs = [(r, a, b) for r, a, b in zip(rows, many, few, strict=True) if a or b]
    if len(pairs) < ENOUGH or not all(b and a > b for _, a, b in pairs):
        return None
    at = [row for row, _, _ in pairs]
    factor = explained(log, at, [a / b for _, a, b in pairs])
    if factor is None or factor.name == key or len({b for _, _, b in pairs}) < ENOUGH:
        return None
    # Two families may count one thing twice over; a factor that is logged is no accident.
    counted = log.names[key].words[-1] in {"count", "num"} and _one_family(log, key, other)
    if not factor.name and not counted:
        return None
    return Case(
        "CXM530",
        key,
        f"{said(key)} is {shown((a for _, a, _ in pairs), 2)} where {said(other)} is "
        f"{shown((b for _, _, b in pairs), 2)}: multiplied by {factor}, "
        f"in {len(pairs)} of {len(pairs)} records",
        [Offender(row, a, b) for row, a, b in pairs],
        len(pairs),
        0.97 if factor.name else 0.7,
        {
            "factor": factor.values[0] if factor.constant else list(factor.values[:8]),
            "factor_key": factor.name,
            "true_values": [b for _, _, b in pairs[:8]],
        },
        (other,),
    )


def _countlike(log: Log, key: str) -> bool:
    metric, name = log.metric(key), log.names[key]
    if metric is not None:
        return metric.whole
    return name.counts or name.things


def beyond_universe(log: Log) -> Iterator[Case]:
    """More picked than there were to pick from (CXM522)."""
    for key, name in log.names.items():
        if not PICKED.intersection(name.words) or not _picked_count(log, key):
            continue
        for universe in _universes(log, name):
            case = _exceeds(log, key, universe)
            if case is not None:
                yield case
    yield from _rates(log)


def _picked_count(log: Log, key: str) -> bool:
    name = log.names[key]
    return log.columns[key].whole and not (name.rates or name.shares or name.averages)


def _universes(log: Log, name: Name) -> Iterator[str]:
    """``pred_objects`` of ``valid_pred_objects``; what matches can be at most all there is."""
    stem = set(name.stem)
    for other in log.families[name.family]:
        words = log.names[other].stem
        if other == name.key or not _picked_count(log, other):
            continue
        less = stem - set(words)
        named_so = set(words) < stem and less <= PICKED and _countlike(log, other)
        if named_so or (name.words[0] == "matched" and _objects(log.names[other])):
            yield other


def _objects(name: Name) -> bool:
    """Ground truth or predictions as a whole, of which a match takes one each."""
    words = set(name.words)
    plain = {"gt", "pred", "valid", "total", "objects", "boxes", "count", "num", "n"}
    return bool(words & {"gt", "pred"}) and bool(words & {"objects", "boxes"}) and words <= plain


def _exceeds(log: Log, key: str, universe: str) -> Case | None:
    rows, (part, whole) = log.table.together([key, universe])
    over = [(r, a, b) for r, a, b in zip(rows, part, whole, strict=True) if a > b]
    # In a clean log a name may mislead; a true universe is seldom exceeded by a little, always.
    if not over or (len(over) == len(rows) and not all(a > 1.5 * b for _, a, b in over)):
        return None
    return Case(
        "CXM522",
        key,
        f"{said(key)} is {over[0][1]:g}, but {said(universe)} is only {over[0][2]:g}: more than "
        f"there are, in {len(over)} of {len(rows)} records",
        [Offender(row, a, b) for row, a, b in over],
        len(rows),
        0.9,
        {"universe": universe, "excess": over[0][1] / over[0][2] if over[0][2] else None},
        (universe,),
        universe,
    )


def _rates(log: Log) -> Iterator[Case]:
    """The numerator of a share is within its denominator, declared or named so."""
    for key, name in log.names.items():
        metric = log.metric(key)
        pair: tuple[str | None, str | None] = (None, None)
        if isinstance(metric, Rate):
            leaves = [_spelled(log, leaf.key) for leaf in metric.formula.leaves()]
            pair = leaves[0], leaves[-1]
        elif (name.rates or name.shares) and log.columns[key].greatest <= 1:
            pair = log.kin(key, "_rate_num", "_num"), log.kin(key, "_rate_den", "_den")
        part, whole = pair
        if part and whole and log.columns[part].whole and log.columns[whole].whole:
            case = _exceeds(log, part, whole)
            if case is not None:
                yield case


def _spelled(log: Log, key: str) -> str | None:
    for form in (key, f"eval_{key}", f"eval/{key}"):
        if form in log.columns:
            return form
    return None


def overcounted_rollouts(log: Log) -> Iterator[Case]:
    """Every rollout is decoded in one mode; more rollouts than that were never generated (CXM531).

    Only where nothing is declared: the catalogue's own law is checked with the others.
    """
    modes = [k for k, n in log.names.items() if n.last.startswith("decode_") and n.counts]
    raw = [k for k, n in log.names.items() if n.words[-1:] in {("rollouts",), ("generations",)}]
    for key in raw:
        declared = log.metric(key)
        if declared is not None or PICKED.intersection(log.names[key].words) or not modes:
            continue
        rows, (made, *decoded) = log.table.together([key, *modes])
        sums = [sum(parts) for parts in zip(*decoded, strict=True)]
        pairs = [(r, a, b) for r, a, b in zip(rows, made, sums, strict=True) if a or b]
        if len(pairs) >= ENOUGH and all(b and a > b for _, a, b in pairs):
            factor = explained(log, [r for r, _, _ in pairs], [a / b for _, a, b in pairs])
            if factor is not None and not _several(log, modes[0], factor.values[0]):
                yield _over(key, modes, pairs, str(factor), factor.values[0])


def _several(log: Log, mode: str, factor: float) -> bool:
    """Whether as many policies generated for each sample (``rollout/anchor/``, ...)."""
    family = log.names[mode].family
    below = {k[len(family) :].partition("/")[0] for k in log.columns if k.startswith(family)}
    policies = [p for p in below if any(k.startswith(f"{family}{p}/gen_") for k in log.columns)]
    return nearly(factor, len(policies))


def _over(
    key: str, modes: Sequence[str], pairs: Sequence[tuple[int, float, float]], said_factor: str,
    factor: float,
) -> Case:  # fmt: skip
    return Case(
        "CXM531",
        key,
        f"{said(key)} is {pairs[0][1]:g}, but {' + '.join(map(said, modes))} is {pairs[0][2]:g}: "
        f"{said_factor} times too many in {len(pairs)} of {len(pairs)} records",
        [Offender(row, a, b) for row, a, b in pairs],
        len(pairs),
        0.8,
        {"factor": factor, "true_values": [b for _, _, b in pairs[:8]]},
        tuple(modes),
    )
