"""The registry's book-keeping: ``received = accepted + rejected``, exactly, and every breach named.

What is counted is also logged, as ``contract/*`` beside the curves, once there is anything to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from .contract.check import Violation
from .sinks.entries import SinkReport

__all__ = ["Accounts"]

MAX_EXAMPLES = 1000
BY_DESIGN = frozenset({"key.suppressed", "key.double"})
_HEALTH_OF_CODE = {
    "unregistered": "contract/unregistered_total",
    "out_of_range": "contract/out_of_range_total",
    "collision": "contract/key_collision_total",
}


class Accounts:
    """Counts what a registry took, refused and found; one thread at a time."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.nonfinite = 0
        self.unspooled = 0
        self._by_key: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self._health: dict[str, float] = {}

    def accept(self, dropped: Mapping[str, str], nonfinite: int, *, spooled: bool) -> None:
        """Count a payload that goes to the sinks."""
        self.accepted += 1
        if dropped:
            self.dropped.update(dropped.values())
            lost = [code for code in dropped.values() if code not in BY_DESIGN]
            if lost:
                self._grow("contract/dropped_total", len(lost))
        if nonfinite:
            self.nonfinite += nonfinite
            self._grow("contract/nonfinite_total", nonfinite)
        if not spooled:
            self.unspooled += 1
            self._grow("contract/unspooled_total", 1)

    def reject(self, code: str) -> None:
        """Count a payload that does not."""
        self.rejected[code] += 1
        self._grow("contract/rejected_total", 1)

    def count(self, violation: Violation) -> int:
        """Count a breach; how often this one was seen."""
        self.violations[violation.code] += 1
        self._grow("contract/violations_total", 1)
        if violation.code in _HEALTH_OF_CODE:
            self._grow(_HEALTH_OF_CODE[violation.code], 1)
        what = violation.code, violation.key
        if what not in self._examples:
            if len(self._examples) >= MAX_EXAMPLES:
                what = violation.code, "(further keys)"
            self._examples.setdefault(what, violation.message)
        self._by_key[what] += 1
        return self._by_key[what]

    def health(self, sink_losses: int = 0) -> dict[str, float]:
        """The counters to log, empty while all is well."""
        if sink_losses:
            return {**self._health, "contract/sink_dropped_total": sink_losses}
        return dict(self._health)

    def report(self, sinks: Iterable[SinkReport], besides: Mapping[str, int]) -> dict[str, Any]:
        """Everything as plain data; ``besides`` were rejected where nothing could count them."""
        rejected = {**self.rejected, **{code: count for code, count in besides.items() if count}}
        accepted = self.accepted
        return {
            "received": accepted + sum(rejected.values()),
            "accepted": accepted,
            "rejected": rejected,
            "dropped": dict(self.dropped),
            "nonfinite": self.nonfinite,
            "unspooled": self.unspooled,
            "violations": dict(self.violations),
            "examples": [
                {"code": code, "key": key, "message": text, "count": self._by_key[code, key]}
                for (code, key), text in list(self._examples.items())
            ],
            "sinks": [sink._asdict() for sink in sinks],
        }

    def _grow(self, key: str, by: int) -> None:
        self._health[key] = self._health.get(key, 0) + by
