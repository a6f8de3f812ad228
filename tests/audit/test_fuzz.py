"""Whatever bytes a parser gets: records and problems, and never another error or a wrong value."""

import io
import struct
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics.audit.baseline import Baseline, BaselineError
from coordexp_metrics.audit.live_check import live_check
from coordexp_metrics.audit.readers import Limits, SourceError, read_stream
from coordexp_metrics.audit.readers.documents import split_rows
from coordexp_metrics.audit.readers.protobuf import BadMessageError, fields
from coordexp_metrics.audit.rules import RULE_OF_CODE
from tests.audit.event_file import OPENING, event, field, frame, scalars, tensor, value, varint
from tests.audit.test_wandb_files import OPENING as WANDB
from tests.audit.test_wandb_files import history, pieces, whole

LIMITS = Limits(record=1 << 16, chunk=64, candidates=1000)
SHORT, LONG = 60, 20_000

JSON_PIECES = st.sampled_from(
    [b'{"loss": 1.5, "step": 3}', b'{"schema_version": 1, "mode": "eval", "global_step": 3, ',
     b'"metrics": {"eval_loss": 1.5}}', b'{"header": {"format": 1, "definitions": {"loss": 1}}}',
     b'{"log_history": [', b'{"stage2/channel_b": 0, "rollout/f1": 0, "step": 4}', b"\n", b"\r",
     b"\x00", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"NaN", b"-0", b"1e999", b"null",
     b"\xff", b"\xef\xbb\xbf", b"\\ud800", b'"step": 1', b" ", b"9" * 30]
)  # fmt: skip
NUMBERS = st.one_of(st.integers(-5, 20), st.integers(0, 2**64 - 1))
TENSORS = st.builds(
    tensor,
    st.integers(0, 30),
    sizes=st.lists(st.one_of(st.integers(-1, 3), st.just(10**9)), max_size=3),
    content=st.one_of(st.none(), st.binary(max_size=9)),
    listed=st.builds(field, st.integers(5, 17), st.one_of(st.binary(max_size=9), NUMBERS)),
)
VALUES = st.one_of(
    st.builds(value, st.sampled_from("ab"), simple=st.floats(width=32)),
    st.builds(
        value, st.sampled_from("ab"), tensor=TENSORS, plugin=st.sampled_from(["scalars", "x"])
    ),
    st.binary(max_size=20),
)
EVENTS = st.one_of(
    st.builds(lambda step, rows: event(step, *rows), NUMBERS, st.lists(VALUES, max_size=3)),
    st.binary(max_size=40),
)
FRAMES = st.one_of(
    st.builds(frame, EVENTS),
    st.builds(lambda body, length: frame(body, length=length), EVENTS, st.integers(0, 2**64 - 1)),
    st.builds(lambda body, crc: frame(body, body_crc=crc), EVENTS, st.integers(0, 2**32 - 1)),
    st.binary(max_size=40),
    st.just(b"\0" * 50),
)
ITEMS = st.builds(
    lambda key, number, given: field(1, field(1, key) + field(number, given)),
    st.sampled_from([b"loss", b"global_step", b"_step", b"_timestamp", b"\xff"]),
    st.sampled_from([3, 4, 5, 6, 7, 8, 16]),
    st.one_of(
        st.sampled_from([b"1", b"1.5", b"NaN", b'"NaN"', b"{", b"[" * 50]), NUMBERS, st.floats()
    ),
)
MESSAGES = st.one_of(
    st.builds(lambda parts: field(2, b"".join(parts)), st.lists(ITEMS, max_size=4)),
    st.binary(max_size=40),
)
PIECES = st.one_of(
    st.builds(lambda message: pieces([message], 7), MESSAGES),
    st.builds(
        lambda kind, body, lie: (
            struct.pack("<IHB", zlib.crc32(bytes([kind]) + body) ^ lie, len(body), kind) + body
        ),
        st.integers(0, 6),
        st.binary(max_size=20),
        st.sampled_from([0, 0, 0, 1]),
    ),
    st.binary(max_size=40),
)
FILES = {
    "lines": st.lists(JSON_PIECES, max_size=25).map(b"".join),
    "document": st.lists(JSON_PIECES, max_size=25).map(lambda parts: b"{\n" + b"".join(parts)),
    "events": st.lists(FRAMES, max_size=6).map(lambda parts: OPENING + b"".join(parts)),
    "wandb": st.lists(PIECES, max_size=6).map(lambda parts: WANDB + b"".join(parts)),
    "gzip": st.builds(
        lambda data, at, bit: _flipped(zlib.compress(data, wbits=31), at, bit),
        st.lists(JSON_PIECES, max_size=10).map(b"".join),
        st.integers(0, 10**6),
        st.integers(0, 7),
    ),
    "noise": st.binary(max_size=300),
}


def _flipped(data, at, bit):
    changed = bytearray(data)
    changed[at % len(data)] ^= 1 << bit
    return bytes(changed)


