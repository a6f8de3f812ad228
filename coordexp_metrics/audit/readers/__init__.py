"""Any log that a run leaves behind, read back as records; what cannot be read is named."""

from __future__ import annotations

from .limits import Limits
from .problems import Problems, ReadProblem, SourceError
from .records import Records, read, read_all, read_stream

__all__ = [
    "Limits",
    "Problems",
    "ReadProblem",
    "Records",
    "SourceError",
    "read",
    "read_all",
    "read_stream",
]
