"""Every cap holds at the limit and one beyond it, and is refused nowhere earlier."""

import json
from dataclasses import fields

import pytest

from coordexp_metrics.audit.readers import Limits, SourceError, read

ROW = {"loss": 1.5, "step": 1}
LINE = json.dumps(ROW).encode()


def outcome(path, **limits):
    """How many records were read, and what was said."""
    try:
        records = read(path, limits=Limits(**limits))
        return len(list(records)), set(records.problems.counts)
    except SourceError as error:
        return 0, {error.problem.code}


def nested(depth):
    return b'{"step": 1, "loss": 1.5, "a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


CASES = {
    "line": (LINE, "line.too_long", len(LINE)),
    "document": (b'{\n"log_history": [' + LINE + b"]}", "file.too_large", 18 + len(LINE) + 2),
    "depth": (nested(20), "json.depth", 20),
    "keys": (LINE, "metrics.too_many", 2),
    "digits": (b'{"a": 123456, "loss": 1.5, "step": 1}', "json.overflow", 6),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("quick", [True, False])
def test_a_cap_holds_at_the_limit_and_not_beyond(tmp_path, monkeypatch, name, quick):
    if not quick:
        monkeypatch.setattr("coordexp_metrics.audit.readers.quick.orjson", None)
    data, code, limit = CASES[name]
    path = tmp_path / "log.json" if name == "document" else tmp_path / "log.jsonl"
    path.write_bytes(data)
    assert outcome(path, **{name: limit}) == (1, set())
    assert code in outcome(path, **{name: limit - 1})[1]


def test_the_number_of_files_is_capped(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_bytes(LINE)
    assert outcome(tmp_path, files=3) == (3, set())
    assert outcome(tmp_path, files=2) == (0, {"file.unreadable"})


def test_the_problems_that_are_kept_are_capped_and_all_are_counted(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"{oops\n" * 30 + LINE)
    records = read(path, limits=Limits(shown=5))
    list(records)
    assert (len(list(records.problems)), len(records.problems)) == (5, 30)


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_the_size_of_a_chunk_changes_nothing(tmp_path, chunk):
    path = tmp_path / "state.json"
    rows = [{"loss": step + 0.5, "step": step, "note": 'a"b\\'} for step in range(20)]
    path.write_text(json.dumps({"best": None, "log_history": rows, "x": [{"y": 1}]}, indent=1))
    usual = list(read(path))
    assert len(usual) == 20
    assert list(read(path, limits=Limits(chunk=chunk))) == usual


def test_every_cap_has_a_test():
    """``record``, ``candidates``, ``inflated`` and ``ratio`` are tested with their readers."""
    elsewhere = {"record", "candidates", "inflated", "ratio", "shown", "files", "chunk"}
    assert {field.name for field in fields(Limits)} == set(CASES) | elsewhere


def test_C13_a_document_needs_the_memory_of_a_row(tmp_path):
    """A string of 40 MB in a document, inside a row and outside, is never held as a whole."""
    import tracemalloc

    blob = 'x\\\\\\"' * (10 << 20)
    rows = (
        f'{{"loss": 1.5, "step": 1}},\n{{"blob": "{blob}", "step": 2}},\n{{"loss": 2.5, "step": 3}}'
    )
    path = tmp_path / "trainer_state.json"
    path.write_text(f'{{"note": "{blob}", "log_history": [\n{rows}]}}')
    records = read(path)
    tracemalloc.start()
    found = [(record.global_step, record.origin[1]) for record in records]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [(1, 2), (3, 4)]
    assert dict(records.problems.counts) == {"line.too_long": 1}
    assert peak < 16 << 20


def test_a_string_that_is_let_go_ends_where_it_ends():
    """However the chunks fall between a backslash and what it escapes."""
    from coordexp_metrics.audit.readers.documents import split_rows

    text = "x" + '\\\\\\"' * 20  # escaped backslashes and quotes
    data = f'{{"log_history": [{{"blob": "{text}"}}, {{"step": 2}}]}}'.encode()
    for size in range(1, 40):
        chunks = [data[at : at + size] for at in range(0, len(data), size)]
        long, short = split_rows(chunks, 12)
        assert (long.too_long, short.raw) == (True, b'{"step": 2}'), size
