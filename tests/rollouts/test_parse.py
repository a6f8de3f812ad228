"""Every record of a rollout is an object, is dropped under one name, or was cut by the end."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import CATALOGUE
from coordexp_metrics.catalogue.two_channel import DropReasons
from coordexp_metrics.contract.errors import DeclarationError, ObservationError
from coordexp_metrics.rollouts import (
    DetectedObject,
    ParsedRollout,
    parse_rollout,
    render_objects,
    render_rollout,
)
from coordexp_metrics.rollouts.parse import REASONS
from coordexp_metrics.token_types import write_coordjson

from .texts import BOX, FRAGMENTS, GOOD, OPEN, POLY, any_text, mutated, objects, orders

NEW = DetectedObject("bbox_2d", (5, 6, 7, 8), "new")
GOOD_OBJECT = DetectedObject("bbox_2d", (1, 2, 30, 40), "good")


def among(record):
    """A record before, between and after good ones."""
    return f"{OPEN}{record}, {GOOD}, {record}, {GOOD}, {record}]}}"


@given(objects, orders)
def test_what_is_rendered_is_parsed_back(given_objects, order):
    text = render_rollout(given_objects, order)
    parsed = parse_rollout(text + "<|im_end|>\n", order)
    assert parsed == ParsedRollout(objects=tuple(given_objects))
    assert len(parsed.spans) == len(given_objects)


@given(objects, orders)
def test_rendering_is_the_spelling_that_tokens_are_typed_by(given_objects, order):
    payload = {"objects": [{"desc": o.desc, o.kind: list(o.points)} for o in given_objects]}
    assert render_rollout(given_objects, order) == write_coordjson(payload, order).text


@pytest.mark.parametrize("token", ["<|im_end|>", "<|endoftext|>"])
def test_a_description_cannot_end_the_turn(token):
    thing = DetectedObject("bbox_2d", (1, 2, 3, 4), f"a {token} b")
    text = render_rollout([thing])
    assert token not in text
    assert parse_rollout(text).objects == (thing,)


@pytest.mark.parametrize("white", ["", " ", "\n\t\r  "])
def test_white_space_does_not_count(white):
    text = f'{{ "objects" : [ {{ "desc" : "good" , "bbox_2d" : {BOX} }} ] }}'.replace(" ", white)
    assert parse_rollout(white + text + white).objects == (GOOD_OBJECT,)


def test_the_reasons_are_those_of_the_catalogue():
    """Reasons and catalogue have one vocabulary, in one order."""
    where, _, _ = DropReasons.other.key.rpartition("/")
    declared = [key for key in CATALOGUE if key.startswith(f"{where}/")]
    assert [f"{where}/{reason}" for reason in REASONS] == declared


GEOMETRY_FAULTS = {
    "three": "[<|coord_1|>, <|coord_2|>, <|coord_3|>]",
    "five": "[<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>, <|coord_5|>]",
    "none": "[]",
    "numbers": "[1, 2, 3, 4]",
    "quoted": BOX.replace("<", '"<').replace(">", '>"'),
    "1000": BOX.replace("coord_40", "coord_1000"),
    "leading zero": BOX.replace("coord_1|", "coord_01|"),
    "negative": BOX.replace("coord_1|", "coord_-1|"),
    "other digits": BOX.replace("coord_1|", "coord_\u0661|"),
    "nested": f"[{BOX}]",
    "no commas": BOX.replace(",", ""),
    "last comma": BOX.replace("]", ",]"),
    "a bare token": "<|coord_1|>",
    "null": "null",
    "text": '"box"',
    "object": "{}",
}


def boxed(*bins):
    array = ", ".join(f"<|coord_{k}|>" for k in bins)
    return f'{{"desc": "a", "bbox_2d": [{array}]}}'


RECORDS = {
    "{}": "missing_desc",
    f'{{"bbox_2d": {BOX}}}': "missing_desc",
    f'{{"desc": "", "bbox_2d": {BOX}}}': "missing_desc",
    f'{{"desc": " \\t\\u00a0", "bbox_2d": {BOX}}}': "missing_desc",
    f'{{"desc": null, "bbox_2d": {BOX}}}': "missing_desc",
    f'{{"desc": ["a"], "bbox_2d": {BOX}}}': "missing_desc",
    f'{{"desc": 5, "bbox_2d": {BOX}}}': "missing_desc",
    '{"desc": "a"}': "wrong_arity",
    f'{{"desc": "a", "poly": {BOX}}}': "wrong_arity",
    f'{{"desc": "a", "poly": {POLY[:-1]}, <|coord_7|>]}}': "wrong_arity",
    f'{{"desc": "a", "bbox_2d": {POLY}}}': "wrong_arity",
    f'{{"desc": "a", "bbox": {BOX}}}': "wrong_arity",
    f'{{"desc": "a", "bbox_2d": {BOX}, "score": 1}}': "unexpected_keys",
    f'{{"desc": "a", "bbox_2d": {BOX}, "poly": {POLY}}}': "unexpected_keys",
    f'{{"desc": "a", "bbox_2d": {BOX}, "parts": [{GOOD}, {GOOD}]}}': "unexpected_keys",
    f'{{"index": 0, "bbox_2d": {BOX}, "desc": "a"}}': "unexpected_keys",
    f'{{"bbox_2d": {BOX}, "desc": "a"}}': "order_violation",
    boxed(3, 2, 1, 4): "bbox_invalid",
    boxed(1, 4, 3, 2): "bbox_invalid",
    boxed(1, 2, 1, 4): "bbox_invalid",
    boxed(1, 2, 3, 2): "bbox_invalid",
    "12": "other",
    "null": "other",
    '"a, b] } {"': "other",
    "[1, [2]]": "other",
    BOX: "other",
    f"[{GOOD}]": "other",
    f"{{{GOOD}}}": "other",
    f'{{"desc": a, "bbox_2d": {BOX}}}': "other",
    f'{{"desc": "a" "bbox_2d": {BOX}}}': "other",
    f'{{"desc": "a", "bbox_2d": {BOX},}}': "other",
    f'{{"desc": "a\\q", "bbox_2d": {BOX}}}': "other",
    f'{{"desc": "a\\u12", "bbox_2d": {BOX}}}': "other",
    f'{{"desc": "a\nb", "bbox_2d": {BOX}}}': "other",
    f'{{"desc": "say "STOP" now", "bbox_2d": {BOX}}}': "other",
    f'{{"desc": "5" pipe", "bbox_2d": {BOX}}}': "other",
    f'{{"desc": "a, "bbox_2d": {BOX}}}': "other",
    f"{{'desc': 'a', 'bbox_2d': {BOX}}}": "other",
    f'{{"desc": "a", "bbox_2d": {BOX[:-1]}}}': "other",
    f'{{"desc": "a", "bbox_2d": {BOX}]}}': "other",
    f'{{"desc": "a", "bbox_2d": {BOX}': "other",
    f'{{"desc": "a", "bbox_2d": {BOX}]': "other",
    "{,}": "other",
    '{"desc"}': "other",
    f'{{"desc": "a", "bbox_2d": {BOX}\u00a0}}': "other",
    **{f'{{"desc": "a", "bbox_2d": {v}}}': "wrong_arity" for v in GEOMETRY_FAULTS.values()},
}  # fmt: skip


@pytest.mark.parametrize(("record", "reason"), RECORDS.items())
def test_an_invalid_record_is_dropped_once_and_its_neighbours_stay(record, reason):
    closed = f"{OPEN}{GOOD}, {record}, {GOOD}]}}"
    parsed = parse_rollout(closed)
    assert parsed.objects == (GOOD_OBJECT, GOOD_OBJECT)
    assert parsed.dropped_by_reason == {reason: 1}
    assert (parsed.dropped_invalid, parsed.dropped_ambiguous) == (1, 0)
    assert not parsed.truncated
    assert not parsed.invalid
    thrice = parse_rollout(among(record).replace(f"{record}]}}", f"{record}, {GOOD}]}}"))
    assert thrice.dropped_by_reason == {reason: 3}
    assert len(thrice.objects) == 3


@pytest.mark.parametrize("record", [r for r in RECORDS if r.endswith("}")])
def test_the_last_record_is_dropped_like_any_other(record):
    parsed = parse_rollout(f"{OPEN}{GOOD}, {record}]}}")
    assert parsed.objects == (GOOD_OBJECT,)
    assert parsed.dropped_by_reason == {RECORDS[record]: 1}
    assert not parsed.truncated


def test_of_several_faults_the_first_counts():
    """Each record has one fault fewer than the one before."""
    inverted = "[<|coord_9|>, <|coord_2|>, <|coord_3|>, <|coord_4|>]"
    records = [
        '{"bbox_2d": [1], "score": 1, "desc": ""}',
        '{"bbox_2d": [1], "score": 1, "desc": "a"}',
        f'{{"bbox_2d": {inverted}, "score": 1, "desc": "a"}}',
        f'{{"bbox_2d": {inverted}, "desc": "a"}}',
        f'{{"desc": "a", "bbox_2d": {inverted}}}',
    ]
    found = [parse_rollout(f"{OPEN}{record}]}}").dropped_by_reason for record in records]
    assert found == [{reason: 1} for reason in REASONS[:5]]


@pytest.mark.parametrize(
    "record",
    [
        f'{{"desc": "a", "desc": "b", "bbox_2d": {BOX}}}',
        f'{{"desc": "a", "bbox_2d": {BOX}, "bbox_2d": {BOX}}}',
        f'{{"desc": "", "d\\u0065sc": "", "bbox_2d": {BOX}}}',
        '{"desc": "a", "x": 1, "x": 1}',
    ],
)
def test_a_repeated_key_is_ambiguous_and_not_invalid_too(record):
    parsed = parse_rollout(f"{OPEN}{record}, {GOOD}]}}")
    assert (parsed.dropped_ambiguous, parsed.dropped_invalid) == (1, 0)
    assert parsed.dropped_by_reason == {}
    assert len(parsed.objects) == 1


def test_a_key_within_a_value_does_not_repeat_the_key_of_the_record():
    record = f'{{"desc": "a", "bbox_2d": {BOX}, "x": {{"desc": "b"}}}}'
    assert parse_rollout(f"{OPEN}{record}]}}").dropped_by_reason == {"unexpected_keys": 1}


@pytest.mark.parametrize("end", range(len(OPEN), len(OPEN + GOOD)))
def test_a_record_cut_by_the_end_is_truncation_and_nothing_else(end):
    parsed = parse_rollout((OPEN + GOOD)[:end])
    assert parsed.truncated == (end > len(OPEN))
    assert (parsed.objects, parsed.dropped_invalid, parsed.invalid) == ((), 0, False)
    assert parsed.append_at == len(OPEN)


@pytest.mark.parametrize("tail", ["", ",", ", ", "]", "]}", "}", "]}\n", ", <|im_end|>{", "]} {"])
def test_after_a_whole_record_nothing_is_truncated(tail):
    parsed = parse_rollout(OPEN + GOOD + tail)
    assert parsed == ParsedRollout(objects=(GOOD_OBJECT,))
    assert parsed.append_at == len(OPEN + GOOD)


@pytest.mark.parametrize(
    "start", [', {"desc": "a\\', ', {"a": [', ", 12", ', "a', ", [{", ', {"a": "}']
)
def test_a_cut_element_of_any_kind_is_truncation(start):
    parsed = parse_rollout(OPEN + GOOD + start)
    assert (parsed.truncated, parsed.dropped_invalid) == (True, 0)
    assert parsed.append_at == len(OPEN + GOOD)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[", '{"objects": ', '{"objects": {', '{"objects": null}', '{"object": [',
     "null", "\ufeff" + OPEN, "Sure: " + OPEN, "```json\n" + OPEN, '{"a": 1, "objects": [',
     "{'objects': [",
     "\u00a0" + OPEN, "<|im_end|>" + OPEN, GOOD, f"[{GOOD}]"],
)  # fmt: skip
def test_without_an_append_ready_prefix_a_rollout_is_invalid_and_empty(text):
    assert parse_rollout(text) == ParsedRollout(invalid=True)


@pytest.mark.parametrize("text", [OPEN, OPEN + "]}", '\n {"objects":[', OPEN + " , ]"])
def test_an_empty_list_is_valid(text):
    assert parse_rollout(text) == ParsedRollout()


@given(any_text)
def test_text_after_the_closing_brace_is_ignored(tail):
    assert parse_rollout(OPEN + GOOD + "]}" + tail) == ParsedRollout(objects=(GOOD_OBJECT,))


def test_an_end_of_turn_token_ends_the_text_wherever_it_stands():
    text = f'{OPEN}{GOOD}, {{"desc": "a<|endoftext|>", "bbox_2d": {BOX}}}]}}'
    assert parse_rollout(text).truncated
    assert len(parse_rollout(text).objects) == 1
    assert len(parse_rollout(text, end_of_turn=["<|im_end|>"]).objects) == 2
    assert len(parse_rollout(text, end_of_turn=[""]).objects) == 2
    assert parse_rollout(text, end_of_turn=["good", "zzz", "obj"]).invalid


def test_brackets_and_quotes_within_strings_are_text():
    desc = 'a ]}, {"desc": \\ [ "x"'
    thing = DetectedObject("bbox_2d", (1, 2, 3, 4), desc)
    assert parse_rollout(render_rollout([thing, NEW])).objects == (thing, NEW)


def test_escapes_are_decoded_and_half_characters_survive():
    text = f'{OPEN}{{"desc": "\\u00e9\\ud83d\\ude00\\ud800\\/\\n", "bbox_2d": {BOX}}}]}}'
    assert parse_rollout(text).objects[0].desc == "é😀\ud800/\n"


def test_nested_records_are_never_promoted():
    text = f'{OPEN}{{"desc": "a", "parts": [{GOOD}, {GOOD}]}}, [{GOOD}], {{"x": {GOOD}}}]}}'
    parsed = parse_rollout(text)
    assert parsed.objects == ()
    assert parsed.dropped_by_reason == {"missing_desc": 1, "wrong_arity": 1, "other": 1}


@pytest.mark.parametrize("junk", ['"x}, ', '"a" "x}, ', "12 ", '"a"', "[1] "])
def test_junk_before_a_record_ends_where_the_record_begins(junk):
    parsed = parse_rollout(f"{OPEN}{junk}{GOOD}]}}")
    assert parsed.objects == (GOOD_OBJECT,)
    assert parsed.dropped_by_reason == {"other": 1}


def test_a_quote_too_many_without_a_closing_brace_leaves_one_broken_record():
    parsed = parse_rollout(f'{OPEN}{GOOD}, {{"desc": "a {{"desc": "b", "bbox_2d": {BOX}}}]}}')
    assert parsed.objects == (GOOD_OBJECT,)
    assert parsed.dropped_by_reason == {"other": 1}


@pytest.mark.parametrize("tail", ["]}", " ] } ", ""])
def test_a_last_record_with_an_odd_quote_is_malformed_if_the_text_was_closed(tail):
    parsed = parse_rollout(f'{OPEN}{{"desc": "5" pipe", "bbox_2d": {BOX}}}{tail}')
    assert parsed.truncated == (not tail)
    assert parsed.dropped_by_reason == ({"other": 1} if tail else {})


def test_the_field_order_must_be_known_and_the_text_a_str():
    with pytest.raises(DeclarationError, match="'desc_first' or 'geometry_first'"):
        parse_rollout(OPEN, "sorted")
    with pytest.raises(ObservationError, match="decode bytes"):
        parse_rollout(OPEN.encode())


@pytest.mark.parametrize(
    "thing",
    [DetectedObject("bbox_2d", (1, 2, 3, 4), " "), DetectedObject("bbox_2d", (1, 2, 3), "a"),
     DetectedObject("poly", (1, 2, 3, 4), "a"), DetectedObject("poly", (1,) * 7, "a"),
     DetectedObject("bbox_2d", (1, 2, 3, 1000), "a"), DetectedObject("circle", (1,), "a"),
     DetectedObject("bbox_2d", (1, 2, float("nan"), 4), "a"),
     DetectedObject("bbox_2d", (1, 2, 3.5, 4), "a")],
)  # fmt: skip
def test_what_cannot_be_spelled_is_not_rendered(thing):
    with pytest.raises(ObservationError):
        render_rollout([thing])
    with pytest.raises(DeclarationError):
        render_rollout([], "sorted")


def lawful(text, order):
    """Whatever the text, these hold of its result."""
    parsed = parse_rollout(text, order)
    assert set(parsed.dropped_by_reason) <= set(REASONS)
    assert all(count > 0 for count in parsed.dropped_by_reason.values())
    assert sum(parsed.dropped_by_reason.values()) == parsed.dropped_invalid
    assert len(parsed.spans) == len(parsed.objects)
    end = 0
    for thing, (start, stop) in zip(parsed.objects, parsed.spans, strict=True):
        assert end <= start
        end = stop
        record = text[start:stop]
        quoted = json.loads(record.replace("<|coord_", '"').replace("|>", '"')) if (
            "<|coord_" not in thing.desc and "|>" not in thing.desc
        ) else None  # fmt: skip
        if quoted is not None:
            assert list(quoted) == (
                ["desc", thing.kind] if order == "desc_first" else [thing.kind, "desc"]
            )
            assert quoted["desc"] == thing.desc
            assert tuple(map(int, quoted[thing.kind])) == thing.points
    if not parsed.invalid:
        comma = ", " if text[: parsed.append_at].rstrip()[-1] == "}" else ""
        more = f"{text[: parsed.append_at]}{comma}{render_objects([NEW], order)}]}}"
        again = parse_rollout(more, order)
        assert again.objects == (*parsed.objects, NEW)
        assert not again.truncated
    return parsed


@given(orders.flatmap(lambda order: st.tuples(mutated(order), st.just(order))))
@settings(max_examples=300)
def test_a_broken_rollout_obeys_the_laws_and_can_be_appended_to(case):
    lawful(*case)


@given(any_text | any_text.map(OPEN.__add__), orders)
def test_any_text_has_a_result(text, order):
    lawful(text, order)


@given(st.lists(st.sampled_from(FRAGMENTS)).map("".join).map(OPEN.__add__), orders)
@settings(max_examples=300)
def test_any_jumble_of_pieces_has_a_result(text, order):
    lawful(text, order)


@pytest.mark.soak
@given(
    orders.flatmap(
        lambda order: st.tuples(
            mutated(order) | st.lists(st.sampled_from(FRAGMENTS)).map("".join).map(OPEN.__add__),
            st.just(order),
        )
    )
)
@settings(max_examples=20_000, deadline=None)
def test_twenty_thousand_broken_rollouts_obey_the_laws(case):
    lawful(*case)
