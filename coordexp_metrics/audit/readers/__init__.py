"""Any log that a run leaves behind, read back as records; what cannot be read is named."""

from __future__ import annotations

from .limits import Limits
from .problems import Problems, ReadProblem, SourceError
from .reading import read, read_all, read_stream
from .records import Records

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
