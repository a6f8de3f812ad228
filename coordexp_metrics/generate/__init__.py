"""Schemas and pages are generated from the catalogue, committed, and compared in CI."""

from .outputs import outputs, stale, write
from .schemas import catalogue_schema, payload_schema

__all__ = ["catalogue_schema", "outputs", "payload_schema", "stale", "write"]
