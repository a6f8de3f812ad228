"""A key that is not in the catalogue is often one that is, under a name put on wrongly."""

from __future__ import annotations

from typing import NamedTuple

from ..contract.catalogue import Catalogue
from ..contract.errors import RemovedKeyError, safe_text
from ..contract.metric import EVAL_PREFIX

__all__ = ["CARRIED", "Misspelt", "Spellings", "carried"]

CARRIED = "snapshot/"
DASHBOARD = ("train/", "eval/", "test/", "test_")
# Prefixes of other tools, for either mode and for evaluation.
EVALUATION = ("val_", "val/", "valid_", "valid/", "validation_", "validation/", "dev_", "dev/")
FOREIGN = ("train_", "metrics/", *EVALUATION)


class Misspelt(NamedTuple):
    """What a key is, if it is not what it should be called."""

    rule: str
    message: str
    metric: str | None


class Spellings:
    """Finds the metric behind a key that does not resolve.

    >>> from coordexp_metrics import CATALOGUE
    >>> Spellings(CATALOGUE).of("val_loss").message
    "'val_loss' has a prefix 'val_' that no sink puts on; use 'eval_loss'"
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def of(self, key: str) -> Misspelt | None:
        """What ``key`` is, None where that cannot be told."""
        for look in (self._carried, self._removed, self._prefixed, self._doubled, self._dataset):
            found = look(key)
            if found is not None:
                return found
        return None

    def _key(self, name: str) -> str | None:
        found = self._catalogue.resolve(name)
        return None if found is None or found.metric.internal else found.metric.key

    def _carried(self, key: str) -> Misspelt | None:
        metric = self._key(key.removeprefix(CARRIED)) if key.startswith(CARRIED) else None
        return None if metric is None else carried(key, metric)

    def _removed(self, key: str) -> Misspelt | None:
        for form in DASHBOARD:
            rest = key.removeprefix(form)
            if rest != key:
                error = self._catalogue.unknown(rest, suggest=False)
                if isinstance(error, RemovedKeyError):
                    why = str(error).partition(" ")[2]
                    return Misspelt("CXM202", f"{safe_text(key)} {why}", None)
        return None

    def _prefixed(self, key: str) -> Misspelt | None:
        """A prefix that no sink puts on, one that is missing, or one too many."""
        for form in FOREIGN:
            metric = self._key(key.removeprefix(form)) if key.startswith(form) else None
            if metric is not None:
                right = self._catalogue[metric].eval_key if form in EVALUATION else metric
                why = f"has a prefix {safe_text(form)} that no sink puts on"
                return _wrong(key, why, right, metric)
        metric = self._key(EVAL_PREFIX + key)
        if metric is not None:
            return _wrong(key, "lacks its prefix", EVAL_PREFIX + key, metric)
        for form in (EVAL_PREFIX, "eval/"):
            metric = self._key(key.removeprefix(form)) if key.startswith(form) else None
            if metric is not None and self._catalogue[metric].eval_key != key:
                right = self._catalogue[metric].eval_key
                return _wrong(key, "is a train name with a prefix", right, metric)
        return None

    def _doubled(self, key: str) -> Misspelt | None:
        """A segment that stands twice, as in ``rollout/rollout/f1``."""
        parts = key.split("/")
        for at in range(len(parts) - 1):
            if parts[at] == parts[at + 1]:
                once = "/".join(parts[:at] + parts[at + 1 :])
                metric = self._key(once)
                if metric is not None:
                    return _wrong(key, "has its prefix twice", once, metric)
        return None

    def _dataset(self, key: str) -> Misspelt | None:
        """``eval_coco_loss``: one of several evaluation sets, as transformers names them."""
        if not key.startswith((EVAL_PREFIX, "eval/")):
            return None
        name, _, rest = key[len(EVAL_PREFIX) :].partition("_")
        while rest:
            found = self._catalogue.resolve(EVAL_PREFIX + rest)
            if found is not None:
                why = f"is {safe_text(EVAL_PREFIX + rest)} of the evaluation set {safe_text(name)}"
                return Misspelt("CXM212", f"{safe_text(key)} {why}", found.metric.key)
            more, _, rest = rest.partition("_")
            name = f"{name}_{more}"
        return None


def carried(key: str, metric: str | None) -> Misspelt:
    """A key that carries the value of another, whose canonical key is ``metric``."""
    why = "carries the value of an older step under a name of its own"
    return Misspelt("CXM211", f"{safe_text(key)} {why}", metric)


def _wrong(key: str, why: str, right: str, metric: str) -> Misspelt:
    return Misspelt("CXM205", f"{safe_text(key)} {why}; use {safe_text(right)}", metric)
