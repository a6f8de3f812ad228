"""The fast tokenizer spells as tiktoken does, with the same ranks."""

import unicodedata

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics.token_types.qwen import PATTERN, _ranks

from .samples import ODD


@pytest.fixture(scope="module")
def reference():
    return tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=_ranks(), special_tokens={})


def assert_same(qwen, reference, text):
    normal = unicodedata.normalize("NFC", text)
    assert qwen.encode(text, add_special_tokens=False).ids == reference.encode(normal)


@pytest.mark.parametrize("name", sorted(set(ODD) - {"coordinate inside", "special inside"}))
def test_odd_texts_have_the_ids_of_tiktoken(qwen, reference, name):
    assert_same(qwen, reference, ODD[name])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=40).filter(
        lambda text: "<|" not in text  # the reference knows no control tokens
    )
)
def test_texts_have_the_ids_of_tiktoken(qwen, reference, text):
    assert_same(qwen, reference, text)


def test_control_tokens_and_coordinates_follow_the_vocabulary(qwen):
    assert [qwen.token_to_id(t) for t in ("<|endoftext|>", "<|im_end|>")] == [151643, 151645]
    ids = [qwen.token_to_id(f"<|coord_{k}|>") for k in range(1000)]
    assert ids == list(range(ids[0], ids[0] + 1000))
