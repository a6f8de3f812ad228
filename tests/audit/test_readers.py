"""Every kind of log comes back as records, with nothing invented."""

import json
import math

import pytest

from coordexp_metrics.audit.readers import Limits, SourceError, read, read_all
from tests.audit.conftest import HF_LOG

HEADER = {"header": {"format": 1, "package": "0.1.0", "definitions": {}, "parameters": {}}}


def payload(step, mode="train", **sections):
    metrics = sections.pop("metrics", {"loss": 1.0})
    envelope = {"schema_version": 1, "mode": mode, "global_step": step, "metrics": metrics}
    return envelope | sections


def test_a_journal_gives_its_header_and_its_records(log):
    path = log(
        HEADER,
        payload(7, seq=0, time=12.5, health={"contract/dropped_total": 1}, notes={"a": 1}),
        payload(7, "eval", metrics={"eval_loss": 2}, nonfinite={"eval_x": "nan"}, dataset="coco"),
    )
    records = read(path)
    train, evaluation = records
    assert records.headers == [HEADER["header"]]
    assert (train.mode, train.global_step, train.seq, train.time) == ("train", 7, 0, 12.5)
    assert train.health == {"contract/dropped_total": 1}
    assert train.extra == {"notes": {"a": 1}}
    assert train.origin == (str(path), 2)
    assert evaluation.metrics == {"eval_loss": 2}
    assert evaluation.nonfinite == {"eval_x": "nan"}
    assert evaluation.dataset == "coco"
    assert len(records.problems) == 0


def test_what_the_journal_sink_writes_comes_back_bit_by_bit(tmp_path):
    from coordexp_metrics.contract.catalogue import Catalogue
    from coordexp_metrics.contract.header import Header
    from coordexp_metrics.contract.record import Record
    from coordexp_metrics.sinks import JsonlSink

    values = {"a": -0.0, "b": 5e-324, "c": 1.7976931348623157e308, "d": 2**53 + 1, "e": 0.1}
    sink = JsonlSink(tmp_path / "metrics.jsonl")
    sink.open(Header(Catalogue()))
    sink.write(Record("train", 7, values, {"f": "-inf"}, seq=3, time=1.5))
    sink.close()
    (record,) = read(sink.path)
    assert list(map(repr, record.metrics.values())) == list(map(repr, values.values()))
    assert record.values()["f"] == -math.inf
    assert (record.seq, record.time) == (3, 1.5)


def test_records_can_be_read_again(hf_log):
    records = read(hf_log)
    assert [r.global_step for r in records] == [r.global_step for r in records] == [10, 20, 20, 20]


def test_a_hugging_face_log_tells_modes_by_keys_and_keeps_names(hf_log):
    train, _, evaluation, summary = read(hf_log)
    assert (train.mode, train.metrics["epoch"]) == ("train", 0.5)
    assert "step" not in train.metrics
    assert evaluation.mode == "eval"
    assert set(evaluation.metrics) >= {"eval_loss", "epoch"}
    assert (summary.mode, summary.global_step) == ("train", 20)


@pytest.mark.parametrize("indent", [2, None])
def test_a_whole_trainer_state_gives_its_log_history(tmp_path, indent):
    path = tmp_path / "trainer_state.json"
    state = {"best_metric": None, "log_history": HF_LOG, "global_step": 20, "stateful": {"a": [1]}}
    path.write_text(json.dumps(state, indent=indent))
    records = read(path)
    assert [(r.mode, r.global_step) for r in records] == [
        ("train", 10),
        ("train", 20),
        ("eval", 20),
        ("train", 20),
    ]
    assert len(records.problems) == 0
    if indent:
        first = next(iter(records)).origin[1]
        assert path.read_text().splitlines()[first - 1].strip() == "{"


def test_a_trainer_state_on_a_line_of_jsonl_gives_its_log_history(log):
    assert len(list(read(log({"log_history": HF_LOG})))) == 4


def test_an_array_of_rows_gives_the_rows(log):
    path = log(json.dumps(HF_LOG, indent=1).encode(), name="rows.json")
    assert len(list(read(path))) == 4


