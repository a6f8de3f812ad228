"""The registry's book-keeping: ``received = accepted + rejected``, exactly, and every breach named.

What is counted is also logged, as ``contract/*`` beside the curves, once there is anything to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from .contract.check import Violation
from .emission import Emission
from .sinks.fanout import Channel

__all__ = ["Accounts"]

MAX_EXAMPLES = 1000
BY_DESIGN = frozenset({"key.suppressed", "key.double"})
_HEALTH_OF_CODE = {
    "unregistered": "contract/unregistered_total",
    "out_of_range": "contract/out_of_range_total",
    "collision": "contract/key_collision_total",
}


class Accounts:
    """Counts what a registry took, refused and found."""

    def __init__(self) -> None:
        self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.nonfinite = 0
        self._by_key: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], str] = {}
        self._health: dict[str, float] = {}

    def accept(self, emission: Emission) -> None:
        """Count a payload that goes to the sinks."""
        self.accepted += 1
        if emission.dropped:
            self.dropped.update(emission.dropped.values())
            lost = [code for code in emission.dropped.values() if code not in BY_DESIGN]
            if lost:
                self._grow("contract/dropped_total", len(lost))
        if emission.nonfinite:
            self.nonfinite += len(emission.nonfinite)
            self._grow("contract/nonfinite_total", len(emission.nonfinite))

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

    def health(self) -> dict[str, float]:
        """The counters to log, empty while all is well."""
        return dict(self._health)

    def report(self, channels: Iterable[Channel]) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "received": self.accepted + self.rejected.total(),
            "accepted": self.accepted,
            "rejected": dict(self.rejected),
            "dropped": dict(self.dropped),
            "nonfinite": self.nonfinite,
            "violations": dict(self.violations),
            "examples": [
                {"code": code, "key": key, "message": text, "count": self._by_key[code, key]}
                for (code, key), text in self._examples.items()
            ],
            "sinks": [
                {
                    "sink": channel.sink.name,
                    "accepted": channel.accepted,
                    "delivered": channel.delivered,
                    "pending": channel.pending,
                    "dropped": dict(channel.dropped),
                    "last_error": channel.last_error,
                }
                for channel in channels
            ],
        }

    def _grow(self, key: str, by: int) -> None:
        self._health[key] = self._health.get(key, 0) + by