def survives(data):
    """Reads and checks ``data``; what comes back is in order, and problems have rules."""
    records = read_stream(io.BytesIO(data), limits=LIMITS, compressed=True)
    found, found_codes = [], set()
    try:
        found += records
    except SourceError as error:
        found_codes.add(error.problem.code)
    for record in found:
        assert record.mode in {"train", "eval"}
        assert 0 <= record.global_step < 2**63
        assert all(value - value == 0 for value in record.metrics.values())
        assert set(record.nonfinite.values()) <= {"nan", "inf", "-inf"}
        assert record.metrics.keys().isdisjoint(record.nonfinite)
    assert found_codes | {problem.code for problem in records.problems} <= set(RULE_OF_CODE)
    assert all(str(problem).isascii() for problem in records.problems)
    again = read_stream(io.BytesIO(data), limits=LIMITS, compressed=True)
    report = live_check(again)
    assert report.exit_code() in {0, 1, 2}
    assert report.statistics["records"] == len(found)
    if not found:
        assert report.exit_code() == 2


def hold(test, strategy, examples):
    quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
    settings(max_examples=examples, **quiet)(given(strategy)(test))()


@pytest.mark.parametrize("kind", FILES)
def test_no_file_breaks_a_reader(kind):
    hold(survives, FILES[kind], SHORT)


@pytest.mark.soak
@pytest.mark.parametrize("kind", FILES)
def test_no_file_breaks_a_reader_in_twenty_thousand(kind):
    hold(survives, FILES[kind], LONG)


DAMAGE = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 40), st.binary(max_size=12)), max_size=3
)
TRUTH = {step: {"loss": step + 0.5} for step in range(30)}


def damaged(data, damage):
    """``data`` with pieces replaced behind its head, which says what it is."""
    for at, size, instead in damage:
        at = len(OPENING) + at % (len(data) - len(OPENING))
        data = data[:at] + instead + data[at + size :]
    return data


def no_wrong_value(make):
    def test(damage):
        records = read_stream(io.BytesIO(damaged(make, damage)), limits=Limits(chunk=64))
        rows = {record.global_step: record.metrics for record in records}
        assert all(TRUTH[step] == row for step, row in rows.items())
        if make[:4] != WANDB[:4]:
            assert len(rows) >= 29 - 3 * 3

    return test


@pytest.mark.parametrize("data", [scalars(29), whole(30)], ids=["events", "wandb"])
def test_no_damage_makes_a_wrong_value(data):
    hold(no_wrong_value(data), DAMAGE, SHORT)


@pytest.mark.soak
@pytest.mark.parametrize("data", [scalars(29), whole(30)], ids=["events", "wandb"])
def test_no_damage_makes_a_wrong_value_in_twenty_thousand(data):
    hold(no_wrong_value(data), DAMAGE, LONG)


def parses(data):
    try:
        found = list(fields(data))
    except BadMessageError:
        return
    assert all(number > 0 for number, _ in found)
    assert sum(len(value) for _, value in found if type(value) is bytes) <= len(data)


@pytest.mark.parametrize("examples", [SHORT, pytest.param(LONG, marks=pytest.mark.soak)])
def test_no_bytes_break_the_message_parser(examples):
    hold(parses, st.one_of(st.binary(max_size=60), EVENTS, MESSAGES), examples)


def cuts_the_same(data):
    expected = list(split_rows([data], 30))
    for size in (1, 3, 16):
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        found = list(split_rows(chunks, 30))
        assert [row[:2] for row in found] == [row[:2] for row in expected]
        short = [row for row in expected if not row.too_long]
        assert [row for row in found if not row.too_long] == short
        assert [row.size for row in found] == [row.size for row in expected]


@pytest.mark.parametrize("examples", [SHORT, pytest.param(LONG, marks=pytest.mark.soak)])
def test_a_document_is_cut_the_same_however_it_comes(examples):
    hold(cuts_the_same, FILES["document"], examples)


def no_baseline(data):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "baseline"
        path.write_bytes(data)
        try:
            Baseline.read(str(path))
        except BaselineError:
            return


def test_no_bytes_break_the_baseline():
    rows = st.sampled_from(
        [b'{"format": 1, "findings": ', b'[{"rule": "a", "key": "b", ', b'"detail": ""}]}']
    )
    pieces_of = st.lists(st.one_of(rows, JSON_PIECES), max_size=8).map(b"".join)
    hold(no_baseline, st.one_of(pieces_of, st.binary(max_size=50)), SHORT)


def test_the_strategies_reach_what_they_should():
    """The fuzz is worth something only if some of its files are read."""
    assert (
        len(list(read_stream(io.BytesIO(OPENING + frame(event(1, value("a", simple=1.0))))))) == 1
    )
    message = history(loss=1.0, global_step=1)
    assert len(list(read_stream(io.BytesIO(WANDB + pieces([message], 7))))) == 1
    assert varint(300) == b"\xac\x02"
