"""Keys are printable ASCII segments; nothing else gets in."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.contract.errors import safe_text
from coordexp_metrics.contract.keys import (
    KEY_PATTERN,
    MAX_KEY_LENGTH,
    is_internal,
    near,
    well_formed,
)

GOOD = [
    "loss",
    "coord_diag/B/p_gt_mean",
    "memory(GiB)",
    "train_speed(iter/s)",
    "stage2_ab/channel_b/_prompt",
    "top@5",
    "a.b-c",
]
BAD = [
    *("", " ", "/", "a//b", "a/", "/a", " a", "a ", "a b"),
    *("loss\n", "a\nb", "a\r", "a\t", "a\0", "a\x1b[2J", "a\x9b", "a\x7f"),
    *("a\ud800", "a\u202e", "a\u200b", "l\u043ess", "e\u0301", "a\u2028b", "ü"),
    *("../../x", "/etc/passwd", "C:\\x", "a/../b", "~", "~/x", ".", "a/./b", ".hidden"),
    *("loss[/]", "a|b", "<script>", "a%0Ab", "a`b", "=1+1", "-x", "+x", "@x"),
    "x" * (MAX_KEY_LENGTH + 1),
]
WRONG_TYPES = [1, None, b"loss", ("a",), type("Str", (str,), {})("loss")]


@pytest.mark.parametrize("key", GOOD)
def test_keys_of_real_runs_are_well_formed(key):
    assert well_formed(key)
    assert re.search(KEY_PATTERN, key)


@pytest.mark.parametrize("key", BAD, ids=ascii)
def test_K02_to_K06_hostile_keys_are_not(key):
    assert not well_formed(key)
    assert len(key) > MAX_KEY_LENGTH or not re.search(KEY_PATTERN, key)


@pytest.mark.parametrize("key", WRONG_TYPES, ids=repr)
def test_K01_keys_of_other_types_are_not(key):
    assert not well_formed(key)


@given(st.text(max_size=12))
def test_the_pattern_and_the_function_agree(key):
    assert well_formed(key) == bool(re.search(KEY_PATTERN, key))


def test_K09_internal_keys():
    assert is_internal("stage2_ab/channel_b/_prompt_tok_mismatch_num")
    assert is_internal("_step")
    assert not is_internal("_a/b")


@pytest.mark.parametrize("key", ["a" * 10**7, "a/" * 10**6, "a" * 26 + "!"], ids=len)
@pytest.mark.timeout(5)
def test_C18_hostile_keys_take_no_time(key):
    assert not well_formed(key) or len(key) <= MAX_KEY_LENGTH
    assert near(key, ["loss"]) == ()


@given(st.text(max_size=300) | st.binary() | st.integers() | st.none() | st.floats())
def test_K06_safe_text_is_short_printable_ascii(value):
    text = safe_text(value)
    assert len(text) <= 80
    assert text.isascii()
    assert text.isprintable()
