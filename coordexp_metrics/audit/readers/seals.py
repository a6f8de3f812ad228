"""A sealed line is taken only if its checksum holds; in a sealed file no other line is taken."""

from __future__ import annotations

from typing import NamedTuple

from ...contract.journal import announces_seals, is_sealed, salvage, unseal
from .lines import Line

__all__ = ["Opened", "Seals"]


class Opened(NamedTuple):
    """What a line of a sealed file gave.

    Attributes:
        texts: the JSON objects that are as they were written.
        damage: the code of what is wrong, empty where nothing is.
        message: what is wrong, as a sentence.
    """

    texts: tuple[bytes, ...]
    damage: str = ""
    message: str = ""


class Seals:
    """Opens the lines of one file; logs of earlier versions, and of others, have no seals."""

    def __init__(self) -> None:
        self._expected = False

    def open(self, line: Line) -> Opened | None:
        """What the seal of ``line`` says; None where the line has none and needs none."""
        if line.too_long:
            return None
        text = unseal(line.raw)
        if text is not None:
            self._expected = True
            return Opened((text,))
        if is_sealed(line.raw):
            self._expected = True
            return _damaged(line, "does not have the checksum that it names")
        if line.ended:
            announced = announces_seals(line.raw)
            self._expected = self._expected if announced is None else announced
        if not self._expected:
            return None
        if not line.ended:
            return Opened(tuple(salvage(line.raw)), "torn_tail", "breaks off")
        return _damaged(line, "has no checksum: it was cut short, or changed")


def _damaged(line: Line, why: str) -> Opened:
    found = tuple(salvage(line.raw))
    rescued = f"; {len(found)} whole record(s) in it are taken" if found else "; it is skipped"
    return Opened(found, "line.damaged", why + rescued)
