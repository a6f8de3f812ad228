"""No damage to a journal gives a wrong number, and none costs more than the record that it hit."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.audit.readers import SourceError, read, read_stream
from coordexp_metrics.audit.readers.attempts import Ranges
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import JsonlSink

RECORDS = 100
soak = pytest.mark.soak


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """The bytes of a journal of a hundred records, and what they hold."""
    sink = JsonlSink(tmp_path_factory.mktemp("run") / "metrics.jsonl")
    sink.open(Header(Catalogue()))
    records = [
        Record(
            "eval" if seq % 10 == 9 else "train",
            1000 + seq,
            {"loss": 1 / (seq + 3), "rollout/matched": 7 * seq},
            {"grad_norm": "nan"} if seq % 7 == 3 else {},
            seq=seq,
            time=1.5e9 + seq,
            dataset="val\u2028set" if seq % 10 == 9 else None,
        )
        for seq in range(RECORDS)
    ]
    for record in records:
        sink.write(record)
    sink.close()
    whole = sink.path.read_bytes()
    assert [content(record) for record in read(sink.path)] == [content(r) for r in records]
    return whole, {record.seq: content(record) for record in records}


def content(record):
    """All that a record says, so that any change of it shows."""
    return repr((record.mode, record.global_step, dict(record.metrics), dict(record.nonfinite),
                 record.seq, record.time, record.dataset, dict(record.extra)))  # fmt: skip


def found_in(data, truth):
    """The sequence numbers that are read from ``data``; each record is as it was written."""
    records = read_stream(io.BytesIO(data))
    found = []
    try:
        for record in records:
            assert truth.get(record.seq) == content(record)
            found.append(record.seq)
    except SourceError:  # the whole file is refused, and says so
        return None, records
    assert found == sorted(set(found))
    return found, records


@pytest.mark.parametrize("every", [61, pytest.param(1, marks=soak)])
def test_D01_a_journal_cut_at_any_byte_gives_every_whole_record(journal, every):
    whole, truth = journal
    ends = [at for at, byte in enumerate(whole) if byte == ord("\n")]
    tail = range(ends[-5], len(whole))
    for cut in sorted({*range(0, len(whole), every), *tail}):
        found, records = found_in(whole[:cut], truth)
        complete = min(RECORDS, max(0, sum(end <= cut for end in ends) - 1))
        assert found == list(range(complete))
        torn = cut > 0 and whole[cut - 1] != ord("\n") and cut not in ends
        assert records.problems.counts["torn_tail"] == torn
        assert len(records.problems) == torn + (complete == 0 and not torn)


def flips(whole, every, bits):
    for at in range(0, len(whole), every):
        for bit in bits or (at // every % 8,):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            yield at, bytes(data)


@pytest.mark.parametrize(
    ("every", "bits"),
    [(53, ()), pytest.param(1, (), marks=soak), pytest.param(5, range(8), marks=soak)],
)
def test_D03_a_bit_flipped_at_any_byte_costs_one_record_at_most_and_no_number(journal, every, bits):
    whole, truth = journal
    for at, data in flips(whole, every, bits):
        found, records = found_in(data, truth)
        assert found is not None, at
        assert len(found) >= RECORDS - 1, at
        assert len(records.problems) >= 1, at


@pytest.mark.parametrize("bit", range(8))
def test_D03_a_newline_that_is_lost_joins_no_records(journal, bit):
    whole, truth = journal
    for at in [at for at, byte in enumerate(whole) if byte == ord("\n")][::9]:
        data = bytearray(whole)
        data[at] ^= 1 << bit
        found, _ = found_in(bytes(data), truth)
        assert found == list(range(RECORDS))


def test_D03_a_changed_number_is_a_finding_and_not_a_value(journal, tmp_path, command):
    whole, _ = journal
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(whole.replace(b'"loss":0.25', b'"loss":0.35', 1))
    result = command("validate", path)
    assert "CXM122" in result.stdout
    assert result.exit_code == 1


def test_D01_two_writers_torn_lines_and_junk_are_read_around(journal):
    whole, truth = journal
    lines = whole.splitlines(keepends=True)
    lines[5] = lines[5][:40] + b"\n"
    lines[9] = lines[9][:30] + lines[9]
    lines[20] = b"\x00" * 300 + b"\n"
    lines[30] = b'{"loss": 9.0, "step": 3}\n'
    lines[40] = lines[40][:-2] + lines[41]
    found, records = found_in(b"".join(lines), truth)
    assert set(range(RECORDS)) - set(found) == {4, 19, 29, 39}
    assert set(records.problems.counts) == {"line.damaged"}


def test_D03_behind_a_damaged_header_no_line_without_a_checksum_is_taken(journal):
    whole, truth = journal
    header, *lines = whole.splitlines(keepends=True)
    junk = b'{"schema_version": 1, "mode": "train", "global_step": 1, "metrics": {"loss": 9.0}}\n'
    found, records = found_in(header.replace(b"format", b"f0rmat") + junk + b"".join(lines), truth)
    assert found == list(range(RECORDS))
    assert records.problems.counts["line.damaged"] == 2


@given(st.lists(st.integers(0, 30)), st.integers(0, 35))
def test_ranges_are_a_set_of_numbers(numbers, end):
    ranges, known = Ranges(), set()
    for number in numbers:
        assert ranges.add(number) == (number not in known)
        known.add(number)
        assert [n for start, stop in ranges for n in range(start, stop)] == sorted(known)
    assert ranges.end == max(known, default=-1) + 1
    gaps = [n for start, stop in ranges.gaps(end) for n in range(start, stop)]
    assert gaps == sorted(set(range(end)) - known)


def test_a_journal_of_an_earlier_version_is_read_as_it_is(journal, log):
    rows = [{"header": {"format": 1}}]
    rows += [
        {"schema_version": 1, "mode": "train", "global_step": 1, "seq": 0, "metrics": {"loss": 1}}
    ]
    records = read(log(*rows))
    assert [record.metrics for record in records] == [{"loss": 1}]
    assert len(records.problems) == 0
    whole, _ = journal
    joined = log(*rows).read_bytes() + whole + log(*rows).read_bytes()
    assert len(list(read_stream(io.BytesIO(joined)))) == RECORDS + 2


@pytest.mark.parametrize("cut", [b"", b"\x00" * 4096, b"\n", b"  \n\t\n"], ids=repr)
def test_D05_a_file_of_nothing_is_named_and_stops_no_other(journal, tmp_path, cut):
    whole, _ = journal
    (tmp_path / "metrics.jsonl").write_bytes(whole)
    (tmp_path / "metrics.1.jsonl").write_bytes(cut)
    records = read(tmp_path)
    assert len(list(records)) == RECORDS
    assert [problem.path for problem in records.problems] != []
    assert {problem.path for problem in records.problems} == {str(tmp_path / "metrics.1.jsonl")}


def test_D05_a_header_alone_is_an_empty_log(journal, tmp_path):
    whole, _ = journal
    (tmp_path / "metrics.jsonl").write_bytes(whole[: whole.index(b"\n") + 1])
    records = read(tmp_path)
    assert list(records) == []
    assert dict(records.problems.counts) == {"file.empty": 1}


def test_D19_a_newer_major_is_refused_with_what_it_needs(journal, tmp_path, command):
    from coordexp_metrics.contract.journal import seal

    newer = {"header": {"format": 2, "checksum": "crc32", "package": "7.1.0"}}
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(seal(json.dumps(newer).encode()) + journal[0].split(b"\n", 1)[1])
    records = read(path)
    assert list(records) == []
    assert dict(records.problems.counts) == {"file.newer": 1}
    assert "needs coordexp-metrics >= '7.1.0'" in str(next(iter(records.problems)))
    assert command("validate", path).exit_code == 2


def test_D19_what_a_later_minor_adds_is_kept(tmp_path):
    from coordexp_metrics.contract.journal import seal

    row = {"seq": 0, "schema_version": 1, "mode": "train", "global_step": 1, "metrics": {},
           "provenances": {"loss": "A1"}}  # fmt: skip
    header = {"header": {"format": 1, "checksum": "crc32", "later": [1]}}
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"".join(seal(json.dumps(part).encode()) for part in (header, row)))
    records = read(path)
    assert [record.extra for record in records] == [{"provenances": {"loss": "A1"}}]
    assert records.headers[0]["later"] == [1]
    assert len(records.problems) == 0


def attempt(path, steps, value):
    sink = JsonlSink(path)
    sink.open(Header(Catalogue()))
    for seq, step in enumerate(steps):
        sink.write(Record("train", step, {"loss": value}, seq=seq))
    sink.close()


def test_D10_both_attempts_are_read_and_the_last_one_may_win(tmp_path):
    attempt(tmp_path / "metrics.jsonl", range(10), 1.0)
    attempt(tmp_path / "metrics.jsonl", range(6, 9), 2.0)
    both = [(r.global_step, r.metrics["loss"]) for r in read(tmp_path)]
    assert both == [*((step, 1.0) for step in range(10)), *((step, 2.0) for step in range(6, 9))]
    latest = [(r.global_step, r.metrics["loss"]) for r in read(tmp_path, latest=True)]
    assert latest == [
        *((step, 1.0) for step in (0, 1, 2, 3, 4, 5, 9)),
        *((step, 2.0) for step in (6, 7, 8)),
    ]
