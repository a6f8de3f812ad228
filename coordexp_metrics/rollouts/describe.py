"""Descriptions are compared on matched pairs, and only watched: a failing model costs its own keys.

Two descriptions are exactly equal when their normalised forms are, and semantically equal when they
are exactly equal or their embeddings are near. Where no embedding model is at hand, the semantic
numbers are absent and ``enabled`` is False; no exception leaves.
"""

from __future__ import annotations

import logging
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..contract.errors import DeclarationError, safe_text
from .objects import DetectedObject

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float64]

__all__ = ["DescriptionFacts", "DescriptionMonitor", "Embedder", "normalize_description"]

_LOG = logging.getLogger("coordexp_metrics.rollouts")
Matched: TypeAlias = tuple[
    Sequence[DetectedObject], Sequence[DetectedObject], Iterable[tuple[int, int]]
]


def normalize_description(text: str) -> str:
    """What is compared: case, width and spacing do not count (``metrics_and_losses.md:220``).

    Unicode's compatibility caseless form, with each run of white space one space and none at the
    ends. Punctuation, accents and word order count.

    >>> normalize_description("  Traffic\\tLIGHT ｓｔｒａße ")
    'traffic light strasse'
    """
    folded = unicodedata.normalize("NFD", text).casefold()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", folded).casefold())
    return " ".join(folded.split())


class Embedder(Protocol):
    """Texts to vectors ``[n, d]``, of any length each: a list of lists, an array, a CPU tensor."""

    def __call__(self, texts: Sequence[str], /) -> Any:
        """One vector for each text."""


@dataclass(frozen=True, slots=True)
class DescriptionFacts:
    """What comparing the descriptions of one sample found, by the names of `RolloutFacts`.

    Attributes:
        desc_pairs: matched pairs that were compared.
        desc_exact: pairs with equal descriptions.
        desc_semantic: pairs with equal or similar ones; None without an embedding model.
        desc_sim_sum: cosine similarity summed; None without an embedding model.
        desc_sim_count: over how many pairs; None without an embedding model.
    """

    desc_pairs: int
    desc_exact: int
    desc_semantic: int | None = None
    desc_sim_sum: float | None = None
    desc_sim_count: int | None = None


