"""Fixtures of the reducers."""

from tests.reducers.cases import place

__all__ = ["place"]
