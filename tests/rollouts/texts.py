"""Texts that a model may write: whole ones, and what becomes of them under mutation."""

from hypothesis import strategies as st

from coordexp_metrics.rollouts import DetectedObject, render_rollout

BOX = "[<|coord_1|>, <|coord_2|>, <|coord_30|>, <|coord_40|>]"
POLY = "[<|coord_1|>, <|coord_2|>, <|coord_3|>, <|coord_4|>, <|coord_5|>, <|coord_6|>]"
GOOD = f'{{"desc": "good", "bbox_2d": {BOX}}}'
OPEN = '{"objects": ['

any_text = st.text(st.characters())  # all of Unicode, lone surrogates included
words = any_text.filter(str.strip)
bins = st.integers(0, 999)


@st.composite
def boxes(draw):
    x1, x2 = sorted(draw(st.lists(bins, min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(draw(st.lists(bins, min_size=2, max_size=2, unique=True)))
    return DetectedObject("bbox_2d", (x1, y1, x2, y2), draw(words))


@st.composite
def polygons(draw):
    points = draw(st.lists(bins, min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0))
    return DetectedObject("poly", tuple(points), draw(words))


objects = st.lists(boxes() | polygons(), max_size=5)
orders = st.sampled_from(["desc_first", "geometry_first"])
FRAGMENTS = [
    *'{}[],:"\\ \n', "<|coord_7|>", "<|coord_1000|>", "<|im_end|>", '"desc"', '"bbox_2d": ',
    '"poly"', '"x": 1', "null", "-1.5e3", BOX, POLY, GOOD, f", {GOOD}", "]}",
    '\\"', "\\u00", "\ud800", "é",
]  # fmt: skip


@st.composite
def mutated(draw, order):
    """A rendered rollout with pieces taken out, put in and cut off."""
    text = render_rollout(draw(objects), order)
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 5))
        text = text[:start] + draw(st.sampled_from(["", *FRAGMENTS])) + text[start + gone :]
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text
