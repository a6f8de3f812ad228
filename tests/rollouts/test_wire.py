"""Objects cross from rank to rank exactly, and packing them raises on nothing."""

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordexp_metrics.rollouts import DetectedObject, ImageObjects
from coordexp_metrics.rollouts.wire import pack_images, unpack_images

texts = st.text(st.characters(exclude_categories=()), max_size=12)
floats = st.floats(allow_nan=False)
things = st.builds(
    DetectedObject,
    st.sampled_from(["bbox_2d", "poly"]),
    st.lists(floats, max_size=9).map(tuple),
    texts,
    st.one_of(st.none(), floats),
)
images = st.builds(
    ImageObjects,
    st.one_of(st.integers(), texts),
    st.lists(things, max_size=4),
    st.lists(things, max_size=4),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(images, max_size=4))
@example([ImageObjects("\ud800", [DetectedObject("poly", (), "\udfff x")], [])])
def test_R126_what_is_unpacked_is_what_was_packed(found):
    """Any text, lone surrogates included, any float64, and keys of any size."""
    assert unpack_images(pack_images(found)) == found


def test_R126_what_is_no_number_leaves_no_geometry_and_raises_nothing():
    broken = [
        DetectedObject("bbox_2d", None),
        DetectedObject("bbox_2d", [1, "a", 3, 4]),
        DetectedObject("poly", [10**400] * 6),
        DetectedObject("circle", [5, 5, 3]),
        DetectedObject("bbox_2d", [math.nan] * 4, None, score="high"),
    ]
    (found,) = unpack_images(pack_images([ImageObjects(None, broken, [])]))
    assert [len(thing.points) for thing in found.predictions] == [0, 0, 0, 0, 4]
    assert math.isnan(found.predictions[4].score)
    assert (found.image, found.predictions[4].desc) == ("None", "None")


def test_R126_a_number_is_one_key_whatever_its_type():
    keys = [ImageObjects(key, [], []) for key in (7, np.int64(7), "7")]
    assert [one.image for one in unpack_images(pack_images(keys))] == [7, 7, "7"]
