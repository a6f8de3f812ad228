"""Types go where labels went, or the batch has none and says so."""

import logging
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.contract.errors import ObservationError
from coordexp_metrics.token_types import COORD, DESC, FORMAT, IGNORE, pack_token_types

A, B = [-100, 7, 8], [-100, -100, 9, 6]
TYPES_A, TYPES_B = [IGNORE, DESC, FORMAT], [IGNORE, IGNORE, COORD, FORMAT]


def test_types_are_concatenated_in_the_order_of_the_labels():
    assert pack_token_types([TYPES_A, TYPES_B], A + B) == TYPES_A + TYPES_B
    assert pack_token_types([TYPES_B, TYPES_A], B + A) == TYPES_B + TYPES_A


def test_a_sample_alone_is_a_pack():
    assert pack_token_types([TYPES_A], A) == TYPES_A


def test_no_samples_make_an_empty_pack():
    assert pack_token_types([], []) == []


def test_kind_and_shape_are_those_of_the_labels():
    labels = torch.tensor([A + B])
    packed = pack_token_types([torch.tensor(TYPES_A), np.array(TYPES_B)], labels)
    assert packed.shape == labels.shape
    assert packed.tolist() == [TYPES_A + TYPES_B]


def test_a_sample_without_types_is_ignored_and_the_others_stay():
    """An excluded dataset, a missing payload, an answer of plain text."""
    packed = pack_token_types([TYPES_A, None], A + B, sample_labels=[A, B])
    assert packed == TYPES_A + [IGNORE] * len(B)


def test_the_length_of_a_sample_without_types_must_be_known():
    with pytest.raises(ObservationError, match="sample_labels"):
        pack_token_types([None], A)


@pytest.mark.parametrize("cut", [slice(1, None), slice(None, -1)])
def test_T04_another_length_drops_the_types_and_is_logged_and_counted(cut, caplog):
    caplog.set_level(logging.DEBUG, "coordexp_metrics.token_types")
    counts = Counter()
    assert pack_token_types([TYPES_A, TYPES_B], (A + B)[cut], dropped=counts) is None
    assert counts == {"length": 1}
    assert caplog.records[0].levelno == logging.DEBUG
    assert "7 types for 6 labels" in caplog.text


def test_T04_types_where_nothing_is_supervised_are_shifted_and_dropped():
    counts = Counter()
    shifted = [FORMAT, IGNORE, DESC]
    assert (
        pack_token_types([TYPES_B, shifted[1:] + shifted[:1]], B + A[::-1], dropped=counts) is None
    )
    assert counts == {"labels": 1}


def test_T04_ids_in_another_order_are_dropped():
    counts = Counter()
    found = pack_token_types([TYPES_A, TYPES_B], B + A, sample_labels=[A, B], dropped=counts)
    assert found is None
    assert counts == {"labels": 1}


def test_a_first_label_that_the_collator_took_away_is_ignored():
    packed = pack_token_types([[DESC, FORMAT]], [-100, 8], sample_labels=[[7, 8]])
    assert packed == [IGNORE, FORMAT]
    assert pack_token_types([[DESC, FORMAT]], [-100, 8]) == packed


@given(st.lists(st.lists(st.sampled_from([-100, 5, 6, 7]), max_size=6), max_size=6))
def test_whatever_is_packed_each_label_keeps_its_type(samples):
    types = [[IGNORE if label == -100 else label - 4 for label in labels] for labels in samples]
    labels = [label for sample in samples for label in sample]
    expected = [kind for sample in types for kind in sample]
    assert pack_token_types(types, labels) == expected
    assert pack_token_types(types, labels, sample_labels=samples) == expected
