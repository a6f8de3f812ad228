"""A name promises a count, a mean, a rate or a clock; kin share their other words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Name", "named"]

COUNT = frozenset({"count", "counts", "num", "den", "total", "sum"})
NUMBER = frozenset({"n", "num", "number"})
AVERAGE = frozenset({"mean", "avg", "average", "median", "std", "var", "ema"})
SHARE = frozenset({"rate", "frac", "fraction", "ratio", "share", "accuracy", "acc", "per"})
EDGE = frozenset({"max", "min", "maximum", "minimum", "p50", "p90", "p95", "p99", "peak"})
# What comes one by one; nothing here is ever a sum of fractions.
THINGS = frozenset(
    {
        "anchors", "batches", "boundaries", "boxes", "candidates", "clusters", "completions",
        "drops", "duplicates", "episodes", "errors", "examples", "failures", "frames",
        "generations", "images", "instances", "len", "length", "lengths", "matches", "objects",
        "packs", "pairs", "predictions", "prompts", "rollouts", "rows", "samples", "segments",
        "sequences", "spans", "steps", "targets", "terms", "tokens", "words",
    }
)  # fmt: skip
CLOCK = frozenset({"s", "sec", "secs", "second", "seconds", "time", "ms"})
# A whole run's clock says so.
RUN_CLOCK = frozenset(
    {
        "elapsed", "epoch", "eta", "runtime", "since", "timestamp", "uptime", "wall",
    }
)  # fmt: skip
PICKED = frozenset(
    {
        "accepted", "clean", "correct", "dropped", "empty", "excluded", "exempt", "failed",
        "invalid", "kept", "masked", "matched", "rejected", "selected", "skipped", "supervised",
        "suppressed", "truncated", "unique", "valid",
    }
)  # fmt: skip
_SPLIT = re.compile(r"[^0-9A-Za-z]+")
_PER_TIME = re.compile(r"([a-z0-9_]{1,120})_per_(?:s|sec|second|seconds)")


@dataclass(frozen=True)
class Name:
    """The parts of a key.

    Attributes:
        key: the key as spelled.
        family: everything before the last slash, with it.
        last: the last segment.
        words: the words of the last segment, in lower case.
    """

    key: str
    family: str
    last: str
    words: tuple[str, ...]

    @property
    def counts(self) -> bool:
        """Whether the name promises a count of things: ``x_count``, ``num_x``, ``tokens_total``.

        >>> [named(key).counts for key in ("a/x_count", "n_terms", "tokens_total", "loss_total")]
        [True, True, True, False]
        """
        words = self.words
        if not words or AVERAGE.union(SHARE, CLOCK).intersection(words):
            return False
        if words[-1] in {"count", "counts"} or self.parts:
            return True
        if words[0] in NUMBER and len(words) > 1:
            return bool(THINGS.intersection(words[1:])) or self.last.startswith("N_")
        return bool({"total", "sum"}.intersection(words) and THINGS.intersection(words))

    @property
    def parts(self) -> bool:
        """Whether the name is a numerator or a denominator."""
        return len(self.words) > 1 and self.words[-1] in {"num", "den"}

    @property
    def things(self) -> bool:
        """Whether the name is bare things, ``valid_pred_objects``: probably a count."""
        words = self.words
        if not words or AVERAGE.union(SHARE, CLOCK, EDGE).intersection(words):
            return False
        return words[-1] in THINGS and not words[-1].startswith("len")

    @property
    def greatest(self) -> bool:
        """Whether the name promises a greatest count or size."""
        words = set(self.words)
        sizes = {"count", "size", "len", "length", "depth"}
        return "max" in words and bool(sizes & words) and not words & (AVERAGE | SHARE | CLOCK)

    @property
    def averages(self) -> bool:
        """Whether the name promises a mean."""
        return bool(self.words) and self.words[-1] in {"mean", "avg", "average"}

    @property
    def shares(self) -> bool:
        """Whether the name promises a share, which lies in 0..1."""
        return bool(self.words) and self.words[-1] in {
            "frac", "fraction", "accuracy", "acc", "precision", "recall", "f1",
        }  # fmt: skip

    @property
    def rates(self) -> bool:
        """Whether the name ends in rate: a share, or things a second, or a learning rate."""
        return bool(self.words) and self.words[-1] in {"rate", "ratio"}

    @property
    def clock(self) -> bool:
        """Whether the name promises seconds of one step."""
        words = self.words
        return bool(words) and words[-1] in CLOCK and not RUN_CLOCK.union({"per"}) & set(words)

    @property
    def stem(self) -> tuple[str, ...]:
        """The words that say what is measured, without those that say how.

        >>> named("rollout/matched_count").stem, named("rollout/num_matched").stem
        (('matched',), ('matched',))
        """
        words = self.words
        if words and words[0] in NUMBER:
            words = words[1:]
        plain = {*COUNT, "rate", "frac", "mean", "avg"}
        while len(words) > 1 and words[-1] in plain:
            words = words[:-1]
        return words

    @property
    def throughput(self) -> tuple[str, ...] | None:
        """The words of what is counted in ``tokens_per_s``, None where the name is no such."""
        found = _PER_TIME.fullmatch(self.last.lower())
        return tuple(w for w in _SPLIT.split(found.group(1)) if w) if found else None


@lru_cache(maxsize=20_000)
def named(key: str) -> Name:
    """The parts of ``key``."""
    family, slash, last = key.rpartition("/")
    if slash and key.count("(") and key.rindex("/") > key.index("("):  # train_speed(iter/s)
        family, slash, last = "", "", key
    words = tuple(word for word in _SPLIT.split(last.lower()) if word)
    return Name(key, family + slash, last, words)
