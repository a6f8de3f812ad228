"""The four types of a token, and the label that says "not supervised".

>>> NAMES[COORD]
'coord'
"""

from __future__ import annotations

__all__ = ["COORD", "DESC", "FORMAT", "IGNORE", "NAMES", "UNSUPERVISED"]

UNSUPERVISED = -100
IGNORE, DESC, COORD, FORMAT = -1, 1, 2, 3
NAMES = {IGNORE: "ignore", DESC: "desc", COORD: "coord", FORMAT: "format"}
