"""A supervised token has the type of the text that it came from, or the sample has no types."""

import unicodedata
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from coordexp_metrics.contract.errors import DeclarationError, ObservationError
from coordexp_metrics.token_types import (
    COORD,
    DESC,
    FORMAT,
    IGNORE,
    compute_token_types,
    write_coordjson,
)
from coordexp_metrics.token_types.compute import majority

from .samples import (
    ODD,
    PROMPT,
    by_characters,
    coordinate_ids,
    ids_of,
    labels_of,
    payload_of,
    real_payloads,
)
from .tokenizers_of_ours import COORDS, END
from .tokenizers_of_ours import byte_level as build_byte_level
from .tokenizers_of_ours import sentencepiece as build_sentencepiece

BOX = payload_of("dog", "person")
ADDED = {*COORDS, "<|im_end|>"}
BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=30)


def bytes_of(tokenizer, token):
    """What a token spells, in bytes, without asking for offsets."""
    if token in ADDED:
        return token.encode()
    if tokenizer.token_to_id("<0x00>") is None:
        return bytes(BYTES[letter] for letter in token)
    if token.startswith("<0x"):
        return bytes([int(token[3:5], 16)])
    return token.replace("\u2581", " ").encode()


def pure_types(tokenizer, payload):
    """The type of each token all of whose bytes have one type; None for the others."""
    text, types = by_characters(payload)
    per_byte = [kind for letter, kind in zip(text, types, strict=True) for _ in letter.encode()]
    tokens = tokenizer.encode(text, add_special_tokens=False).tokens
    spelled = [bytes_of(tokenizer, token) for token in tokens]
    assert b"".join(spelled) == text.encode()
    ends = np.cumsum([0, *map(len, spelled)])
    for token, (start, stop) in zip(tokens, pairwise(ends), strict=True):
        kinds = set(per_byte[start:stop])
        coordinate = token.startswith("<|coord_") and kinds == {FORMAT}
        yield COORD if coordinate else kinds.pop() if len(kinds) == 1 else None


def assert_typed_by_text(tokenizer, payload):
    labels = labels_of(tokenizer, write_coordjson(payload).text)
    typing = compute_token_types(tokenizer, payload, labels)
    assert typing.aligned, str(typing.misalignment)
    assert typing.types[:PROMPT] == [IGNORE] * PROMPT
    assert typing.types[-1] == FORMAT
    normal = payload
    if tokenizer.normalizer is not None:
        normal = payload_of(*(unicodedata.normalize("NFC", o["desc"]) for o in payload["objects"]))
    expected = list(pure_types(tokenizer, normal))
    for found, pure in zip(typing.types[PROMPT:-1], expected, strict=True):
        assert found in {DESC, COORD, FORMAT}
        assert pure in {None, found}


@pytest.mark.parametrize("name", ODD)
def test_every_token_has_the_type_of_its_text(tokenizer, name):
    assert_typed_by_text(tokenizer, payload_of(ODD[name], "dog"))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(texts, max_size=3))
def test_every_token_has_the_type_of_its_text_over_all_of_unicode(tokenizer, descriptions):
    assert_typed_by_text(tokenizer, payload_of(*descriptions))


def test_real_ground_truth_is_all_aligned_and_coordinates_are_the_coordinate_ids(qwen):
    coordinates = coordinate_ids(qwen)
    samples = list(real_payloads())
    if not samples:
        pytest.skip("no real rollouts beside this checkout")
    for payload in samples:
        labels = labels_of(qwen, write_coordjson(payload).text)
        typing = compute_token_types(qwen, payload, labels)
        assert typing.aligned
        supervised = [(i, t) for i, t in zip(labels, typing.types, strict=True) if i != -100]
        assert all((i in coordinates) == (t == COORD) for i, t in supervised)
        assert all(t != IGNORE for _, t in supervised)


@pytest.mark.parametrize("order", ["desc_first", "geometry_first"])
def test_either_field_order_and_polygons(qwen, order):
    things = [
        {"desc": "dog", "bbox_2d": ["<|coord_1|>", "<|coord_2|>"]},
        {"poly": [[1, 2], [3, 4]], "desc": "cat"},
    ]
    written = write_coordjson({"objects": things}, order)
    labels = labels_of(qwen, written.text)
    typing = compute_token_types(qwen, {"objects": things}, labels, field_order=order)
    assert typing.types.count(COORD) == 6
    assert typing.types.count(DESC) == 2


