"""A family that nobody declared is one fault, however many keys it has."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract.catalogue import Catalogue
from ..contract.metric import Metric

__all__ = ["Families"]

FORMS = ("eval_", "eval/", "test_", "test/", "train/")


class Families:
    """The prefixes that a catalogue knows."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._exact = frozenset(name for m in catalogue.values() for name in _names(m))
        bare = {_bare(name)[1] for name in self._exact} | self._exact
        self._known = frozenset(prefix for name in bare for prefix in _prefixes(name))

    def undeclared(self, key: str) -> str | None:
        """The shortest prefix of ``key`` under which nothing is declared, or None.

        >>> from coordexp_metrics import CATALOGUE
        >>> Families(CATALOGUE).undeclared("snapshot/loss/coord/bbox_ciou")
        'snapshot/'
        """
        form, bare = ("", key) if key.startswith("train/") else _bare(key)
        for prefix in _prefixes(bare):
            if prefix not in self._known:
                return form + prefix
        return None

    def prefixed_twice(self, key: str) -> bool:
        """Whether ``key`` is a name of the catalogue with a mode put on once too often."""
        for form in FORMS:
            rest = key.removeprefix(form)
            if rest != key and rest.startswith(FORMS) and rest not in self._exact:
                return _bare(rest)[1] in self._exact
        return False


def _names(metric: Metric) -> Iterator[str]:
    yield metric.key
    yield from metric.aliases
    yield from metric.logged_aliases


def _bare(key: str) -> tuple[str, str]:
    """The form that ``key`` wears, and the rest."""
    for form in FORMS:
        if key.startswith(form):
            return form, key[len(form) :]
    return "", key


def _prefixes(key: str) -> Iterator[str]:
    at = key.find("/")
    while at >= 0:
        if key.count("(", 0, at) == key.count(")", 0, at):  # train_speed(iter/s) has none
            yield key[: at + 1]
        at = key.find("/", at + 1)
