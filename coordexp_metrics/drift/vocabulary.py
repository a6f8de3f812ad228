"""A key in a source is wrong only where the catalogue can say so: foreign keys are let be.

By default a key is a finding if it was removed, if it is a letter or two from a declared key of the
same prefix, or if it is unknown under a prefix that the catalogue alone uses.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from ..audit.families import Families
from ..contract.catalogue import Catalogue
from ..contract.errors import RemovedKeyError, safe_text
from ..contract.keys import near, well_formed
from ..contract.metric import EVAL_PREFIX, Metric
from .spelling import distance

__all__ = ["HOLE", "Judgement", "Vocabulary"]

HOLE = "\0"
"""Stands in a key for what an f-string puts there."""

FORMS = ("eval_", "eval/", "test_", "test/", "train/")
LONG = 12
MIN_PREFIX = 4
# First segments that many projects use: a key under them may be anybody's.
COMMON_WORDS = """
accum actor batch bench charts config contract critic data debug env epoch eval global grad
gradients info kl learning logits logps loss losses lr memory metric metrics misc model norm
objective optim optimizer pack packing params perf performance policy profile reward rewards
samples speed stage1 stage2 stats step system test time timing token tokens train trainer
training util val valid validation value
"""
COMMON = frozenset(COMMON_WORDS.split())


class Judgement(NamedTuple):
    """What is wrong with a key.

    Attributes:
        rule: the id.
        message: one sentence.
        metric: the canonical key that is meant, if one is.
        certain: whether it is said by default; else only under ``--strict``.
        prefix: the catalogue's prefix that the key claims, where that is all that is known.
    """

    rule: str
    message: str
    metric: str | None = None
    certain: bool = True
    prefix: str = ""


class Vocabulary:
    """The spellings of a catalogue, and what may be said of others."""

    def __init__(self, catalogue: Catalogue, carry: Iterable[str] = ()) -> None:
        self._catalogue = catalogue
        self._carry = [pattern.replace("*", HOLE) for pattern in carry]
        self._families = Families(catalogue)
        self._spellings = {name for m in catalogue.values() if not m.internal for name in _names(m)}
        self._every = sorted({*self._spellings, *catalogue})
        self._by_prefix: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._spellings):
            if "/" in name:
                self._by_prefix[name.partition("/")[0]].append(name)

    @cached_property
    def prefixes(self) -> frozenset[str]:
        """First segments of declared and of removed keys, as they stand before the slash."""
        removed = (entry.pattern.partition("/") for entry in self._catalogue.removed)
        return frozenset({*self._by_prefix, *(first for first, slash, _ in removed if slash)})

    def concerns(self, segment: str) -> bool:
        """Whether a key that has ``segment`` may be a finding by default."""
        bare = _bare(segment)
        return bare in self.prefixes or self._near_prefix(bare) is not None

    def owned(self, prefix: str) -> bool:
        """Whether ``prefix`` is the catalogue's alone."""
        return prefix in self._by_prefix and prefix not in COMMON

    def judge(self, key: str, *, logs: bool = True) -> Judgement | None:
        """What is wrong with ``key``, or None.

        Args:
            key: as spelled; ``HOLE`` stands where anything may stand.
            logs: whether the key would leave: internal helpers may be observed, never logged.
        """
        if any(_fits(pattern, key) for pattern in self._carry):
            return None
        return self._pattern(key) if HOLE in key else self._literal(key, logs)

    def _literal(self, key: str, logs: bool) -> Judgement | None:
        found = self._catalogue.resolve(key) or self._catalogue.resolve(EVAL_PREFIX + key)
        shown = safe_text(key, 210)
        if found is not None:
            metric = found.metric
            if metric.internal and logs:
                return Judgement("CXM203", f"{shown} is an internal helper; it stays", metric.key)
            if metric.deprecated is not None:
                return Judgement("CXM210", f"{shown} is {metric.deprecated}", metric.key)
            return None
        if key.startswith("local/") and key.removeprefix("local/") in self._catalogue:
            return None
        error = self._catalogue.unknown(key, suggest=False)
        if isinstance(error, RemovedKeyError):
            return Judgement("CXM202", str(error))
        if self._families.prefixed_twice(key):
            return Judgement(
                "CXM205", f"{shown} has its prefix twice", certain="/" in _bare(_bare(key))
            )
        return self._unknown(key, shown) if well_formed(key) else None

    def _unknown(self, key: str, shown: str) -> Judgement:
        bare = _bare(key)
        meant = self._misspelt(bare)
        if meant is not None:
            said = key[: len(key) - len(bare)] + meant
            why = f"{shown} is not in the catalogue; did you mean {said!r}?"
            return Judgement("CXM201", why, self._canonical(meant))
        prefix = bare.partition("/")[0] if "/" in bare else ""
        alike = near(bare, self._spellings, 1)
        hint = f"; did you mean {alike[0]!r}?" if alike else ""
        why = f"{shown} is not in the catalogue{hint}"
        return Judgement("CXM201", why, certain=self.owned(prefix), prefix=prefix)

    def _misspelt(self, bare: str) -> str | None:
        """The one declared key that ``bare`` is a slip of: of its prefix, or of one like it."""
        first, slash, _ = bare.partition("/")
        if not slash:
            return None
        prefix = first if first in self._by_prefix else self._near_prefix(first)
        if prefix is None:
            return None
        most = 1 if len(bare) < LONG else 2
        scored = ((distance(bare, name, most), name) for name in self._by_prefix[prefix])
        best = min(scored, default=(most + 1, ""))
        if best[0] > most or (_differ_in_number(bare, best[1]) and not self.owned(prefix)):
            return None
        return best[1]

    def _near_prefix(self, first: str) -> str | None:
        for prefix in self._by_prefix:
            if self.owned(prefix) and len(prefix) >= MIN_PREFIX and distance(first, prefix, 1) == 1:
                return prefix
        return None

    def _canonical(self, name: str) -> str | None:
        found = self._catalogue.resolve(name)
        return None if found is None else found.metric.key

    def _pattern(self, key: str) -> Judgement | None:
        shown = safe_text(key.replace(HOLE, "{...}"), 210)
        lead = key.partition(HOLE)[0]
        if self._matches(key) or not lead:
            return None
        error = self._catalogue.unknown(key.replace(HOLE, "x"), suggest=False)
        if isinstance(error, RemovedKeyError) and "/" in _bare(key):
            return Judgement("CXM202", f"{shown} was removed from the contract")
        bare = _bare(lead)
        prefix = bare.partition("/")[0] if "/" in bare else ""
        why = f"{shown}: no key of the catalogue can match"
        slip = self._near_prefix(prefix) if prefix else None
        if slip is not None and self._matches(key.replace(prefix, slip, 1)):
            return Judgement("CXM201", f"{why}; did you mean {slip + '/'!r}?")
        return Judgement("CXM201", why, certain=self.owned(prefix), prefix=prefix)

    def _matches(self, key: str) -> bool:
        """Whether some spelling has the parts of ``key`` that are known."""
        forms = {key, _bare(key), _bare(_bare(key))}
        if any(self._open(form) for form in forms):
            return True
        return any(_fits(form, name) for form in forms for name in self._every)

    def _open(self, key: str) -> bool:
        return self._catalogue.resolve(key.replace(HOLE, "x")) is not None


def _names(metric: Metric) -> Iterator[str]:
    """Every spelling, without the form of a mode, and with it where it is part of the key."""
    yield from (metric.key, *metric.aliases, *metric.logged_aliases)
    yield from {metric.eval_key, metric.eval_key.removeprefix(EVAL_PREFIX)}


def _bare(key: str) -> str:
    """``key`` without the form of a mode."""
    for form in FORMS:
        if key.startswith(form):
            return key[len(form) :]
    return key


def _differ_in_number(one: str, other: str) -> bool:
    """Keys that count something, such as ``loss/1`` and ``loss/2``, are no slips of each other."""
    return re.sub(r"[0-9]", "", one) == re.sub(r"[0-9]", "", other)


def _fits(pattern: str, name: str) -> bool:
    """Whether ``name`` has the parts of ``pattern`` between its holes, in their order."""
    first, *others = pattern.split(HOLE)
    if not others:
        return pattern == name
    *middle, last = others
    at = len(first)
    if len(name) < at + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        at = name.find(part, at, len(name) - len(last))
        if at < 0:
            return False
        at += len(part)
    return True
