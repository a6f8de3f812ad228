"""Pixels become bins, and bins that were rounded to pixels come back."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.rollouts import normalize_box
from coordexp_metrics.rollouts.objects import BINS, pixel_bin

ROLLOUTS = Path(__file__).parents[3] / "shared" / "data" / "rollouts"


@given(st.integers(0, BINS - 1), st.integers(BINS, 20_000))
def test_a_bin_comes_back_from_its_pixel(k, size):
    assert pixel_bin(round(k * (size - 1) / (BINS - 1)), size) == k


@given(st.integers(-(10**6), 10**6), st.integers(2, 10_000))
def test_every_pixel_has_a_bin_and_order_is_kept(pixel, size):
    """What lies outside the image is at its edge."""
    here, there = pixel_bin(pixel, size), pixel_bin(pixel + 1, size)
    assert 0 <= here <= there < BINS
    assert here == 0 or pixel > 0
    assert here == BINS - 1 or pixel < size - 1


def test_real_boxes_were_rounded_from_bins():
    """Of images with at least 1000 pixels on an axis, every pixel goes to a bin and back."""
    if not ROLLOUTS.exists():
        pytest.skip("needs the rollouts beside the checkout")
    seen = 0
    for path in ROLLOUTS.glob("*.jsonl"):
        for row in map(json.loads, path.read_text().splitlines()):
            for thing in [*row["gt"], *row["pred"]]:
                for axis, pixel in enumerate(thing["bbox_2d"]):
                    size = (row["width"], row["height"])[axis % 2]
                    if size > BINS:
                        k = pixel_bin(pixel, size)
                        assert round(k * (size - 1) / (BINS - 1)) == pixel
                        seen += 1
    assert seen > 300


@pytest.mark.parametrize(
    "box", [(1, 2, 3), (1, 2, 3, 4, 5), None, "abcd", (math.nan, 0, 1, 1), (0, 0, math.inf, 1)]
)
def test_what_is_no_box_is_refused(box):
    with pytest.raises(ValueError, match="four finite numbers"):
        normalize_box(box, 100, 100)


@pytest.mark.parametrize(("width", "height"), [(0, 10), (10, -1)])
def test_an_image_without_area_is_refused(width, height):
    with pytest.raises(ValueError, match="no norm1000 space"):
        normalize_box((0, 0, 1, 1), width, height)


def test_an_image_of_one_pixel_has_one_bin():
    assert normalize_box((0, 0, 0, 0), 1, 1) == (0, 0, 0, 0)
