"""Padded, padding-free or packed: the same samples have the same types."""

import logging
import pickle
import subprocess
import sys
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForSeq2Seq,
    DataCollatorWithFlattening,
    PreTrainedTokenizerFast,
)

from coordexp_metrics.catalogue.vocabulary import PAYLOAD
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.declare import total
from coordexp_metrics.contract.errors import DeclarationError
from coordexp_metrics.contract.family import Family
from coordexp_metrics.token_types import (
    COORD,
    DESC,
    FORMAT,
    IGNORE,
    BatchExtras,
    TokenTypeCollator,
    TokenTypeConfig,
    pop_batch_extras,
)
from coordexp_metrics.window import Window

from . import collators
from .samples import coordinate_ids, payload_of, sample_of

ON = TokenTypeConfig(enabled=True, include=["lvis", "coco"])
LOGGER = "coordexp_metrics.token_types"


@pytest.fixture(scope="module")
def samples(qwen):
    return [
        sample_of(qwen, payload_of("dog")),
        sample_of(qwen, payload_of("red chair", "person", "猫"), dataset="LVIS"),
        sample_of(qwen, payload_of(), dataset="coco"),
        sample_of(qwen, payload_of("café table"), dataset="coco"),
    ]


def batch_of(tokenizer, base, items, config=ON, **options):
    return TokenTypeCollator(base, tokenizer, config, **options)(items)


def typed_ids(batch):
    """Each typed label with its type, in any order."""
    pairs = zip(
        batch["labels"].ravel().tolist(), batch["token_types"].ravel().tolist(), strict=True
    )
    return sorted(pair for pair in pairs if pair[1] != IGNORE)


@pytest.mark.parametrize("base", [collators.padded, collators.padded_left])
def test_a_padded_batch_has_types_of_the_shape_of_its_labels(qwen, samples, base):
    batch = batch_of(qwen, base, samples)
    assert batch["token_types"].shape == batch["labels"].shape
    assert batch["pack_num_samples"] == 4
    assert ((batch["token_types"] == IGNORE) == (batch["labels"] == -100)).all()


@pytest.mark.parametrize(
    "base", [collators.padded_left, collators.padding_free, collators.flattening]
)
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_however_samples_are_packed_each_id_has_the_same_type(qwen, samples, base, order):
    expected = typed_ids(batch_of(qwen, collators.padded, samples))
    assert typed_ids(batch_of(qwen, base, samples[order])) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.permutations(range(4)), st.sets(st.integers(1, 3)), st.booleans())
def test_in_any_packing_order_each_id_has_the_same_type(qwen, samples, order, cuts, rows):
    ends = [0, *sorted(cuts), 4]
    lists = [[samples[i] for i in order[start:stop]] for start, stop in pairwise(ends)]
    if rows:
        batches = [batch_of(qwen, collators.packs, lists)]
    else:
        batches = [batch_of(qwen, collators.padding_free, items) for items in lists]
    found = sorted(pair for batch in batches for pair in typed_ids(batch))
    assert found == typed_ids(batch_of(qwen, collators.padded, samples))
    assert sum(batch["pack_num_samples"] for batch in batches) == 4


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_packs_as_lists_of_samples(qwen, samples, cut):
    batch = batch_of(qwen, collators.packs, [samples[:cut], samples[cut:]])
    assert typed_ids(batch) == typed_ids(batch_of(qwen, collators.padded, samples))
    assert batch["token_types"].shape == (2, batch["labels"].shape[1])
    assert batch["pack_num_samples"] == 4


def test_collators_of_hugging_face(qwen, samples):
    fast = PreTrainedTokenizerFast(tokenizer_object=qwen, pad_token="<|endoftext|>")  # noqa: S106
    expected = typed_ids(batch_of(qwen, collators.padded, samples))
    padding = DataCollatorForSeq2Seq(fast, pad_to_multiple_of=64)
    for base in (DataCollatorWithFlattening(), padding):
        batch = batch_of(fast, base, samples)
        assert typed_ids(batch) == expected
        assert batch["token_types"].shape == batch["labels"].shape