def test_ms_swift_rows_tell_their_step_and_keep_their_strings(log):
    path = log(
        {"loss": 1.0, "global_step/max_steps": "7/100", "percentage": "7.00%"},
        {"eval/rollout/f1": 0.5, "epoch": 1.0, "global_step/max_steps": "7/100"},
        {"last_model_checkpoint": "out/7", "global_step": 7, "log_history": [{"loss": 1.0}]},
    )
    records = read(path)
    train, evaluation = records
    assert (train.global_step, train.metrics) == (7, {"loss": 1.0})
    assert train.skipped == {"global_step/max_steps": '"7/100"', "percentage": '"7.00%"'}
    assert (evaluation.mode, evaluation.global_step) == ("eval", 7)
    assert records.summaries == [{"last_model_checkpoint": "out/7", "global_step": 7}]
    assert len(records.problems) == 0


def test_a_history_too_long_for_a_line_is_still_no_record_and_no_fault(log):
    summary = {"last_model_checkpoint": "out/7", "log_history": ["x" * (1 << 20)]}
    records = read(log({"loss": 1.0, "step": 7}, summary))
    assert len(list(records)) == 1
    assert len(records.problems) == 0


def test_the_real_log_gives_ten_records(real_log):
    records = read(real_log)
    found = [(record.mode, record.global_step) for record in records]
    assert found == [*(("train", step) for step in range(1, 9)), ("eval", 8), ("train", 8)]
    assert len(records.problems) == 0


def test_a_row_of_both_modes_gives_two_records(log):
    train, evaluation = read(log({"loss": 1.0, "eval_loss": 2.0, "epoch": 1.0, "step": 5}))
    assert (train.mode, train.metrics) == ("train", {"loss": 1.0, "epoch": 1.0})
    assert (evaluation.mode, evaluation.metrics) == ("eval", {"eval_loss": 2.0})
    assert train.origin == evaluation.origin


@pytest.mark.parametrize("step", [7, 7.0, "7", "7/100"], ids=repr)
def test_a_step_may_be_spelled_as_trainers_do(log, step):
    (record,) = read(log({"loss": 1.0, "step": step}))
    assert record.global_step == 7


NO_STEPS = [None, 7.5, -1, 2**63, "seven", "", True, [7], "7/100/2"]


@pytest.mark.parametrize("step", NO_STEPS, ids=repr)
def test_C13_no_step_is_ever_invented(log, step):
    whole = {"loss": 2.0, "step": 1}
    records = read(log({"loss": 1.0}, {"loss": 1.0, "step": step}, whole, {"loss": 1.0}))
    assert [record.global_step for record in records] == [1]
    assert [(p.code, p.line) for p in records.problems] == [
        ("step_unresolved", 1),
        ("step_unresolved", 2),
        ("step_unresolved", 4),
    ]


def test_the_summary_of_a_run_takes_the_last_step(log):
    _, summary = read(log({"loss": 1.0, "step": 3}, {"train_runtime": 5.0, "train_loss": 1.0}))
    assert (summary.mode, summary.global_step) == ("train", 3)


def test_a_directory_is_read_attempt_by_attempt(log, tmp_path):
    for name, step in [("m.2.jsonl", 3), ("m.jsonl", 1), ("m.10.jsonl", 4), ("m.1.jsonl", 2)]:
        log(payload(step), name=name)
    log(b"not a log", name="notes.txt")
    assert [record.global_step for record in read(tmp_path)] == [1, 2, 3, 4]


def test_a_refused_file_of_a_directory_is_a_problem_and_the_others_are_read(log, tmp_path):
    log(payload(1), name="a.jsonl")
    log(b"\x1f\x8b junk", name="b.jsonl")
    records = read(tmp_path)
    assert len(list(records)) == 1
    assert [p.code for p in records.problems] == ["file.foreign"]


