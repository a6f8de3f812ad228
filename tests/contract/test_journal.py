"""A sealed line is taken as it was written, or not at all."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics.contract.journal import is_sealed, salvage, seal, unseal

# The format keeps the name `crc` for itself.
names = st.text(max_size=8).filter(lambda name: name != "crc")
objects = st.dictionaries(names, st.integers() | st.text(max_size=8), min_size=1)


def text_of(row):
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")


@given(objects)
def test_a_sealed_line_gives_back_its_text_and_is_json_itself(row):
    text = text_of(row)
    line = seal(text)
    assert line.endswith(b"}\n")
    assert unseal(line[:-1]) == text
    whole = json.loads(line)
    assert list(whole)[-1] == "crc"
    assert {**row, "crc": whole["crc"]} == whole


@settings(max_examples=50)
@given(objects, st.data())
def test_no_flip_of_a_bit_gives_another_text(row, data):
    line = seal(text_of(row))[:-1]
    bit = data.draw(st.integers(0, len(line) * 8 - 1))
    flipped = bytearray(line)
    flipped[bit // 8] ^= 1 << bit % 8
    assert unseal(bytes(flipped)) is None


@given(objects, st.data())
def test_no_part_of_a_line_is_taken_for_a_whole_one(row, data):
    line = seal(text_of(row))[:-1]
    cut = data.draw(st.integers(0, len(line) - 1))
    assert unseal(line[:cut]) is None
    assert unseal(line[cut + 1 :]) is None


def test_what_ends_in_no_checksum_is_not_sealed():
    for line in (b"", b"}", b'{"crc":"0"}', b'{"a":1,"crc":"0123456G"}', b'"crc":"01234567"}'):
        assert not is_sealed(line)
    assert is_sealed(b'{"a":1,"crc":"01234567"}')


@given(st.lists(objects, min_size=1, max_size=4), st.binary(max_size=3))
def test_whole_lines_are_salvaged_from_between_damage(rows, junk):
    junk = junk.replace(b"{", b"")
    texts = [text_of({"seq": at, **row}) for at, row in enumerate(rows)]
    texts = [text.replace(b'{"seq": ', b'{"seq":') for text in texts]
    joined = b'{"seq":9,"torn' + b"".join(junk + seal(text)[:-1] for text in texts)
    assert list(salvage(joined)) == texts
