"""What is written can be read, character by character with the same type."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.contract.errors import ObservationError
from coordexp_metrics.token_types import COORD, DESC, FORMAT, read_coordjson, write_coordjson

from .samples import ODD, by_characters, payload_of

text = st.text(max_size=20)
coordinates = st.lists(st.integers(0, 999) | st.integers(0, 999).map("<|coord_{}|>".format))
thing = st.fixed_dictionaries(
    {},
    optional={
        "desc": text | st.sampled_from(sorted(ODD.values())),
        "bbox_2d": coordinates,
        "poly": coordinates | st.lists(coordinates),
        "label": text,
        "index": st.integers() | st.none() | st.floats(allow_nan=False),
    },
)
payloads = st.fixed_dictionaries({"objects": st.lists(thing)}, optional={"scene": text})


@given(payloads, st.booleans())
def test_what_is_written_is_read_with_the_same_types(payload, ensure_ascii):
    written = write_coordjson(payload, ensure_ascii=ensure_ascii)
    read = read_coordjson(written.text)
    assert read.text == written.text
    assert len(written.types) == len(written.text)
    assert read.types.tolist() == written.types.tolist()


@given(payloads)
def test_with_its_coordinates_quoted_it_is_the_json_of_the_payload(payload):
    written = write_coordjson(payload)
    parts = re.split(r"(<\|coord_\d+\|>)", written.text)
    place, quoted = 0, ""
    for part in parts:
        coordinate = part and written.types[place] == COORD
        quoted += f'"{part}"' if coordinate else part
        place += len(part)
    spelled = json.loads(json.dumps(payload), parse_int=lambda digits: digits)
    assert _coordinates_as_tokens(json.loads(quoted, parse_int=str)) == _coordinates_as_tokens(
        spelled
    )


def _coordinates_as_tokens(payload):
    def token(value):
        if isinstance(value, list):
            return [token(member) for member in value]
        return value if value.startswith("<") else f"<|coord_{value}|>"

    things = payload["objects"]
    return payload | {
        "objects": [
            {key: token(v) if key in {"bbox_2d", "poly"} else v for key, v in thing.items()}
            for thing in things
        ]
    }


@pytest.mark.parametrize("name", ODD)
def test_types_are_those_of_a_walk_over_characters(name):
    payload = payload_of(ODD[name], "dog")
    text, types = by_characters(payload)
    written = write_coordjson(payload)
    assert written.text == text
    known = [FORMAT if kind == COORD else kind for kind in written.types.tolist()]
    assert known == types


def test_quotes_and_separators_are_format():
    written = write_coordjson({"objects": [{"desc": "a", "poly": [1, 2]}]})
    shown = "".join(" dcf"[kind] for kind in written.types)
    assert written.text == '{"objects": [{"desc": "a", "poly": [<|coord_1|>, <|coord_2|>]}]}'
    assert shown == "f" * 23 + "d" + "f" * 12 + "c" * 11 + "ff" + "c" * 11 + "f" * 4


def test_field_orders_move_only_descriptions_and_geometry():
    payload = {"objects": [{"poly": [1], "index": 0, "desc": "a"}]}
    keys = {
        order: re.findall(r'"(\w+)":', write_coordjson(payload, order).text)[1:]
        for order in ("as_given", "desc_first", "geometry_first")
    }
    assert keys == {
        "as_given": ["poly", "index", "desc"],
        "desc_first": ["desc", "index", "poly"],
        "geometry_first": ["poly", "index", "desc"],
    }
    with pytest.raises(ObservationError, match="must be one of as_given, desc_first"):
        write_coordjson(payload, "desc_frist")


@pytest.mark.parametrize("tail", ["\\", '"', '\\"' * 50_000, '"desc": "' + '\\"' * 50_000])
def test_an_answer_that_breaks_off_is_read_in_one_pass(tail):
    read = read_coordjson('{"objects": [{"desc": "a' + tail)
    assert len(read.types) == len(read.text)
    assert read.types[-1] in {DESC, FORMAT}