def test_an_oversized_sample_alone_in_its_pack(qwen):
    big = sample_of(qwen, payload_of(*["a very long description"] * 100))
    batch = batch_of(qwen, collators.packs, [[big]])
    assert (batch["token_types"] == COORD).sum() == 400


def test_coordinates_are_those_of_the_coordinate_ids(qwen, samples):
    coordinates = coordinate_ids(qwen)
    batch = batch_of(qwen, collators.padding_free, samples)
    assert all((i in coordinates) == (t == COORD) for i, t in typed_ids(batch))


@pytest.mark.parametrize(
    ("config", "included"),
    [
        ({"include": ["lvis"]}, [True, True, False, False]),
        ({"include": ["LVIS", "coco"], "exclude": ["Coco"]}, [True, True, False, False]),
        ({"include": "coco"}, [False, False, True, True]),
        ({"include": []}, [False] * 4),
    ],
)
def test_excluded_samples_are_ignored_in_rows_and_in_packs(qwen, samples, config, included):
    section = {"enabled": True, **config}
    batch = batch_of(qwen, collators.padded, samples, section)
    assert [bool((row != IGNORE).any()) for row in batch["token_types"]] == included
    packed = batch_of(qwen, collators.padding_free, samples, section)
    assert typed_ids(packed) == typed_ids(batch)


@pytest.mark.parametrize("payload", [None, "absent"])
def test_a_sample_without_payload_or_with_a_plain_answer_is_ignored(qwen, samples, payload):
    other = {**samples[1], "assistant_payload": payload}
    if payload == "absent":
        del other["assistant_payload"]
    batch = batch_of(qwen, collators.padded, [samples[0], other])
    assert (batch["token_types"][1] == IGNORE).all()
    assert (batch["token_types"][0] != IGNORE).any()


def test_a_sample_of_no_dataset_is_ignored(qwen, samples):
    other = {key: value for key, value in samples[0].items() if key != "dataset"}
    assert (batch_of(qwen, collators.padded, [other])["token_types"] == IGNORE).all()


def test_a_sample_without_supervision_is_ignored_and_the_others_stay(qwen, samples):
    bare = {**samples[1], "labels": [-100] * len(samples[1]["labels"])}
    batch = batch_of(qwen, collators.padding_free, [samples[0], bare])
    alone = batch_of(qwen, collators.padding_free, samples[:1])
    assert typed_ids(batch) == typed_ids(alone)


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        (collators.one_short, "length"),
        (collators.one_long, "length"),
        (collators.reversed_order, "labels"),
    ],
)
def test_T04_a_pack_that_does_not_fit_has_no_types(qwen, samples, base, reason, caplog):
    caplog.set_level(logging.DEBUG, LOGGER)
    collate = TokenTypeCollator(base, qwen, ON)
    batch = collate(samples)
    assert batch["token_types"] is None
    assert batch["labels"] is not None
    assert collate.dropped == {reason: 1}
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


@pytest.mark.parametrize("spoilt", ["changed", "truncated", "shifted"])
def test_T04_a_misaligned_sample_drops_the_types_of_its_batch(qwen, samples, spoilt, caplog):
    caplog.set_level(logging.DEBUG, LOGGER)
    labels = samples[0]["labels"]
    other = {
        "changed": [*labels[:-2], 11, labels[-1]],
        "truncated": labels[:-4],
        "shifted": labels[1:] + labels[:1],
    }[spoilt]
    if spoilt == "shifted":
        other[4:6] = [-100, other[5]]
    bad = {**samples[0], "labels": other, "input_ids": other}
    collate = TokenTypeCollator(collators.padded, qwen, ON)
    assert collate([bad, samples[1]])["token_types"] is None
    assert collate.dropped == {"misaligned": 1}
    assert "position" in caplog.text


