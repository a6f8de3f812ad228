"""The verbs: exit codes, formats, and what reaches a terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coordexp_metrics.audit.readers import read
from tests.audit.conftest import COMMAND, HF_LOG

LEAK = {"rollout/_samples": 5.0, "step": 1}
EVIL = "\x1b[2J\x1b]0;owned\x07\u202e::error file=x::%0A[link=http://evil]loss[/]\r"


def test_exit_codes_say_clean_findings_and_unchecked(command, hf_log, log, tmp_path):
    assert command("validate", hf_log).exit_code == 0
    assert command("validate", log(LEAK, name="leak.jsonl")).exit_code == 1
    assert command("validate", log(b"", name="empty.jsonl", end=b"")).exit_code == 2
    assert command("validate", log({"header": {"format": 1}}, name="head.jsonl")).exit_code == 2
    assert command("validate", tmp_path / "nothing").exit_code == 2
    assert command("validate", hf_log, tmp_path / "nothing").exit_code == 2
    assert command("validate").exit_code == 2


def test_C26_a_glob_that_matches_nothing_is_2(command, tmp_path):
    assert command("validate", tmp_path / "*.jsonl").exit_code == 2


def test_warnings_gate_only_when_strict(command, log):
    path = log({"loss": 1.0, "step": 1, "percentage": "1%"})
    assert command("validate", path).exit_code == 0
    assert command("validate", path, "--strict").exit_code == 1


def test_C25_a_lossy_log_never_passes(command, log):
    row = {"schema_version": 1, "mode": "train", "global_step": 1, "metrics": {"loss": 1.0}}
    result = command("validate", log(row | {"health": {"contract/rejected_total": 3}}))
    assert result.exit_code == 1
    assert "contract/rejected_total is 3" in result.stdout
    assert command("validate", log(row | {"lossy": True})).exit_code == 1


def test_text_groups_by_rule_worst_first(command, log):
    path = log({"loss": 1.0, "step": 1, "percentage": "1%", "a/b": 1.0, **LEAK})
    lines = command("validate", path).stdout.splitlines()
    assert f"{path}:1: CXM203 'rollout/_samples' is an internal helper; it stays" in lines
    rules = [line.split()[0] for line in lines if line.startswith("CXM")]
    assert rules == ["CXM203", "CXM207", "CXM306"]
    assert lines[-1] == "1 record of 1 file checked: 2 errors, 1 warning"


def test_json_lists_every_key_in_the_agreed_shape(command, log):
    rows = {f"a/k{i:03}": 1.0 for i in range(150)} | {f"k{i:03}": 1.0 for i in range(150)}
    result = command("validate", log({**rows, "step": 4}), "--format", "json")
    report = json.loads(result.stdout)
    assert set(report) == {"findings", "statistics"}
    assert {finding["key"] for finding in report["findings"]} == set(rows)
    first = report["findings"][0]
    assert list(first) == [
        "rule",
        "severity",
        "key",
        "metric",
        "path",
        "line",
        "message",
        "evidence",
    ]
    assert (first["line"], first["metric"]) == (1, None)
    assert report["statistics"]["undeclared_families"] == {"a/": 150}


def test_metric_is_the_canonical_key_and_key_the_spelled_one(command, log):
    result = command("validate", log({"eval_rollout/f1": 1.5, "step": 1}), "--format", "json")
    (finding,) = json.loads(result.stdout)["findings"]
    assert (finding["rule"], finding["key"]) == ("CXM304", "eval_rollout/f1")
    assert finding["metric"] == "rollout/f1"


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_C08_C10_hostile_keys_reach_no_terminal_and_no_workflow(command, log, form):
    path = log({EVIL: 1.0, f"a/{EVIL}": "x", "step": 1}, name="evil\x1b[2J.jsonl")
    result = command("validate", path, "--format", form)
    assert result.exit_code == 1
    assert result.stdout.isascii()
    assert not set(result.stdout) & set(map(chr, range(32))) - {"\n"}
    assert not any(line.startswith("::error file=x") for line in result.stdout.splitlines())


def test_C10_annotations_are_escaped(command, log):
    result = command("validate", log({"loss": "12%\n::error::x", "step": 1}), "--format", "github")
    first = result.stdout.splitlines()[0]
    assert first.startswith("::error file=")
    assert ",line=1,title=CXM301 no-number::" in first
    assert "12%25" in first


def test_C01_C20_other_terminals_get_the_same_findings(process, log, hf_log):
    path = log({"loss": 1.0, "\u2713": 1.0, **LEAK})
    usual = process("validate", path)
    for environment in (
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0"},
        {"NO_COLOR": "1", "COLUMNS": "20"},
        {"TERM": "dumb", "PYTHONOPTIMIZE": "1"},
    ):
        other = process("validate", path, **environment)
        assert (other.returncode, other.stdout) == (1, usual.stdout)
        assert other.stderr == b""


@pytest.mark.parametrize(("carry", "code"), [("*", 0), ("x", 1)])
def test_a_closed_pipe_is_quiet_and_changes_no_exit_code(process, log, carry, code):
    path = log({**{f"k{i}": float("nan") for i in range(3000)}, "step": 1})
    result = process(
        "validate", path, "--format", "json", "--carry", carry, pipe=" | head -c 10 >/dev/null"
    )
    assert result.stderr == b""
    assert result.returncode == code


def test_standard_input_is_a_source(command):
    rows = "".join(json.dumps(row) + "\n" for row in HF_LOG)
    assert command("validate", "-", stdin=rows).exit_code == 0
    leaked = command("validate", "-", stdin=json.dumps(LEAK))
    assert leaked.exit_code == 1
    assert "<stdin>:1: CXM203" in leaked.stdout
    assert command("validate", "-", stdin="").exit_code == 2
    assert command("validate", "-", stdin=b"\x1f\x8b\x00").exit_code == 2


def test_carry_and_catalogue_declare_keys(command, log, tmp_path, monkeypatch):
    path = log({"my/metric": 1.0, "step": 1})
    assert command("validate", path).exit_code == 1
    assert command("validate", path, "--carry", "my/*").exit_code == 0
    (tmp_path / "my_keys.py").write_text(
        "from coordexp_metrics.contract.declare import total\n"
        "from coordexp_metrics.contract.family import Family\n"
        "from coordexp_metrics.contract.units import TOKEN\n"
        "class Mine(Family, pattern='my/{name}'):\n"
        "    metric = total('things', unit=TOKEN)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert command("validate", path, "--catalogue", "my_keys").exit_code == 0


@pytest.mark.parametrize("given", ["w1_weight", "=1", "w1_weight=x", "w1_weight=nan"])
def test_a_wrong_option_is_2(command, hf_log, given):
    assert command("validate", hf_log, "--param", given).exit_code == 2
    assert command("validate", hf_log, "--param", "w1_weight=1.0").exit_code == 0
    assert command("validate", hf_log, "-").exit_code == 2


def test_C21_the_output_is_a_whole_file_or_the_old_one(command, log, tmp_path):
    path, output = log(LEAK), tmp_path / "report.json"
    result = command("validate", path, "--format", "json", "--output", output)
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(json.loads(output.read_text())["findings"]) == 1
    assert command("validate", path, "--output", tmp_path / "no" / "x").exit_code != 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "report.json"]


def test_C21_the_input_is_never_written(command, log):
    path = log(LEAK)
    before = path.read_bytes()
    assert command("validate", path, "--output", path).exit_code == 2
    assert path.read_bytes() == before


def test_C21_an_interrupt_is_130(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"loss": 1.0, "step": 1}\n' * 2_000_000)
    command = [sys.executable, "-c", COMMAND, "validate", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        time.sleep(1.5)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=30)
    assert running.returncode == 130
    assert out == b""


def test_C22_nothing_in_the_working_directory_is_imported(tmp_path, hf_log):
    for name in ("sitecustomize", "typer", "coordexp_metrics_plugin"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    result = subprocess.run(
        [sys.executable, "-P", "-c", COMMAND, "validate", str(hf_log)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr


def test_the_real_log_fails_with_the_faults_that_it_has(command, real_log):
    result = command("validate", real_log)
    assert result.exit_code == 1
    for said in (
        "_prompt_tok_mismatch_num",
        "_prompt_tok_mismatch_den",
        "'percentage'",
        "'elapsed_time'",
        "'remaining_time'",
        "'global_step/max_steps'",
        "137 keys carry values of older steps",
        "'train/triage/' is not in the catalogue",
        "'eval/detection/' is not in the catalogue",
    ):
        assert said in result.stdout


def test_replay_keeps_names_modes_steps_and_times(command, log, tmp_path):
    source = log(
        {
            "schema_version": 1,
            "mode": "eval",
            "global_step": 7,
            "metrics": {"eval_rollout/f1": 0.5, "mine": 2},
            "nonfinite": {"eval_loss": "nan"},
            "time": 123.5,
            "seq": 9,
        },
        {"eval/detection/f1": 0.5, "train_loss_": 1.0, "percentage": "1%", "step": 8},
    )
    out = tmp_path / "out" / "metrics.jsonl"
    result = command("replay", source, "--to", f"jsonl:{out}")
    assert result.exit_code == 0, result.output
    first, train, evaluation = read(out)
    assert (first.mode, first.global_step, first.time, first.seq) == ("eval", 7, 123.5, 9)
    assert first.metrics == {"eval_rollout/f1": 0.5, "eval_mine": 2}
    assert first.nonfinite == {"eval_loss": "nan"}
    assert (train.metrics, train.time) == ({"train_loss_": 1.0}, None)
    assert evaluation.metrics == {"eval_detection/f1": 0.5}
    assert "3 records" in result.stderr
    assert result.stdout == ""


def test_replay_of_the_real_log_is_readable_and_leaves_internals_behind(
    command, real_log, tmp_path
):
    out = tmp_path / "metrics.jsonl"
    assert command("replay", real_log, "--to", f"jsonl:{out}").exit_code == 0
    records = list(read(out))
    assert len(records) == 10
    keys = {key for record in records for key in record.metrics}
    assert "rollout/f1" in keys
    assert not any(key.rpartition("/")[2].startswith("_") for key in keys)


def test_replay_to_tensorboard_writes_events(command, hf_log, tmp_path):
    pytest.importorskip("tensorboard")
    place = tmp_path / "tb"
    result = command("replay", hf_log, "--to", f"tensorboard:{place}", "--to", f"jsonl:{place}/m")
    assert result.exit_code == 0
    assert any("tfevents" in file.name for file in place.iterdir())
    assert "TensorBoardSink: 4 of 4" in result.stderr


def test_replay_to_offline_wandb_opens_and_finishes_its_own_run(process, hf_log, tmp_path):
    pytest.importorskip("wandb")
    result = process("replay", hf_log, "--to", "wandb:offline", WANDB_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert b"WandbSink: 4 of 4" in result.stderr
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_replay_refuses_what_it_cannot_do(command, hf_log, log, tmp_path):
    for place in ("csv:x", "jsonl:", "tensorboard", "wandb:online", ""):
        assert command("replay", hf_log, "--to", place).exit_code == 2
    assert command("replay", hf_log).exit_code == 2
    out = tmp_path / "out.jsonl"
    assert command("replay", tmp_path / "nothing", "--to", f"jsonl:{out}").exit_code == 2
    assert command("replay", log(b""), "--to", f"jsonl:{out}").exit_code == 2
    assert not out.exists()


def test_replay_says_when_lines_could_not_be_read(command, log, tmp_path):
    source = log({"loss": 1.0, "step": 1}, b"{oops")
    result = command("replay", source, "--to", f"jsonl:{tmp_path / 'out.jsonl'}")
    assert result.exit_code == 1
    assert "is no JSON" in result.stderr
