"""What a rule says of one key of a catalogue, before it is given a place."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Fault"]


class Fault(NamedTuple):
    """A rule, the key that breaks it, and why."""

    rule: str
    key: str
    message: str
