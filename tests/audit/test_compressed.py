"""Compressed logs are read where that is asked for, and bombs are refused."""

import gzip
import json

import pytest

from coordexp_metrics.audit.readers import Limits, SourceError, read
from tests.audit.event_file import scalars

ROWS = b"".join(b'{"loss": %d.5, "step": %d}\n' % (step, step) for step in range(1, 2001))


def zstd(data):
    return pytest.importorskip("zstandard").compress(data)


KINDS = {"gzip": gzip.compress, "zstd": zstd}


@pytest.fixture(params=KINDS)
def compress(request):
    return KINDS[request.param]


def test_C05_compressed_data_are_read_only_when_asked_for(tmp_path, command, compress):
    path = tmp_path / "metrics.jsonl.gz"
    path.write_bytes(compress(ROWS))
    with pytest.raises(SourceError, match="--compressed"):
        read(path)
    assert command("validate", path).exit_code == 2
    assert [r.global_step for r in read(path, compressed=True)] == list(range(1, 2001))
    assert command("validate", path, "--compressed").exit_code == 0


def test_what_is_compressed_is_told_by_its_own_content(tmp_path, compress):
    path = tmp_path / "events.gz"
    path.write_bytes(compress(scalars(3)))
    assert [r.global_step for r in read(path, compressed=True)] == [1, 2, 3]
    path.write_bytes(compress(json.dumps({"log_history": [{"loss": 1.0, "step": 4}]}).encode()))
    assert [r.global_step for r in read(path, compressed=True)] == [4]


def test_several_members_are_one_log(tmp_path, compress):
    path = tmp_path / "metrics.gz"
    path.write_bytes(compress(ROWS[:100]) + compress(ROWS[100:]))
    assert len(list(read(path, compressed=True))) == 2000


def test_C05_archives_in_archives_are_not_opened(tmp_path, compress):
    path = tmp_path / "metrics.gz"
    for inner in (compress(ROWS), b"PK\x03\x04" + ROWS, b"\x80\x04 a pickle"):
        path.write_bytes(compress(inner))
        with pytest.raises(SourceError):
            list(read(path, compressed=True))


def test_C05_a_bomb_is_refused_and_ends_in_2(tmp_path, command, compress):
    path = tmp_path / "metrics.gz"
    path.write_bytes(compress(ROWS + b'{"a": "' + b"0" * (64 << 20) + b'"}\n'))
    records = read(path, compressed=True)
    with pytest.raises(SourceError, match="as a bomb does"):
        list(records)
    assert command("validate", path, "--compressed").exit_code == 2


def test_C05_caps_hold_at_the_limit_and_not_beyond(tmp_path, compress):
    path = tmp_path / "metrics.gz"
    path.write_bytes(compress(ROWS))
    assert len(list(read(path, compressed=True, limits=Limits(inflated=len(ROWS))))) == 2000
    with pytest.raises(SourceError, match="inflates beyond"):
        list(read(path, compressed=True, limits=Limits(inflated=len(ROWS) - 1)))
    body = b'{"loss": 1.5, "step": 1}\n' * 50_000
    packed = compress(body)
    path.write_bytes(packed)
    ratio = -(-len(body) // len(packed))
    assert len(list(read(path, compressed=True, limits=Limits(ratio=ratio)))) == 50_000
    with pytest.raises(SourceError, match="as a bomb does"):
        list(read(path, compressed=True, limits=Limits(ratio=ratio - 1)))


def test_a_damaged_or_cut_file_is_named_and_never_passes(tmp_path, command, compress):
    path = tmp_path / "metrics.gz"
    data = compress(ROWS)
    for broken in (data[:-3], data[: len(data) // 2], data[:20] + b"\xff" * 30 + data[50:]):
        path.write_bytes(broken)
        with pytest.raises(SourceError):
            list(read(path, compressed=True))
        assert command("validate", path, "--compressed").exit_code == 2


def test_zstd_without_its_library_is_refused_with_the_way_out(tmp_path, monkeypatch):
    path = tmp_path / "metrics.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + b"\0" * 50)
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    with pytest.raises(SourceError, match="pip install zstandard"):
        list(read(path, compressed=True))
