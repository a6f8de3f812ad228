"""Types go where labels went: concatenated in the collator's order, or dropped for the batch.

Nothing is stretched, cut or guessed. Where lengths differ, or an id is not where it should be, the
batch has no types; that is logged at debug level and counted, and every untyped metric stays.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..contract.errors import ObservationError
from .arrays import Integers, as_integers, like
from .codes import IGNORE, UNSUPERVISED

__all__ = ["joined", "log", "pack_token_types", "placed"]

log = logging.getLogger("coordexp_metrics.token_types")


def pack_token_types(
    token_types: Sequence[Any],
    labels: Any,
    *,
    sample_labels: Sequence[Any] | None = None,
    dropped: Counter[str] | None = None,
) -> Any:
    """The types of one pack, in the kind and shape of its labels, or None.

    Args:
        token_types: of each sample, in the order in which the collator concatenates; None for a
            sample without types (an excluded dataset, no payload), which then is all IGNORE.
        labels: of the pack, ``[S]`` or ``[1, S]``.
        sample_labels: of each sample, before packing; with them also the ids are compared. Needed
            where a sample has no types, to know how long it is.
        dropped: a counter of packs that lost their types, by reason.

    Raises:
        ObservationError: types or labels are no integers, or a length cannot be known.

    >>> pack_token_types([[-1, 1], None], [-100, 7, -100, 8], sample_labels=[[-100, 7], [-100, 8]])
    [-1, 1, -1, -1]
    >>> counts = Counter()
    >>> pack_token_types([[-1, 1], [3]], [-100, 7], dropped=counts), counts
    (None, Counter({'length': 1}))
    """
    pack = as_integers(labels, "labels")
    parts = _lengthened(token_types, sample_labels)
    types = joined(parts)
    first = np.cumsum([0, *map(len, parts)])[:-1]
    found, why = None, "length"
    if types.size == pack.size:
        found, why = _fitted(types, pack.ravel(), sample_labels, first), "labels"
    if found is None:
        log.debug("token types dropped: %d types for %d labels (%s)", types.size, pack.size, why)
        if dropped is not None:
            dropped[why] += 1
        return None
    return like(labels, found.reshape(pack.shape))


def placed(row: Integers, labels: Integers, types: Integers, first: Integers) -> Integers | None:
    """The types of a row that holds these labels and, around them, anything unsupervised.

    Args:
        row: labels of a row of the batch, ``[S]``.
        labels: of its samples, joined.
        types: of its samples, joined.
        first: where each sample begins. A collator may take a sample's first label away: in a pack
            nothing predicts it.

    >>> row = np.array([-100, 7, 8, -100])
    >>> placed(row, np.array([-100, 7, 8]), np.array([-1, 1, 3]), np.array([0])).tolist()
    [-1, 1, 3, -1]
    """
    there = row != UNSUPERVISED
    supervised = labels != UNSUPERVISED
    without_first = supervised.copy()
    without_first[first[first < len(labels)]] = False
    for kept in (supervised, without_first):
        if np.array_equal(row[there], labels[kept]):
            found = np.full(row.shape, IGNORE, np.int64)
            found[there] = types[kept]
            return found
    return None


def joined(parts: Sequence[Integers]) -> Integers:
    """One array of them all.

    >>> joined([np.array([1]), np.array([2, 3])])
    array([1, 2, 3])
    """
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _fitted(
    types: Integers, pack: Integers, sample_labels: Sequence[Any] | None, first: Integers
) -> Integers | None:
    if sample_labels is not None:
        labels = joined([as_integers(part, "sample_labels") for part in sample_labels])
        return placed(pack, labels, types, first) if labels.size == types.size else None
    outside = (types != IGNORE) & (pack == UNSUPERVISED)
    outside[first[first < len(types)]] = False
    return None if outside.any() else np.where(pack == UNSUPERVISED, IGNORE, types)


def _lengthened(token_types: Sequence[Any], sample_labels: Sequence[Any] | None) -> list[Integers]:
    parts = []
    for index, types in enumerate(token_types):
        if types is not None:
            parts.append(as_integers(types, "token_types"))
        elif sample_labels is None or index >= len(sample_labels):
            why = "is needed for a sample without types"
            raise ObservationError("token_types", "sample_labels", None, why)
        else:
            parts.append(np.full(len(sample_labels[index]), IGNORE, np.int64))
    return parts