@pytest.mark.parametrize(
    "spoilt",
    [
        {"assistant_payload": {"objects": 7}},
        {"assistant_payload": {"objects": [{"desc": "\ud800"}]}},
        {"assistant_payload": 7},
        {"labels": None},
    ],
)
def test_what_cannot_be_read_drops_the_types_and_ends_nothing(qwen, samples, spoilt):
    collate = TokenTypeCollator(lambda items: collators.padded(samples[:1]), qwen, ON)
    assert collate([{**samples[0], **spoilt}])["token_types"] is None
    assert collate.dropped == {"unusable": 1}


def test_a_batch_without_labels_keeps_what_it_has(qwen, samples):
    collate = TokenTypeCollator(lambda items: {"input_ids": 1}, qwen, ON)
    assert collate(samples)["token_types"] is None
    assert TokenTypeCollator(lambda items: 7, qwen, ON)(samples) == 7


def test_disabled_only_counts_samples(samples):
    batch = TokenTypeCollator(collators.padded, None)(samples)
    assert set(batch) == {"input_ids", "labels", "pack_num_samples"}


def test_the_base_collator_sees_neither_payload_nor_label(qwen, samples):
    seen = []

    def base(items):
        seen.extend(items)
        return collators.padded(items)

    batch_of(qwen, base, samples)
    assert {key for item in seen for key in item} == {"input_ids", "labels"}
    assert "assistant_payload" in samples[0]


def test_extras_are_popped_before_the_model_sees_the_batch(qwen, samples):
    batch = batch_of(qwen, collators.padded, samples)
    types = batch["token_types"]
    assert pop_batch_extras(batch) == BatchExtras(types, 4)
    assert set(batch) == {"input_ids", "labels"}
    assert pop_batch_extras(batch) == BatchExtras()
    dropped = batch_of(qwen, collators.one_short, samples)
    assert pop_batch_extras(dropped) == BatchExtras(None, 4, dropped=1)
    assert set(dropped) == {"input_ids", "labels"}


class Counters(Family, pattern="contract/{name}"):
    """What the window of this test counts."""

    token_types_dropped_total = total("batches", unit=PAYLOAD)


def test_a_batch_that_lost_its_types_is_counted_in_the_window():
    window = Window(Catalogue(Counters), group="local")
    BatchExtras(None, 1, dropped=1).observe(window)
    BatchExtras(None, 1).observe(window)
    metrics = window.close(mode="train", global_step=1).metrics
    assert metrics == {"contract/token_types_dropped_total": 1}


def test_workers_of_a_data_loader_make_the_same_batches(qwen, samples):
    collate = TokenTypeCollator(collators.padded, qwen, ON)
    here = list(DataLoader(samples, batch_size=2, collate_fn=collate))
    there = list(DataLoader(samples, batch_size=2, collate_fn=collate, num_workers=1))
    assert [typed_ids(batch) for batch in here] == [typed_ids(batch) for batch in there]


def test_a_collator_survives_pickling(qwen, samples):
    collate = TokenTypeCollator(partial(collators.padded, side="left"), qwen, ON)
    again = pickle.loads(pickle.dumps(collate))  # noqa: S301 - our own bytes
    assert typed_ids(again(samples)) == typed_ids(collate(samples))


def test_types_need_no_torch():
    code = (
        "import sys, coordexp_metrics.token_types\nprint({'torch', 'tokenizers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_slow_tokenizer_or_a_misspelt_option_is_refused_at_once(qwen):
    with pytest.raises(DeclarationError, match="fast tokenizer"):
        TokenTypeCollator(collators.padded, object(), ON)
    with pytest.raises(DeclarationError, match="desc_frist"):
        TokenTypeCollator(collators.padded, qwen, ON, field_order="desc_frist")


def test_T04_a_type_that_is_no_type_never_comes_out(qwen, samples):
    found = batch_of(qwen, collators.padding_free, samples)["token_types"]
    assert found.dtype == torch.int64
    assert set(found.unique().tolist()) == {IGNORE, DESC, COORD, FORMAT}
