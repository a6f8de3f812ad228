"""Whatever a file holds: no traceback, no wrong number, and the rest is still read."""

import gzip
import io
import json
import os
import pickle
import socket
import subprocess
import sys
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordexp_metrics.audit.readers import SourceError, read, read_stream
from coordexp_metrics.contract.errors import MetricsError

GOOD = b'{"loss": 0.5, "step": 1}'
AFTER = b'{"loss": 0.25, "step": 2}'
NESTED = b"[" * 100_000

LINES = {
    "malformed": (b"{loss: 1}", "json.syntax", 0),
    "truncated": (b'{"loss": 1, "st', "json.syntax", 0),
    "trailing comma": (b'{"loss": 1, "step": 3,}', "json.syntax", 0),
    "invalid UTF-8": (b'{"\xff": 1, "step": 3}', "json.utf8", 0),
    "all NUL": (b"\x00" * 500, "json.nul", 0),
    "blank": (b"  \t ", "json.blank", 0),
    "NUL before": (b"\x00\x00" + AFTER, "json.nul", 1),
    "two objects": (AFTER + AFTER, "json.two_values", 2),
    "CR LF": (AFTER + b"\r", "json.crlf", 1),
    "byte order mark": (b"\xef\xbb\xbf" + AFTER, "json.bom", 1),
    "array": (b"[1, 2]", "line.not_object", 0),
    "number": (b"7", "line.not_object", 0),
    "control character": (b'{"a\x01b": 1, "step": 3}', "json.syntax", 0),
    "nested": (NESTED, "json.depth", 0),
    "nested and closed": (b'{"a": ' + b"[" * 40 + b"]" * 40 + b', "step": 3}', "json.depth", 0),
    "long": (b'{"' + b"k" * (11 << 20) + b'": 1, "step": 3}', "line.too_long", 0),
    "too many keys": (
        json.dumps({"step": 3, **{f"k{i}": 1 for i in range(100_000)}}).encode(),
        "line.too_long",
        0,
    ),
    "many keys": (
        json.dumps({"step": 3, **{f"k{i}": 1 for i in range(5000)}}).encode(),
        "metrics.too_many",
        0,
    ),
}


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.replace(" ", "_"))
def test_C01_C03_a_bad_line_is_named_with_line_and_byte_and_the_rest_is_read(log, case):
    line, code, more = LINES[case]
    records = read(log(GOOD, line, AFTER))
    assert [r.metrics["loss"] for r in records] == [0.5] + [0.25] * more + [0.25]
    assert dict(records.problems.counts) == {code: 1}
    (problem,) = records.problems
    assert problem.line == 2
    assert problem.offset >= len(GOOD) + 1


def test_C01_a_syntax_error_is_placed_at_its_byte(log):
    line = '{"é": 1, oops}'.encode()
    records = read(log(GOOD, line))
    list(records)
    (problem,) = records.problems
    assert problem.offset == len(GOOD) + 1 + line.index(b"oops")


def test_C01_lines_end_at_newlines_only(log):
    rows = ['{"note": "a\u2028b\u0085c\x0b d", "loss": 1.0, "step": 1}'.replace("\x0b", "\\u000b")]
    records = read(log(rows[0].encode()))
    assert len(list(records)) == 1
    assert len(records.problems) == 0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_C01_utf_16_is_one_clear_refusal(tmp_path, encoding):
    path = tmp_path / "log.jsonl"
    path.write_bytes((GOOD.decode() + "\n").encode(encoding) * 100)
    with pytest.raises(SourceError, match="UTF-16"):
        read(path)


NUMBERS = {
    "NaN": (b'{"loss": NaN, "step": 1}', "json.nan_token", {}, {"loss": "nan"}, {}),
    "-Infinity": (b'{"loss": -Infinity, "step": 1}', "json.nan_token", {}, {"loss": "-inf"}, {}),
    "1e999": (b'{"a": 1e999, "step": 1}', "json.overflow", {}, {}, {"a"}),
    "-1e999": (b'{"a": -1e999, "step": 1}', "json.overflow", {}, {}, {"a"}),
    "4301 digits": (b'{"a": ' + b"9" * 4301 + b', "step": 1}', "json.overflow", {}, {}, {"a"}),
    "310 digits": (b'{"a": ' + b"9" * 310 + b', "step": 1}', "json.overflow", {}, {}, {"a"}),
    "two values": (b'{"a": 1, "a": 2, "step": 1}', "json.duplicate_key", {}, {}, {"a"}),
    "same twice": (b'{"a": 1, "a": 1, "step": 1}', "json.duplicate_key", {"a": 1}, {}, set()),
    "-0": (b'{"a": -0, "step": 1}', "json.minus_zero", {"a": -0.0}, {}, set()),
}


