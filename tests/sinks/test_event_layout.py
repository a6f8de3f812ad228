"""A record laid out by hand is, byte for byte, what TensorBoard's own writer makes of it."""

from __future__ import annotations

import math
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorboard")

import numpy as np
from tensorboard.compat.proto import event_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from coordexp_metrics.contract.crc32c import installed
from coordexp_metrics.sinks.crc32c import crc32c
from coordexp_metrics.sinks.event_layout import EventLayout, framed, tag_bytes, varint

CHECKSUMS = [None, installed() or crc32c]
KEYS = st.lists(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=200), max_size=40, unique=True
)
SINGLES = st.floats(width=32)
STEPS = st.one_of(st.integers(1, 2**20), st.integers(-(2**63), 2**63 - 1).filter(bool))


def theirs(event: event_pb2.Event) -> bytes:
    buffer = BytesIO()
    RecordWriter(buffer).write(event.SerializeToString())
    return buffer.getvalue()


@pytest.mark.parametrize("fast", CHECKSUMS, ids=["numpy", "C"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_record_is_byte_for_byte_what_tensorboard_writes(fast, data) -> None:
    keys = data.draw(KEYS)
    values = np.array([data.draw(SINGLES) for _ in keys], np.float32)
    step = data.draw(STEPS)
    wall_time = data.draw(st.floats(min_value=1e-9, allow_nan=False, allow_infinity=False))
    spelled = varint(step)
    record = EventLayout(keys, len(spelled), fast).record(wall_time, spelled, values)
    event = event_pb2.Event(wall_time=wall_time, step=step)
    event.summary.SetInParent()
    for key, value in zip(keys, values.tolist(), strict=True):
        event.summary.value.add(tag=key, simple_value=value)
    assert record == theirs(event)


@pytest.mark.parametrize("fast", CHECKSUMS, ids=["numpy", "C"])
def test_one_layout_serves_many_records(fast) -> None:
    layout = EventLayout(["a", "b/c"], 2, fast)
    for step, values in [(300, [1.5, math.nan]), (16383, [-0.0, math.inf]), (128, [1e-45, 3.0])]:
        singles = np.array(values, np.float32)
        record = layout.record(float(step), varint(step), singles)
        event = event_pb2.Event.FromString(record[12:-4])
        assert (event.step, event.wall_time) == (step, step)
        assert [value.tag for value in event.summary.value] == ["a", "b/c"]
        written = np.array([value.simple_value for value in event.summary.value], np.float32)
        assert written.tobytes() == singles.tobytes()
        assert record == framed(record[12:-4], crc32c)


@pytest.mark.parametrize("step", [0, 1, 127, 128, 2**31, 2**63 - 1, -1, -(2**63)])
def test_a_step_is_spelled_as_an_int64(step: int) -> None:
    assert event_pb2.Event.FromString(b"\x10" + varint(step)).step == step


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1])
def test_a_step_that_is_no_int64_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match="a step is an int64"):
        varint(step)


def test_a_tag_that_utf8_cannot_hold_is_spelled_out() -> None:
    assert tag_bytes("a\udc80é") == "a\\udc80é".encode()