class DescriptionMonitor:
    """Compares predicted and true descriptions of matched pairs (``metrics_and_losses.md:211``).

    Args:
        embedder: what turns texts into vectors; without one only exact equality is known.
        threshold: pairs with at least this cosine similarity are semantically equal; -1 to 1.
        cache_size: how many distinct texts keep their vectors, the least recently used go first.

    Attributes:
        reason: why there is no embedding model, or None while there is one.

    Raises:
        DeclarationError: the threshold or the size of the cache cannot be right.

    >>> truth = [DetectedObject("bbox_2d", (0, 0, 9, 9), "Dog")]
    >>> guess = [DetectedObject("bbox_2d", (0, 0, 9, 8), "dog ")]
    >>> DescriptionMonitor().compare(guess, truth, [(0, 0)]).desc_exact
    1
    """

    def __init__(
        self, embedder: Embedder | None = None, threshold: float = 0.8, cache_size: int = 8192
    ) -> None:
        if not -1 <= threshold <= 1:
            raise DeclarationError(f"threshold is {threshold!r}; a cosine lies in -1..1")
        if cache_size < 0:
            raise DeclarationError(f"cache_size is {cache_size!r}; it must be 0 or more")
        self.threshold = threshold
        self.reason = "no embedder was given" if embedder is None else None
        self._embedder = embedder
        self._cache_size = cache_size
        self._cache: OrderedDict[str, Vector | None] = OrderedDict()
        self._width = 0

    @property
    def enabled(self) -> bool:
        """``desc_sem_enabled``: whether there is an embedding model, and it works.

        A model that nothing has asked yet is asked once, and so loaded.
        """
        if self.reason is None and not self._width:
            self._embedded(["object"])
        return self.reason is None

    def compare(
        self,
        predictions: Sequence[DetectedObject],
        ground_truth: Sequence[DetectedObject],
        pairs: Iterable[tuple[int, int]],
    ) -> DescriptionFacts:
        """The facts of one sample; ``pairs`` are those of an `ObjectMatch`."""
        return self.compare_all([(predictions, ground_truth, pairs)])[0]

    def compare_all(self, samples: Iterable[Matched]) -> tuple[DescriptionFacts, ...]:
        """The facts of several samples, whose texts are embedded in one call.

        A pair whose ground truth has no description is not compared.
        """
        words = [_words(*sample) for sample in samples]
        vectors = self._vectors({text for pairs in words for pair in pairs for text in pair})
        return tuple(self._facts(pairs, vectors) for pairs in words)

    def _facts(
        self, pairs: list[tuple[str, str]], vectors: dict[str, Vector | None] | None
    ) -> DescriptionFacts:
        exact = sum(a == b for a, b in pairs)
        if vectors is None:
            return DescriptionFacts(len(pairs), exact)
        cosines = [_cosine(vectors[a], vectors[b]) for a, b in pairs]
        known = [cosine for cosine in cosines if cosine is not None]
        semantic = sum(
            a == b or (cosine is not None and cosine >= self.threshold)
            for (a, b), cosine in zip(pairs, cosines, strict=True)
        )
        return DescriptionFacts(len(pairs), exact, semantic, sum(known), len(known))

    def _vectors(self, texts: set[str]) -> dict[str, Vector | None] | None:
        """A unit vector for each text, None for one without direction; None without a model."""
        found = {text: self._cache[text] for text in texts if text in self._cache}
        missing = sorted(texts - found.keys())
        if missing and self.reason is None:
            found |= zip(missing, self._embedded(missing), strict=True)
        if not self.enabled:
            return None
        for text in sorted(texts):
            self._cache[text] = found[text]
            self._cache.move_to_end(text)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return found

    def _embedded(self, texts: list[str]) -> list[Vector | None]:
        try:
            rows = _rows(self._embedder(texts) if self._embedder else [], len(texts), self._width)
            self._width = rows.shape[1]
            return _units(rows)
        except Exception as error:  # noqa: BLE001 - a foreign model; this monitor is never in the loss
            self.reason = f"{type(error).__name__}: {safe_text(str(error), 300)}"
            _LOG.warning(
                "descriptions are compared exactly only, rollout/desc_sem_enabled is 0: %s",
                self.reason,
            )
            return [None] * len(texts)


def _words(
    predictions: Sequence[DetectedObject],
    ground_truth: Sequence[DetectedObject],
    pairs: Iterable[tuple[int, int]],
) -> list[tuple[str, str]]:
    both = [
        (normalize_description(predictions[p].desc), normalize_description(ground_truth[g].desc))
        for p, g in pairs
    ]
    return [pair for pair in both if pair[1]]


def _rows(vectors: Any, count: int, width: int) -> Vector:
    import numpy as np

    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or not rows.size or rows.shape != (count, width or rows.shape[1]):
        raise ValueError(
            f"the embedder gave {rows.shape} for {count} texts; rows must be as many and as wide "
            f"as always ({width or 'any width'})"
        )
    return rows


def _units(rows: Vector) -> list[Vector | None]:
    """Rows of length 1; None for one that has no direction."""
    import numpy as np

    with np.errstate(all="ignore"):
        units = rows / np.abs(rows).max(axis=1, keepdims=True)  # first, so that no square overflows
        units /= np.linalg.norm(units, axis=1, keepdims=True)
    return [row if np.isfinite(row).all() else None for row in units]


def _cosine(a: Vector | None, b: Vector | None) -> float | None:
    return None if a is None or b is None else min(max(float(a @ b), -1.0), 1.0)