def test_the_payload_may_be_text(qwen):
    text = write_coordjson(BOX).text
    labels = labels_of(qwen, text)
    assert (
        compute_token_types(qwen, text, labels).types
        == compute_token_types(qwen, BOX, labels).types
    )


def test_a_straddling_token_has_the_type_of_most_of_its_characters(qwen):
    text = write_coordjson(payload_of("dog.")).text
    encoding = qwen.encode(text)
    types = compute_token_types(qwen, payload_of("dog."), encoding.ids).types
    assert types[encoding.tokens.index('.",')] == FORMAT


def test_the_majority_rule():
    """A tie goes to content; a token of no character has the type of the character there."""
    types = np.array([FORMAT, FORMAT, DESC, DESC, FORMAT, COORD], np.int8)
    cases = {(0, 3): FORMAT, (1, 3): DESC, (1, 4): DESC, (4, 6): COORD, (2, 2): DESC, (6, 6): COORD}
    found = majority(types, np.array(list(cases)))
    assert found.tolist() == list(cases.values())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_majority_is_what_counting_says(data):
    types = data.draw(st.lists(st.sampled_from([DESC, COORD, FORMAT]), min_size=1, max_size=20))
    start = data.draw(st.integers(0, len(types) - 1))
    stop = data.draw(st.integers(start + 1, len(types)))
    counts = {kind: types[start:stop].count(kind) for kind in (COORD, DESC, FORMAT)}
    expected = max(counts, key=counts.__getitem__)
    found = majority(np.array(types, np.int8), np.array([[start, stop]]))
    assert found.tolist() == [expected]


def test_without_supervision_all_is_ignored_and_nothing_is_read(qwen):
    assert compute_token_types(qwen, None, [-100] * 3).types == [IGNORE] * 3
    assert compute_token_types(None, object(), []).types == []


@pytest.mark.parametrize("tail", ["", "<|im_end|>", "<|im_end|>\n", "<|im_end|><|endoftext|>"])
def test_a_short_special_tail_is_format(qwen, tail):
    text = write_coordjson(BOX).text
    typing = compute_token_types(qwen, BOX, labels_of(qwen, text, tail))
    more = len(ids_of(qwen, tail))
    assert typing.aligned
    assert typing.types[len(typing.types) - more :] == [FORMAT] * more


@pytest.mark.parametrize("tail", [" dog", "<|coord_5|>", "\n", "<|im_end|>dog", "<|im_end|>" * 5])
def test_any_other_tail_is_a_misalignment(qwen, tail):
    text = write_coordjson(BOX).text
    typing = compute_token_types(qwen, BOX, labels_of(qwen, text, "") + ids_of(qwen, tail))
    assert typing.types is None
    assert typing.misalignment.expected is None
    assert "has ended" in str(typing.misalignment)


def test_a_coordinate_is_no_tail_even_where_it_is_declared_special():
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=build_byte_level(special=True))
    labels = tokenizer(write_coordjson(BOX).text)["input_ids"]
    more = tokenizer.convert_tokens_to_ids(["<|coord_5|>", END])
    assert compute_token_types(tokenizer, BOX, [*labels, more[1]]).aligned
    assert not compute_token_types(tokenizer, BOX, [*labels, more[0]]).aligned


def test_a_misalignment_names_the_first_place_that_differs(qwen):
    labels = labels_of(qwen, write_coordjson(BOX).text)
    good = labels[PROMPT + 7]
    labels[PROMPT + 7] = 11
    found = compute_token_types(qwen, BOX, labels).misalignment
    assert (found.position, found.index) == (PROMPT + 7, 7)
    assert (found.expected, found.found) == (good, 11)


def test_a_truncated_answer_is_a_misalignment(qwen):
    labels = labels_of(qwen, write_coordjson(BOX).text, tail="")[:-3]
    found = compute_token_types(qwen, BOX, labels).misalignment
    assert (found.position, found.found) == (len(labels), None)


