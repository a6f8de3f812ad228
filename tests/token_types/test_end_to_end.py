"""Padded or packed, in any order: the same samples give the same payload."""

import pytest
import torch

from coordexp_metrics import CATALOGUE
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.token_types import IGNORE, TokenTypeCollator, pop_batch_extras
from coordexp_metrics.window import Window

from . import collators
from .samples import payload_of, sample_of
from .tokenizers_of_ours import COORDS

COUNTS = ("token_count", "desc_token_count", "coord_token_count", "format_token_count")
ON = {"enabled": True}


@pytest.fixture(scope="module")
def samples(byte_level):
    texts = [["red dog"], ["chair", "person", "café 猫"], [], ["a", "b", "white bus"]]
    found = [sample_of(byte_level, payload_of(*text)) for text in texts]
    found[3]["dataset"] = "coco"
    return found


@pytest.fixture(scope="module")
def logits(byte_level, samples):
    """Of each sample, whatever it is packed with: as an attention that keeps packs apart."""
    generator = torch.Generator().manual_seed(0)
    size = byte_level.get_vocab_size()
    return {
        str(sample["labels"]): torch.randn(len(sample["labels"]), size, generator=generator)
        for sample in samples
    }


def rows_of(groups, logits, width):
    size = next(iter(logits.values())).shape[1]
    rows = torch.zeros(len(groups), width, size)
    for row, group in zip(rows, groups, strict=True):
        joined = torch.cat([logits[str(sample["labels"])] for sample in group])
        row[: len(joined)] = joined[:width]
    return rows


def metrics_of(tokenizer, logits, base, batches, spoil=lambda types: types):
    reducer = LogitsReducer([tokenizer.token_to_id(token) for token in COORDS])
    collate = TokenTypeCollator(base, tokenizer, ON)
    window = Window(CATALOGUE, group="local")
    for items in batches:
        batch = collate(items)
        extras = pop_batch_extras(batch)
        extras.observe(window)
        rows = len(batch["labels"])
        groups = [item if isinstance(item, list) else [item] for item in items]
        if rows == 1:
            groups = [[sample for group in groups for sample in group]]
        given = rows_of(groups, logits, batch["labels"].shape[1])
        types = spoil(extras.token_types)
        reducer.observe(window, given, batch["labels"], types, extras.num_samples)
    return window.close(mode="train", global_step=1).metrics


PACKINGS = [
    (collators.padding_free, [[0, 1, 2, 3]]),
    (collators.padding_free, [[3, 1], [2, 0]]),
    (collators.padding_free, [[2], [3], [1], [0]]),
    (collators.padded, [[1, 0], [3, 2]]),
    (collators.packs, [[[3, 0], [1, 2]]]),
    (collators.packs, [[[2], [0, 3, 1]]]),
]


@pytest.mark.parametrize(("base", "order"), PACKINGS)
def test_padded_and_packed_give_the_same_payload(byte_level, samples, logits, base, order):
    def picked(places):
        return [picked(place) if isinstance(place, list) else samples[place] for place in places]

    expected = metrics_of(byte_level, logits, collators.padded, [samples])
    found = metrics_of(byte_level, logits, base, [picked(places) for places in order])
    assert {key: found[key] for key in COUNTS} == {key: expected[key] for key in COUNTS}
    assert found.keys() == expected.keys()
    for key, value in found.items():
        assert value == pytest.approx(expected[key], rel=1e-9), key
    typed = expected["desc_token_count"] + expected["coord_token_count"]
    assert 0 < typed + expected["format_token_count"] < expected["token_count"]


def shifted(types):
    return torch.nn.functional.pad(types, (1, 0), value=IGNORE)[:, :-1]


@pytest.mark.parametrize("spoil", [shifted, lambda types: types[:, :-1], lambda types: types + 7])
def test_T04_types_that_do_not_fit_take_only_typed_keys_away(byte_level, samples, logits, spoil):
    found = metrics_of(byte_level, logits, collators.padding_free, [samples], spoil)
    assert found["token_acc"] >= 0
    assert not {key for key in found if key.startswith(("desc_", "format_"))}
    assert found["contract/token_types_dropped_total"] == 1


def test_T04_types_that_the_collator_dropped_are_counted(byte_level, samples, logits):
    found = metrics_of(byte_level, logits, collators.one_short, [samples])
    assert not {key for key in found if key.startswith(("desc_", "format_"))}
    assert found["contract/token_types_dropped_total"] == 1
    assert found["token_count"] > 0
