"""What is no metric stays out of the log: helpers of reductions, texts, containers."""

from __future__ import annotations

from ...contract.record import Record
from ..findings import Findings
from ..readers.modes import PROGRESS_TEXT
from .log import said

__all__ = ["Leaks"]


class Leaks:
    """Looks at each record as it is read; a table holds numbers alone."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._internal: dict[tuple[str, ...], tuple[str, ...]] = {}

    def take(self, record: Record) -> None:
        """Helpers that left the trainer (CXM203), and values that are no numbers (CXM301 ...)."""
        place = record.origin or ("", 0)
        keys = tuple(record.metrics)
        internal = self._internal.get(keys)
        if internal is None:
            if len(self._internal) > 1000:
                self._internal.clear()
            internal = self._internal[keys] = tuple(filter(_internal, keys))
        for key in internal:
            message = (
                f"{said(key)} is an internal helper of a reduction, whose sums never leave the "
                "trainer"
            )
            self._findings.add(
                "CXM203", message, key=key, places=[place], evidence={"confidence": 0.98}
            )
        for key, text in record.skipped.items():
            rule, why = _no_number(key, text)
            message = f"{said(key)} is {said(text)[1:-1]}, {why}"
            self._findings.add(
                rule, message, key=key, places=[place], evidence={"value": text, "confidence": 1.0}
            )
        for key, text in record.nonfinite.items():
            message = f"{said(key)} is {text}"
            self._findings.add(
                "CXM303", message, key=key, places=[place], evidence={"confidence": 1.0}
            )


def _internal(key: str) -> bool:
    """Whether any family's last segment starts with an underscore (``metrics_and_losses.md:78``).

    >>> [_internal(key) for key in ("a/_den", "_private", "a_/b", "a/_/b")]
    [True, True, False, False]
    """
    return key.rpartition("/")[2].startswith("_")


def _no_number(key: str, text: str) -> tuple[str, str]:
    if text in {"true", "false"}:
        return "CXM302", "a bool; a flag is logged as 0 or 1"
    if key in PROGRESS_TEXT and text.startswith('"'):
        return "CXM306", "a text for people among the metrics"
    return "CXM301", "which is no number"
