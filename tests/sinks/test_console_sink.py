"""The console shows a few telling numbers, in plain text."""

from __future__ import annotations

import io

import pytest

from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.record import Record
from coordexp_metrics.sinks import ConsoleSink


def shown(header: Header, *records: Record, **options) -> list[str]:
    stream = io.StringIO()
    sink = ConsoleSink(stream, **options)
    sink.open(header)
    for record in records:
        sink.write(record)
    return stream.getvalue().splitlines()


def test_a_record_is_one_line_of_telling_keys(header: Header) -> None:
    record = Record("train", 7, {"zzz": 9.0, "grad_norm": 0.123456789, "loss": 1.25})
    assert shown(header, record) == ["step 7 train  loss 1.25  grad_norm 0.123457"]


def test_evaluation_goes_by_its_own_names(header: Header) -> None:
    record = Record("eval", 7, {"eval_rollout/precision": 0.5}, dataset="coco\n\x1b[2J")
    assert shown(header, record, keys=["rollout/precision"]) == [
        "step 7 eval 'coco\\n\\x1b[2J'  eval_rollout/precision 0.5"
    ]


def test_a_nan_is_shown_as_nan(header: Header) -> None:
    assert shown(header, Record("train", 7, {}, {"loss": "nan"})) == ["step 7 train  loss nan"]


def test_undeclared_keys_can_be_asked_for(header: Header) -> None:
    records = Record("train", 1, {"my/x": 1}), Record("eval", 1, {"eval_my/x": 2})
    assert shown(header, *records, keys=["my/x"]) == [
        "step 1 train  my/x 1",
        "step 1 eval  eval_my/x 2",
    ]


def test_every_third_training_record_and_all_evaluations(header: Header) -> None:
    records = [Record("train", step, {}) for step in range(5)]
    records.insert(2, Record("eval", 1, {}))
    assert shown(header, *records, every=3) == ["step 0 train", "step 1 eval", "step 3 train"]


def test_stderr_is_the_default(header: Header, capsys: pytest.CaptureFixture[str]) -> None:
    sink = ConsoleSink()
    sink.open(header)
    sink.write(Record("train", 7, {"loss": 1.0}))
    assert capsys.readouterr() == ("", "step 7 train  loss 1\n")


def test_every_counts_from_one() -> None:
    with pytest.raises(ValueError, match="every counts records from 1"):
        ConsoleSink(every=0)
