"""A clean log of ours, made once."""

import copy

import pytest

from .ours import rows_of, write_stage2


@pytest.fixture(scope="session")
def clean_rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("clean") / "metrics.jsonl"
    return rows_of(write_stage2(path))


@pytest.fixture
def clean(clean_rows):
    """Payloads that a test may change."""
    return copy.deepcopy(clean_rows)