def test_C26_a_source_without_a_log_raises(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.jsonl", tmp_path / "run*.jsonl", "a\x00b"):
        with pytest.raises(SourceError):
            read(path)


def test_a_lenient_reading_of_several_sources_names_what_it_missed(hf_log, tmp_path):
    records = read_all([str(hf_log), str(tmp_path / "nothing")])
    assert len(list(records)) == 4
    assert [p.code for p in records.problems] == ["file.unreadable"]


def test_values_that_are_no_numbers_are_kept_as_text(log):
    row = {"a": True, "b": None, "c": "0.5", "d": [1], "e": {"f": 1}, "g": 1, "step": 1}
    (record,) = read(log(row))
    assert record.metrics == {"g": 1}
    assert record.skipped == {"a": "true", "b": "null", "c": '"0.5"', "d": "[1]", "e": '{"f": 1}'}


def test_a_wrong_envelope_is_named_by_the_contracts_codes(log):
    path = log(
        {"schema_version": "1", "mode": "train", "global_step": 1, "metrics": {}},
        {"schema_version": 1, "mode": "Train", "global_step": -1, "metrics": {}},
        {"schema_version": 1, "mode": "train", "global_step": 1},
        {"mode": "train", "global_step": 1, "metrics": {}},
        payload(5),
    )
    records = read(path)
    assert [record.global_step for record in records] == [5]
    assert [p.code for p in records.problems] == [
        "schema_version.type",
        "mode.value",
        "global_step.range",
        "metrics.missing",
        "schema_version.missing",
    ]


def test_pandas_is_asked_for_by_name_where_it_is_missing(hf_log, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        read(hf_log).to_pandas()


def test_a_data_frame_has_a_row_a_record(log):
    pandas = pytest.importorskip("pandas")
    frame = read(log({"loss": 1.0, "step": 1}, {"loss": 2.0, "step": 2})).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["loss"].tolist() == [1.0, 2.0]


def test_limits_hold_at_the_limit_and_not_beyond(log):
    row = {"loss": 1.0, "step": 1}
    size = len(json.dumps(row))
    path = log(row)
    assert len(list(read(path, limits=Limits(line=size)))) == 1
    records = read(path, limits=Limits(line=size - 1))
    assert list(records) == []
    assert records.problems.counts["line.too_long"] == 1
    assert len(list(read(path, limits=Limits(keys=2)))) == 1
    assert list(read(path, limits=Limits(keys=1))) == []


def test_names_come_back_canonical_from_every_sinks_spelling(log):
    path = log(
        {"train/loss": 1.0, "train/train/samples_total": 4, "mine/x": 2.0, "step": 1},
        {"eval/rollout/f1": 0.5, "eval_loss": 1.0, "eval/mine": 2.0, "step": 1},
        {"test_loss": 1.0, "step": 2},
        {"eval/loss": 1.0, "eval_loss": 2.0, "test/loss": 3.0, "step": 3},
        {"coord_softce_w1/loss": 1.0, "snapshot/rollout/f1": 0.5, "step": 4},
    )
    assert [dict(record.metrics) for record in read(path).canonical()] == [
        {"loss": 1.0, "train/samples_total": 4, "mine/x": 2.0},
        {"eval_rollout/f1": 0.5, "eval_loss": 1.0, "eval_mine": 2.0},
        {"eval_loss": 1.0},
        {"eval/loss": 1.0, "eval_loss": 2.0, "test/loss": 3.0},
        {"coord_diag/loss": 1.0, "snapshot/rollout/f1": 0.5},
    ]


def test_two_spellings_of_which_none_is_canonical_lose_nothing(log):
    path = log(
        {"eval/loss": 1.0, "test/loss": 3.0, "step": 3}, {"eval/loss": float("nan"), "step": 4}
    )
    both, hidden = read(path).canonical()
    assert both.metrics == {"eval_loss": 1.0, "test/loss": 3.0}
    assert hidden.nonfinite == {"eval_loss": "nan"}


def test_the_first_kind_of_log_in_a_directory_is_read(log, tmp_path):
    from tests.audit.event_file import scalars

    (tmp_path / "events.out.tfevents.1.host").write_bytes(scalars(3))
    assert len(list(read(tmp_path))) == 3
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": HF_LOG}))
    assert len(list(read(tmp_path))) == 4
    log(payload(1), name="metrics.jsonl")
    assert len(list(read(tmp_path))) == 1


def test_headers_are_filed_under_the_log_that_they_open(log):
    paths = [str(log(HEADER, name="a.jsonl")), str(log(HEADER, payload(1), name="b.jsonl"))]
    records = read_all(paths)
    assert len(list(records)) == 1
    assert records.header_files == paths
