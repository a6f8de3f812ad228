"""The checksum is CRC32C, whoever computes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coordexp_metrics.contract.crc32c import masked
from coordexp_metrics.sinks import crc32c as ours

pytest.importorskip("numpy")

KNOWN = {
    b"": 0,
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,  # RFC 3720, appendix B.4
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
}


@pytest.mark.parametrize("data", list(KNOWN))
def test_known_checksums(data: bytes) -> None:
    assert ours.crc32c(data) == KNOWN[data]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100) | st.binary(min_size=60, max_size=600))
@example(bytes(64))
@example(bytes(range(128)))
@example(b"x" * 129)
def test_a_long_text_has_the_checksum_that_byte_by_byte_gives(data: bytes) -> None:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    assert ours.crc32c(data) == state ^ 0xFFFFFFFF


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_the_checksum_of_what_changed_is_that_of_the_whole(data: st.DataObject) -> None:
    text = data.draw(st.binary(min_size=1, max_size=5000))
    places = data.draw(st.lists(st.sampled_from(range(len(text))), unique=True, max_size=300))
    blank = bytearray(text)
    for place in places:
        blank[place] = 0
    patch = ours.Patch(bytes(blank), places)
    assert patch.checksum(bytes(text[place] for place in places)) == ours.crc32c(text)


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=60, max_size=9000))
def test_the_packages_in_c_agree(data: bytes) -> None:
    google = pytest.importorskip("google_crc32c")
    other = pytest.importorskip("crc32c")
    assert ours.crc32c(data) == google.value(data) == other.crc32c(data)


WITHOUT = """
import sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    sys.modules[name] = None
from coordexp_metrics.contract.crc32c import installed
found = installed()
print(None if found is None else (found.__module__ or "").split(".")[0])
"""


@pytest.mark.parametrize(
    ("missing", "used"),
    [
        ((), "google_crc32c"),
        (("google_crc32c",), "crc32c"),
        (("google_crc32c", "crc32c"), "None"),
    ],
)
def test_c_is_used_where_it_is_installed(missing: tuple[str, ...], used: str) -> None:
    for name in {"google_crc32c", "crc32c"}.difference(missing):
        pytest.importorskip(name)
    command = [sys.executable, "-c", WITHOUT, str(Path(__file__).parents[2]), *missing]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert printed in {used, f"_{used}"}


@pytest.mark.parametrize("checksum", [0, 1, 0x7FFF, 0x8000, 0xFFFFFFFF, 0xE3069283])
def test_the_mask_is_that_of_tfrecords(checksum: int) -> None:
    rotated = ((checksum >> 15) | (checksum << 17)) % 2**32
    assert masked(checksum) == (rotated + 0xA282EAD8) % 2**32
