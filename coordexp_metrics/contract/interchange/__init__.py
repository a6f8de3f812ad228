"""The catalogue as JSON data: every key readable from any language, and loadable again.

A catalogue that is read back has the digest, metrics and laws of the one that was written. People
write such a file for metrics of their own: key, kind, unit and description suffice, and what
follows from the rest (``eval_key``, ``digest``, printed formulas) may be left out.
"""

from .files import read_catalogue
from .loading import from_data
from .rules import FORMAT_VERSION, RULES, SCHEMA_ID
from .writing import to_data

__all__ = ["FORMAT_VERSION", "RULES", "SCHEMA_ID", "from_data", "read_catalogue", "to_data"]