def test_T04_labels_shifted_by_one_are_a_misalignment(qwen):
    labels = labels_of(qwen, write_coordjson(BOX).text, tail="")
    assert not compute_token_types(qwen, BOX, labels[:PROMPT] + labels[PROMPT + 1 :]).aligned


def test_supervision_may_have_holes_between(qwen):
    ids = ids_of(qwen, write_coordjson(BOX).text)
    spread = [value for token in ids for value in (-100, token)]
    typing = compute_token_types(qwen, BOX, spread)
    assert typing.types[::2] == [IGNORE] * len(ids)
    assert typing.types[1::2] == compute_token_types(qwen, BOX, ids).types


def test_types_come_back_in_kind(qwen):
    labels = labels_of(qwen, write_coordjson(BOX).text)
    plain = compute_token_types(qwen, BOX, labels).types
    array = compute_token_types(qwen, BOX, np.array(labels, np.int32)).types
    tensor = compute_token_types(qwen, BOX, torch.tensor(labels)).types
    assert isinstance(array, np.ndarray)
    assert tensor.dtype == torch.int64
    assert plain == array.tolist() == tensor.tolist()


def test_fast_tokenizers_of_hugging_face_are_taken(qwen):
    fast = PreTrainedTokenizerFast(tokenizer_object=qwen, eos_token=END)
    labels = labels_of(qwen, write_coordjson(BOX).text)
    assert (
        compute_token_types(fast, BOX, labels).types == compute_token_types(qwen, BOX, labels).types
    )


def test_a_tokenizer_that_cuts_is_asked_without_its_cutting(byte_level):
    labels = labels_of(byte_level, write_coordjson(BOX).text)
    byte_level.enable_truncation(8)
    try:
        assert compute_token_types(byte_level, BOX, labels).aligned
        assert byte_level.truncation is not None
    finally:
        byte_level.no_truncation()


def test_a_prefix_gives_a_tokenizer_the_context_that_it_saw():
    """SentencePiece marks the first word of a text; in a conversation the payload is not first."""
    tokenizer = build_sentencepiece("first")
    before = "assistant\n"
    text = write_coordjson(BOX).text
    whole = tokenizer.encode(before + text, add_special_tokens=False)
    ours = [i for i, (_, stop) in zip(whole.ids, whole.offsets, strict=True) if stop > len(before)]
    assert not compute_token_types(tokenizer, BOX, ours).aligned
    assert compute_token_types(tokenizer, BOX, ours, prefix=before).aligned


def test_slow_tokenizers_are_refused():
    class Slow:
        is_fast = False

        def __call__(self, text): ...

    for tokenizer in (Slow(), object()):
        with pytest.raises(DeclarationError, match="need a fast tokenizer"):
            compute_token_types(tokenizer, BOX, [1])


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (None, "is needed"),
        ([], "must be a mapping"),
        ({"objects": "dog"}, "must be a mapping"),
        ({"objects": [7]}, "must hold objects"),
        ({"objects": [{"desc": 7}]}, "text as 'desc'"),
        ({"objects": [{"bbox_2d": [1.0]}]}, "bins 0..999"),
        ({"objects": [{"bbox_2d": [True]}]}, "bins 0..999"),
        ({"objects": [{"bbox_2d": [1000]}]}, "bins 0..999"),
        ({"objects": [{"bbox_2d": 7}]}, "list of coordinates"),
        ({"objects": [{"desc": "\ud800"}]}, "half a character"),
        ({"objects": [{"other": object()}]}, "JSON cannot"),
        ({"objects": [{7: "a"}]}, "text as keys"),
        ("a dog", "opens with a brace"),
    ],
)
def test_what_is_no_payload_is_refused(qwen, payload, why):
    with pytest.raises(ObservationError, match=why):
        compute_token_types(qwen, payload, [1])


@pytest.mark.parametrize("labels", [[[1, 2]], [1.5], "ab", None, [[1], [1, 2]]])
def test_what_are_no_labels_is_refused(qwen, labels):
    with pytest.raises(ObservationError):
        compute_token_types(qwen, BOX, labels)
