"""The quick decoder gives what the strict one gives, or nothing."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordexp_metrics.audit.readers import Limits, read
from coordexp_metrics.audit.readers import quick as quick_module
from coordexp_metrics.audit.readers.decode import Decoder
from coordexp_metrics.audit.readers.quick import UNSURE, quickly

pytest.importorskip("orjson")

KEYS = st.sampled_from(["a", "b", "loss", "a:b", '"', "\\", "é", "\x01", "", "\ud800"])
NUMBERS = st.one_of(
    st.floats(allow_nan=True), st.integers(), st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**400])
)
VALUES = st.recursive(
    st.one_of(NUMBERS, KEYS, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)
PIECES = st.sampled_from(
    ['"a"', '"b"', ":", " :", ",", "{", "}", "[", "]", "1", "-0", "-0.0", "1e-05", "-0e1", "1e999",
     "NaN", "null", "true", '"x:y"', '"1m 3s"', " ", "\\", "9" * 20, "-", "0.1"]
)  # fmt: skip


def strict(raw):
    decoder = Decoder(Limits())
    loads, quick_module.orjson = quick_module.orjson, None
    try:
        return decoder.decode(raw), decoder.faults
    finally:
        quick_module.orjson = loads


def agrees(raw):
    found = quickly(raw, Limits().depth)
    if found is UNSURE:
        return
    values, faults = strict(raw)
    assert repr([found]) == repr(values)
    assert faults == []


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@settings(max_examples=200, deadline=None)
def test_what_is_quick_is_what_is_strict(row):
    for separators in ((",", ":"), (", ", ": "), (" , ", " : ")):
        agrees(json.dumps(row, separators=separators).encode())


@given(st.lists(PIECES, max_size=14).map("".join))
@example('"a":1,"a":2')
@example('"a":1,"a" :1')
@example('"a":"x","a":1')
@example('"a":{"b":1,"b":2}')
@example('"a":-0')
@settings(max_examples=400, deadline=None)
def test_nothing_that_json_blurs_is_quick(text):
    agrees(f"{{{text}}}".encode())


BLURRED = [
    b'{"a": 1, "a": 1}',
    b'{"a" : 1, "b": 2, "a": 1}',
    b'{"a": "x", "a": "y"}',
    b'{"a": [{"b": 1, "b": 2}]}',
    b'{"a": -0}',
    b'{"a": 18446744073709551616}',
    b'{"a": -9223372036854775809, "t": "x"}',
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b'{"\\u0061": 1}',
    b'{"a": 1}\r',
    b'\xef\xbb\xbf{"a": 1}',
    b'{"a": 1}{"a": 2}',
    b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}",
]


@pytest.mark.parametrize("raw", BLURRED, ids=lambda raw: raw[:30].decode("latin-1"))
def test_a_line_that_is_blurred_goes_to_the_strict_decoder(raw):
    assert quickly(raw, 32) is UNSURE


def test_a_plain_line_is_quick():
    row = {"loss": 1.5, "n": 7, "small": 1e-05, "low": -0.5, "time": "1m 3s", "at": "12:30:00"}
    assert quickly(json.dumps(row).encode(), 32) == row


def test_a_log_reads_the_same_with_and_without_orjson(real_log, monkeypatch):
    quickest = list(read(real_log))
    monkeypatch.setattr(quick_module, "orjson", None)
    assert repr(list(read(real_log))) == repr(quickest)
