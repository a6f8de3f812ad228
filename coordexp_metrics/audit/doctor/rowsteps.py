"""A step comes once, after the one before it, and none is lost between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from .log import SHARED, Case, Log, Offender, said, shown

__all__ = ["order_of_steps"]

ENOUGH = 10


def order_of_steps(log: Log) -> Iterator[Case]:
    """Steps that go back, come twice, or are missing (CXM502, 503, 504)."""
    steps = list(log.table.steps)
    if len(steps) < 2:
        return
    back = [n for n in range(1, len(steps)) if steps[n] < steps[n - 1]]
    if back:
        at = ", ".join(f"{steps[n - 1]} to {steps[n]}" for n in back[:3])
        yield Case(
            "CXM502",
            "",
            f"the step goes back, from {at}: a resumed run wrote into the log of the first, and "
            f"what lies between stands there twice ({len(back)} of {len(steps)} records)",
            [Offender(n, steps[n], steps[n - 1]) for n in back],
            len(steps),
            0.95,
        )
    yield from _twice(log, set(back))
    if not back:
        yield from _missing(log)


def _twice(log: Log, back: set[int]) -> Iterator[Case]:
    """One step, one mode and one key twice in a row; another key, or another set, is none."""
    repeated: list[tuple[int, str]] = []
    homes = {row: shape for shape in log.table.shapes.values() for row in shape.rows}
    seen: dict[str, int] = {}
    before: int | None = None
    for row, step in enumerate(log.table.steps):
        if step != before or row in back:
            seen, before = {}, step
        keys = [key for key in homes[row].keys if key not in SHARED and "step" not in key]
        if "train_runtime" in homes[row].keys:
            continue  # the summary at the end of a run
        again = next((key for key in keys if key in seen), None)
        if again is not None:
            repeated.append((row, again))
        seen.update(dict.fromkeys(keys, row))
    if repeated:
        row, key = repeated[0]
        yield Case(
            "CXM503",
            key,
            f"step {log.table.steps[row]} is logged twice, with {said(key)} in both: steps "
            f"{shown(log.table.steps[r] for r, _ in repeated)} ({len(repeated)} of "
            f"{len(log.table)} records)",
            [Offender(r, log.table.steps[r]) for r, _ in repeated],
            len(log.table),
            0.9,
        )


def _missing(log: Log) -> Iterator[Case]:
    steps = list(log.table.steps)
    strides = [(n + 1, b - a) for n, (a, b) in enumerate(pairwise(steps)) if b > a]
    if len(strides) < ENOUGH:
        return
    stride, many = Counter(s for _, s in strides).most_common(1)[0]
    gaps = [(n, s) for n, s in strides if s > stride and s % stride == 0]
    odd = [s for _, s in strides if s % stride]
    if not gaps or many < 0.8 * len(strides) or len(odd) > 2:
        return
    lost = sum(s // stride - 1 for _, s in gaps)
    n, size = gaps[0]
    yield Case(
        "CXM504",
        "",
        f"{lost} of {lost + len(steps)} records are missing: the log goes by steps of {stride}, "
        f"but from {steps[n] - size} to {steps[n]} ({len(gaps)} gaps)",
        [Offender(n, steps[n], steps[n] - size + stride) for n, size in gaps],
        len(steps),
        0.8,
        {"stride": stride, "missing": lost},
    )