@pytest.mark.parametrize("case", NUMBERS, ids=lambda case: case.replace(" ", "_"))
def test_C02_a_number_that_json_blurs_is_named_and_never_guessed(log, case):
    line, code, metrics, nonfinite, skipped = NUMBERS[case]
    records = read(log(line))
    (record,) = records
    assert repr(record.metrics) == repr(metrics)
    assert record.nonfinite == nonfinite
    assert set(record.skipped) == set(skipped)
    assert dict(records.problems.counts) == {code: 1}


def test_C02_two_steps_are_no_step(log):
    records = read(log(b'{"loss": 1.0, "step": 1, "step": 2}'))
    assert list(records) == []
    assert dict(records.problems.counts) == {"json.duplicate_key": 1, "step_unresolved": 1}


def test_C02_a_lone_surrogate_is_read_and_can_be_printed(log, command):
    path = log(rb'{"a\ud800": 1.0, "step": 1}')
    (record,) = read(path)
    assert record.metrics == {"a\ud800": 1.0}
    result = command("validate", path)
    assert result.exit_code == 1
    assert "CXM208" in result.stdout
    assert result.stdout.isascii()


def test_C04_a_line_of_300_megabytes_needs_no_memory(tmp_path):
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        file.write(GOOD + b"\n" + b'{"blob": "')
        file.seek(300 << 20, os.SEEK_CUR)  # a hole: it costs no disk
        file.write(b'"}\n' + AFTER + b"\n")
    script = (
        "import resource, sys\n"
        "from coordexp_metrics.audit.readers import read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "records = read(sys.argv[1])\n"
        "assert [r.global_step for r in records] == [1, 2]\n"
        "assert dict(records.problems.counts) == {'line.too_long': 1}\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, check=True, timeout=60
    )
    assert int(result.stdout) < 32 << 10  # KiB


