"""Which curves belong in one chart follows from how they are declared.

The same name over several forward passes; the atoms of one pass; a mean with the quantiles of its
population; rates with the formula that is made of them; names that differ in one word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from ..contract.catalogue import Catalogue
from ..contract.kinds import Agreed, Derived, Mean, Quantile, Rate, SharedQuantile
from ..contract.metric import Metric, Mode

__all__ = ["Chart", "charts_of"]

PROVENANCE = "{provenance}"
NAME = "{name}"
MODES: tuple[Mode, Mode] = ("train", "eval")

Groups: TypeAlias = Iterator[tuple[str, list[Metric]]]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Chart:
    """Curves over each other.

    Attributes:
        category: what the chart is filed under, the first part of its keys.
        title: the keys with ``*`` where they differ.
        keys: the names that sinks see.
        further: what the names of further curves begin with, for a family that takes new names.
    """

    category: str
    title: str
    keys: tuple[str, ...]
    further: str = ""

    def __contains__(self, key: str) -> bool:
        return key in self.keys or bool(self.further and key.startswith(self.further))

    @property
    def regex(self) -> str:
        """Matches the whole of each key."""
        further = [f"{re.escape(self.further)}.+"] if self.further else []
        return f"^(?:{'|'.join([*map(re.escape, self.keys), *further])})$"


def charts_of(catalogue: Catalogue) -> tuple[Chart, ...]:
    """The charts of a catalogue; each has two curves or more, and none lies within another.

    >>> from coordexp_metrics import CATALOGUE
    >>> next(c.keys for c in charts_of(CATALOGUE) if c.title == "coord_diag/*/acc_top5")
    ('coord_diag/A1/acc_top5', 'coord_diag/A2/acc_top5', 'coord_diag/B/acc_top5')
    """
    charts = list(_of_both_modes(catalogue))
    for mode in MODES:
        for pattern, metrics in _by_pattern(catalogue, mode):
            charts += (_chart(pattern, *group, mode) for group in _groups(pattern, metrics))
        charts += _of_new_names(catalogue, mode)
    kept: list[Chart] = []
    for chart in charts:
        if len(chart.keys) > 1 and not any(set(chart.keys) <= set(other.keys) for other in kept):
            kept.append(chart)
    return tuple(kept)


def _of_both_modes(catalogue: Catalogue) -> Iterator[Chart]:
    """The terms of the loss, in training over evaluation."""
    for metric in catalogue.values():
        if metric.in_loss and metric.provenance is None and not metric.internal:
            keys = tuple(metric.key_in(mode) for mode in metric.modes)
            yield Chart("training and evaluation", metric.key, keys)


def _of_new_names(catalogue: Catalogue, mode: Mode) -> Iterator[Chart]:
    """All of a family that takes new names, such as reasons for a drop."""
    for page in catalogue.pages:
        if page.open_names and PROVENANCE not in page.pattern:
            shown = _shown(page.metrics, mode)
            chart = _chart(page.pattern, page.pattern.replace(NAME, "*"), shown, mode)
            before = page.pattern.partition(NAME)[0]
            further = before if mode == "train" else f"eval_{before}"
            yield Chart(chart.category, chart.title, chart.keys, further)


def _by_pattern(catalogue: Catalogue, mode: Mode) -> Groups:
    patterns: dict[str, list[Metric]] = {}
    for page in catalogue.pages:
        patterns.setdefault(page.pattern, []).extend(_shown(page.metrics, mode))
    yield from patterns.items()


def _shown(metrics: tuple[Metric, ...], mode: Mode) -> list[Metric]:
    return [metric for metric in metrics if mode in metric.modes and not metric.internal]


def _chart(pattern: str, title: str, group: list[Metric], mode: Mode) -> Chart:
    category = pattern.partition("/")[0] if "/" in pattern else "run"
    if mode == "eval":
        category = f"{category.removeprefix('eval_')} (evaluation)"
    return Chart(category, title, tuple(dict.fromkeys(metric.key_in(mode) for metric in group)))


def _groups(pattern: str, metrics: list[Metric]) -> Groups:
    if PROVENANCE in pattern:
        yield from _atoms(pattern, metrics)
        yield from _over_provenances(pattern, metrics)
    for provenance, own in _split(metrics, lambda metric: metric.provenance or ""):
        spelled = pattern.replace(PROVENANCE, provenance)
        yield from _formulas(spelled, own)
        yield from _with_quantiles(spelled, own)
        if PROVENANCE not in pattern:
            yield from _one_word_apart(spelled, own)


def _atoms(pattern: str, metrics: list[Metric]) -> Groups:
    """What one pass adds to the loss."""
    atoms = [metric for metric in metrics if metric.in_loss]
    for provenance, own in _split(atoms, lambda metric: metric.provenance or ""):
        yield _spelled(pattern, provenance, "*"), own


def _over_provenances(pattern: str, metrics: list[Metric]) -> Groups:
    """The same quantity, read from each forward pass."""
    for name, own in _split(metrics, lambda metric: metric.name):
        yield _spelled(pattern, "*", name), own


def _formulas(pattern: str, metrics: list[Metric]) -> Groups:
    """A formula with the rates that are made of the same totals: F1 with precision and recall."""
    rates = [metric for metric in metrics if isinstance(metric, Rate)]
    for metric in metrics:
        if not isinstance(metric, Derived):
            continue
        leaves = _leaves(metric)
        parts = [rate for rate in rates if _leaves(rate) < leaves and rate.unit == metric.unit]
        if parts and leaves == frozenset[str]().union(*map(_leaves, parts)):
            group = [*parts, metric]
            yield _spelled(pattern, "", ", ".join(part.name for part in group)), group


def _with_quantiles(pattern: str, metrics: list[Metric]) -> Groups:
    """A mean and the quantiles of the same population: of the same name, else of the same unit."""
    for first in metrics:
        if not isinstance(first, Quantile):
            continue
        shared = [m for m in metrics if isinstance(m, SharedQuantile) and m.of is first]
        means = [metric for metric in metrics if isinstance(metric, Mean)]
        means = [m for m in means if (m.unit, m.population) == (first.unit, first.population)]
        stem = first.name.rpartition("_")[0]
        group = [*([m for m in means if m.name == f"{stem}_mean"] or means), first, *shared]
        yield _spelled(pattern, "", ", ".join(metric.name for metric in group)), group


def _one_word_apart(pattern: str, metrics: list[Metric]) -> Groups:
    """Names that differ in one word, or lack it: the accuracies of each token type."""
    compared = [metric for metric in metrics if not isinstance(metric, Agreed)]
    titles: set[str] = set()
    for (_, unit), alike in _split(compared, lambda metric: (metric.kind, metric.unit)):
        left = alike
        while group := max(_wildcards(left), key=lambda found: len(found[1]), default=None):
            title, members = group
            again = f" ({unit})" if title in titles else ""
            titles.add(title)
            yield _spelled(pattern, "", title) + again, members
            left = [metric for metric in left if metric not in members]


def _wildcards(metrics: list[Metric]) -> Groups:
    """Each name with ``*`` for one of its words, and the metrics that it then matches."""
    found: dict[tuple[str, ...], list[Metric]] = {}
    for metric in metrics:
        words = metric.name.split("_")
        for place in range(len(words) if len(words) > 1 else 0):
            found.setdefault((*words[:place], "*", *words[place + 1 :]), []).append(metric)
    for pattern, members in found.items():
        plain = "_".join(word for word in pattern if word != "*")
        group = [metric for metric in metrics if metric in members or metric.name == plain]
        if len(group) > 1:
            yield "_".join(pattern), group


def _leaves(metric: Metric) -> frozenset[str]:
    formula = metric.formula
    return frozenset() if formula is None else frozenset(leaf.key for leaf in formula.leaves())


def _split(metrics: list[Metric], by: Callable[[Metric], Key]) -> list[tuple[Key, list[Metric]]]:
    groups: dict[Key, list[Metric]] = {}
    for metric in metrics:
        groups.setdefault(by(metric), []).append(metric)
    return list(groups.items())


def _spelled(pattern: str, provenance: str, name: str) -> str:
    return pattern.replace(PROVENANCE, provenance).replace(NAME, name)
