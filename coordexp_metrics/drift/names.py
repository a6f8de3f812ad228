"""The suffix is checked against the kind, and names are told apart by more than a letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from ..contract.catalogue import Catalogue
from ..contract.errors import safe_text
from ..contract.kinds import Derived
from ..contract.metric import Metric
from ..contract.units import FRACTION, MICRO_STEP, SEGMENT
from .documented import DOCUMENTED
from .fault import Fault
from .spelling import distance

__all__ = ["alike", "suffixes", "units"]

COUNT = ("_total", "_count", "_sum", "_num", "_den")
RATIO = ("_rate", "_frac")
_QUANTILE = re.compile(r"_p([0-9]{1,3})(?:_|$)")
_SAYS_NOTHING = frozenset({"", "-", "?", "n/a", "na", "none", "tbd", "todo", "unit", "unknown"})
LETTERS = 4


def suffixes(catalogue: Catalogue) -> Iterator[Fault]:
    """Counters and ratios that do not say so, and suffixes that say another thing."""
    for metric in catalogue.values():
        if metric.internal:
            continue
        # A name in evaluation is a key of its own, or only carries a prefix.
        if _counts(metric) and not metric.key.endswith(COUNT):
            yield from _fault("CXM601", metric, f"counts {metric.unit}s; {_one_of(COUNT)}")
        if metric.unit == FRACTION and not metric.key.endswith(RATIO):
            yield from _fault("CXM602", metric, f"is a fraction; {_one_of(RATIO)}")
        for promise in _broken_promises(metric):
            yield from _fault("CXM603", metric, promise)


def _one_of(suffixes: tuple[str, ...]) -> str:
    return f"end it with {', '.join(suffixes[:-1])} or {suffixes[-1]}"


def _fault(rule: str, metric: Metric, why: str) -> Iterator[Fault]:
    if metric.key not in DOCUMENTED[rule]:
        yield Fault(rule, metric.key, f"{metric.key} {why}")


def _counts(metric: Metric) -> bool:
    whole = isinstance(metric, Derived) and metric.whole
    return metric.kind in {"total", "cumulative"} or whole or metric.unit in {MICRO_STEP, SEGMENT}


def _broken_promises(metric: Metric) -> Iterator[str]:
    last = metric.key.rpartition("/")[2]
    summed = metric.kind in {"total", "cumulative"} or metric.kind in {"derived", "slowest_rank"}
    if last.endswith(COUNT) and not summed:
        yield f"ends like a counter, and is a {metric.kind}"
    if last.endswith(RATIO) and metric.unit != FRACTION:
        yield f"ends like a ratio, and counts {metric.unit}s"
    if last.endswith(("_mean", "_avg")) and metric.kind not in {"mean", "derived", "rate"}:
        yield f"ends like a mean, and is a {metric.kind}"
    if last.endswith(("_max", "_min")) and metric.kind in {"total", "cumulative", "mean", "rate"}:
        yield f"ends like an extremum, and is a {metric.kind}"
    found = _QUANTILE.search(last)
    if found is not None and metric.kind == "quantile":
        level = int(found.group(1)) / 10 ** len(found.group(1))
        if abs(level - getattr(metric, "level", level)) > 1e-9:
            yield f"is called p{found.group(1)}, and is quantile {getattr(metric, 'level', 0):g}"
    elif found is not None and metric.kind in {"total", "mean", "rate", "maximum", "minimum"}:
        yield f"is called a quantile, and is a {metric.kind}"


def units(catalogue: Catalogue) -> Iterator[Fault]:
    """Units that say nothing, and ratios without a population."""
    for metric in catalogue.values():
        for what, said in (("unit", metric.unit), ("population", metric.population or "object")):
            if str(said).strip().casefold() in _SAYS_NOTHING:
                yield Fault("CXM604", metric.key, f"{metric.key} has the {what} {safe_text(said)}")
        if metric.population is None and metric.kind in {"mean", "rate", "quantile"}:
            yield Fault(
                "CXM604", metric.key, f"{metric.key} does not say what its {metric.kind} is over"
            )


def alike(catalogue: Catalogue) -> Iterator[Fault]:
    """Pairs of one family and provenance whose names a reader would confuse."""
    for page in catalogue.pages:
        visible = [metric for metric in page.metrics if not metric.internal]
        for one, other in combinations(visible, 2):
            if one.provenance == other.provenance and _confusable(one.name, other.name):
                message = f"{other.key} is easily taken for {one.key}"
                yield Fault("CXM605", other.key, message)


def _confusable(one: str, other: str) -> bool:
    """One letter apart in a word that is long enough to hide it, or joined in another way."""
    if abs(len(one) - len(other)) > 1:
        return False
    words, others = (re.split(r"[^A-Za-z]+", name.casefold()) for name in (one, other))
    if "".join(words) == "".join(others):
        return re.sub(r"[^0-9]", "", one) == re.sub(r"[^0-9]", "", other)
    if len(words) != len(others):
        return False
    differ = [(a, b) for a, b in zip(words, others, strict=True) if a != b]
    if len(differ) != 1 or min(map(len, differ[0])) < LETTERS:
        return False
    return distance(one.casefold(), other.casefold(), 1) == 1