class Canary:
    """Writes a file if it is ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def _archive():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("a", "b")
    return data.getvalue()


FOREIGN = {
    "gzip": (gzip.compress(GOOD), "decompress"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04", "decompress"),
    "bzip2": (b"BZh91AY", "decompress"),
    "xz": (b"\xfd7zXZ\x00", "decompress"),
    "zip": (_archive(), "archives are not opened"),
    "tar": (b"a" * 257 + b"ustar\x0000", "archives are not opened"),
    "numpy": (b"\x93NUMPY\x01\x00", "numpy"),
    "elf": (b"\x7fELF\x02\x01", "ELF"),
    "html": (b"<!doctype html><html>", "HTML"),
    "csv": (b"step,loss\n1,0.5\n", "CSV"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_C05_C12_C23_a_foreign_file_is_one_clear_refusal(tmp_path, command, kind):
    data, said = FOREIGN[kind]
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=said):
        read(path)
    result = command("validate", path)
    assert result.exit_code == 2
    assert result.stdout.count("CXM102 is") == 1


def test_C12_a_pickle_is_never_loaded(tmp_path, command):
    canary = tmp_path / "canary"
    for protocol in (0, 2, 4, 5):
        path = tmp_path / f"trainer_state{protocol}.pt"
        path.write_bytes(pickle.dumps(Canary(str(canary)), protocol))
        result = command("validate", path)
        assert result.exit_code == 2
        assert protocol == 0 or "is a pickle; it is never loaded" in result.stdout
    assert not canary.exists()


def test_C06_only_regular_files_are_opened(hf_log, tmp_path, command):
    link, loop, pipe = tmp_path / "link", tmp_path / "loop", tmp_path / "pipe"
    link.symlink_to(hf_log)
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(tmp_path / "socket"))
        for path in (link, loop, pipe, tmp_path / "socket", "/dev/zero", "/dev/null"):
            with pytest.raises(SourceError):
                read(path)
            assert command("validate", path).exit_code == 2
    finally:
        listening.close()
    assert len(list(read(link, follow_symlinks=True))) == 4
    assert command("validate", link, "--follow-symlinks").exit_code == 0


def test_C06_a_directory_named_like_a_log_is_read_as_a_directory(tmp_path):
    (tmp_path / "runs.jsonl").mkdir()
    with pytest.raises(SourceError, match=r"without a \*\.jsonl"):
        read(tmp_path / "runs.jsonl")


def test_C07_a_file_that_grows_is_read_as_it_was_and_named(log):
    path = log(GOOD)
    records = read(path)
    rows = iter(records)
    next(rows)
    with path.open("ab") as file:
        file.write(AFTER + b"\n")
    assert list(rows) == []
    assert dict(records.problems.counts) == {"file.changed": 1}


def test_C07_a_file_that_shrinks_gives_no_wrong_value(log):
    path = log(*[GOOD] * 50_000)
    records = read(path)
    rows = iter(records)
    next(rows)
    os.truncate(path, len(GOOD) // 2)
    assert all(record.metrics == {"loss": 0.5} for record in rows)
    assert records.problems.counts["file.changed"] == 1


STATES = {
    "NaN": (b'{"log_history": [{"loss": NaN, "step": 1}]}', 1, "json.nan_token"),
    "truncated in a row": (b'{"log_history": [\n{"loss": 1, "step": 1},\n{"lo', 1, "torn_tail"),
    "truncated after a row": (b'{"log_history": [\n{"loss": 1, "step": 1}', 1, "torn_tail"),
    "no list": (b'{"log_history": {"loss": 1}}', 0, "trainer.log_history"),
    "numbers": (b'{"log_history": 7}', 0, "trainer.log_history"),
    "no step": (b'{"log_history": [{"loss": 1}]}', 0, "step_unresolved"),
    "bad row": (b'{"log_history": [{loss}, {"loss": 1, "step": 1}]}', 1, "json.syntax"),
}


@pytest.mark.parametrize("case", STATES, ids=lambda case: case.replace(" ", "_"))
def test_C13_a_damaged_trainer_state_gives_findings_not_tracebacks(log, case):
    data, rows, code = STATES[case]
    records = read(log(data, name="trainer_state.json", end=b""))
    assert len(list(records)) == rows
    assert records.problems.counts[code] == 1


def test_C13_floats_as_strings_are_no_numbers(log):
    (record,) = read(log(b'{"log_history": [{"loss": "0.5", "step": 1}]}', name="a.json"))
    assert (record.metrics, record.skipped) == ({}, {"loss": '"0.5"'})


def test_C13_a_document_beyond_the_cap_is_refused(tmp_path, command):
    path = tmp_path / "trainer_state.json"
    with path.open("wb") as file:
        file.write(b"{\n")
        file.truncate((256 << 20) + 1)
    result = command("validate", path)
    assert result.exit_code == 2
    assert "256 MiB" in result.stdout


def test_D01_a_tail_torn_at_any_byte_is_reported_once_and_costs_one_record(tmp_path):
    rows = [b'{"loss": %d.5, "step": %d}\n' % (i, i) for i in (1, 2, 3)]
    whole = b"".join(rows)
    path = tmp_path / "log.jsonl"
    for size in range(len(rows[0]), len(whole)):
        path.write_bytes(whole[:size])
        records = read(path)
        found = {r.global_step: r.metrics["loss"] for r in records}
        assert all(loss == step + 0.5 for step, loss in found.items())
        torn = whole[:size].rsplit(b"\n", 1)[1]
        expected = {} if not torn or torn.endswith(b"}") else {"torn_tail": 1}
        assert dict(records.problems.counts) == expected


def test_C23_a_newer_major_is_refused_with_what_it_needs(log, command):
    path = log({"header": {"format": 2, "package": "2.0.0"}}, *[{"x": 1}] * 100)
    result = command("validate", path)
    assert result.exit_code == 2
    assert "needs coordexp-metrics >= '2.0.0'" in result.stdout
    assert result.stdout.count("log.jsonl:") == 1


def test_C23_mixed_schema_versions_are_one_finding(log, command):
    bad = {"schema_version": 2, "mode": "train", "global_step": 1, "metrics": {}}
    good = {"schema_version": 1, "mode": "train", "global_step": 1, "metrics": {"loss": 1.0}}
    result = command("validate", log(good, *[bad] * 1000))
    assert result.exit_code == 1
    assert "(1000 times)" in result.stdout


PIECES = st.sampled_from(
    [
        b'{"loss": 1.0, "step": 3}',
        b'{"schema_version": 1, "mode": "eval", "global_step": 3, "metrics": {"eval_loss": 1.0}}',
        b'{"header": {"format": 1}}',
        b'{"log_history": [{"loss": 1.0, "step": 3}]}',
        b"\n", b"\r", b"\x00", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"NaN", b"-0",
        b"1e999", b"null", b"\xff", b"\xef\xbb\xbf", b"\\ud800", b"\x1f\x8b", b"step", b" ",
    ]
)  # fmt: skip


@given(data=st.one_of(st.binary(max_size=400), st.lists(PIECES, max_size=30).map(b"".join)))
@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_give_records_and_problems_and_no_other_error(tmp_path, data):
    from coordexp_metrics.audit.validate import validate

    path = tmp_path / "log.jsonl"
    path.write_bytes(data)
    try:
        records = read(path)
        found = list(records)
    except MetricsError:
        found = []
    for record in found:
        assert record.mode in {"train", "eval"}
        assert 0 <= record.global_step < 2**63
        assert all(value - value == 0 for value in record.metrics.values())
    streamed = read_stream(io.BytesIO(data))
    report = validate(streamed)
    assert report.exit_code() in {0, 1, 2}
    assert report.statistics["records"] == len(found)


@given(at=st.integers(0, 400), bit=st.integers(0, 7))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_flipped_bit_costs_one_line_at_most(tmp_path, at, bit):
    rows = [b'{"loss": 0.5, "step": %d}' % step for step in range(10)]
    data = bytearray(b"\n".join(rows) + b"\n")
    data[at % len(data)] ^= 1 << bit
    path = tmp_path / "log.jsonl"
    path.write_bytes(data)
    try:
        records = list(read(path))
    except MetricsError:
        return
    # A newline made into something else joins two lines; a flip in a number cannot be seen.
    assert len(records) >= 8
    assert sum(record.metrics.get("loss") == 0.5 for record in records) >= 8


@pytest.mark.parametrize(
    "path", ["/proc/self/environ", "/proc/self/mem", "/sys/kernel/uevent_seqnum"]
)
def test_C06_files_of_the_kernel_are_not_opened(path, command):
    if not os.path.exists(path):  # noqa: PTH110
        pytest.skip(f"no {path} here")
    with pytest.raises(SourceError, match=r"kernel|cannot be opened"):
        read(path)
    assert command("validate", path).exit_code == 2


def test_C06_a_hard_link_is_a_file_like_any_other(hf_log, tmp_path):
    os.link(hf_log, tmp_path / "hard.jsonl")
    assert len(list(read(tmp_path / "hard.jsonl"))) == 4


@pytest.mark.parametrize("how", ["replaced", "removed"])
def test_C07_a_file_that_is_replaced_is_read_as_it_was_and_named(log, how):
    path, other = log(*[GOOD] * 50_000), log(AFTER, name="other.jsonl")
    records = read(path)
    rows = iter(records)
    next(rows)
    if how == "replaced":
        other.replace(path)
    else:
        path.unlink()
    assert sum(record.metrics == {"loss": 0.5} for record in rows) == 49_999
    assert dict(records.problems.counts) == {"file.changed": 1}


def _patterns():
    """Each pattern of the audit, and whether it is searched for and not only matched."""
    import importlib
    import re
    from pathlib import Path

    import coordexp_metrics

    root = Path(coordexp_metrics.__file__).parent
    for path in sorted(root.glob("audit/**/*.py")):
        name = ".".join(("coordexp_metrics", *path.relative_to(root).with_suffix("").parts))
        for called, pattern in vars(importlib.import_module(name)).items():
            if isinstance(pattern, re.Pattern):
                searched = re.search(rf"{called}\.(search|finditer|sub)\(", path.read_text())
                yield pattern, searched is not None


@pytest.mark.timeout(60)
def test_C18_no_pattern_takes_more_than_a_moment_for_a_hostile_text():
    """A pattern whose time grows with the square of 2e5 characters would take minutes."""
    hostile = ["a" * 26 + "!", '"', '\\"', "{[", "-0", "0" * 8, "a/", "_", " ", "\x00", "\n{", ":"]
    patterns = list(_patterns())
    assert len(patterns) >= 8
    for pattern, searched in patterns:
        for piece in hostile:
            text = piece * (200_000 // len(piece))
            given = text if isinstance(pattern.pattern, str) else text.encode()
            pattern.match(given)
            pattern.fullmatch(given)
            if searched:
                pattern.search(given)


def test_C24_the_switches_of_the_interpreter_change_nothing(log):
    path = log(GOOD, b"{oops", b'{"rollout/_samples": 1, "step": 3}')
    command = ["-m", "coordexp_metrics.cli", "live-check", str(path), "--format", "json"]
    results = []
    for switches, environment in (
        ([], {}),
        (["-O"], {}),
        (["-W", "error"], {}),
        (["-X", "dev"], {}),
        ([], {"PYTHONMALLOC": "debug", "LC_ALL": "C", "TZ": "Asia/Kathmandu"}),
    ):
        result = subprocess.run(
            [sys.executable, *switches, *command],
            capture_output=True,
            env={**os.environ, **environment},
            timeout=60,
        )
        results.append((result.returncode, result.stdout, result.stderr))
    assert results[0][0] == 1
    assert results[1:] == [results[0]] * 4
