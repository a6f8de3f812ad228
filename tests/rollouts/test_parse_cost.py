"""Parsing costs as much as the text is long, however hostile it is.

No clock is read: work of the interpreter is counted in calls, and the work within a regular
expression would, were it quadratic, take hours on these texts and not seconds.
"""

import sys

import pytest

from coordexp_metrics.rollouts import parse_rollout

from .texts import BOX, GOOD, OPEN

HOSTILE = {
    "open brackets": "[",
    "open braces": "{",
    "closing brackets": "[[]",
    "quotes": '"',
    "quotes in a record": '{"',
    "escapes": '"\\\\',
    "escaped quotes": '\\"',
    "descriptions": '{"desc": "',
    "alternating": "[{",
    "keys": '{"a":',
    "key after key": '{"a",',
    "empty records": "{},",
    "torn records": '{"desc": "5" pipe", "bbox_2d": []}, ',
    "torn strings": '"}, {"desc": ',
    "unclosed records": '{"desc": "a", ',
    "unclosed arrays": f'{{"desc": "a", "bbox_2d": {BOX[:-1]}, ',
    "coordinates": "<|coord_7|>, ",
    "half a coordinate": "<|coord_",
    "commas": ",",
    "words": "a ",
    "white space": " ",
    "white space before braces": "{" + " " * 50,
    "closed at the end": '"}]',
    "end of turn": "<|im_end",
}
LONG = {
    "one long description": ('{"desc": "', "a", f'", "bbox_2d": {BOX}}}'),
    "one long escaped description": ('{"desc": "', "\\n", f'", "bbox_2d": {BOX}}}'),
    "one long description with a fault": ('{"desc": "', "a", "\n"),
    "one long array": ('{"desc": "a", "poly": [', "<|coord_1|>, ", "<|coord_2|>]}"),
    "one long array with a fault": ('{"desc": "a", "poly": [', "<|coord_1|>, ", "]}"),
    "one deep value": ('{"desc": "a", "x": ', "[", ""),
    "one record of many keys": ("{", '"a": 1, ', '"b": 2}'),
    "records": ("", GOOD + ", ", ""),
}


def text_of(name, length):
    if name in HOSTILE:
        return OPEN + HOSTILE[name] * (length // len(HOSTILE[name]))
    start, middle, end = LONG[name]
    return OPEN + start + middle * (length // len(middle)) + end


def calls(text):
    """How many functions, of Python and of C, parsing calls."""
    count = 0

    def on_event(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(on_event)
    try:
        parse_rollout(text)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", [*HOSTILE, *LONG])
def test_twice_the_text_is_at_most_twice_the_calls(name):
    assert calls(text_of(name, 40_000)) <= 2 * calls(text_of(name, 20_000)) + 50


@pytest.mark.parametrize("name", [*HOSTILE, *LONG])
def test_a_megabyte_of_anything_has_a_result(name):
    """Quadratic work would be a million million steps, and end in the test's timeout."""
    assert parse_rollout(text_of(name, 1 << 20)).invalid is False


@pytest.mark.soak
@pytest.mark.parametrize("name", [*HOSTILE, *LONG])
def test_ten_megabytes_of_anything_have_a_result(name):
    assert parse_rollout(text_of(name, 10 << 20)).invalid is False


def test_depth_needs_no_recursion():
    limit = sys.getrecursionlimit()
    deep = "[{" * 10 * limit
    assert parse_rollout(OPEN + deep).truncated
    closed = OPEN + '{"desc": "a", "x": ' + "[" * 10 * limit + "]" * 10 * limit + f"}}, {GOOD}"
    assert len(parse_rollout(closed).objects) == 1
