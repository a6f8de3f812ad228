"""A real ms-swift run under the contract logs what one process finds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from coordexp_metrics import read

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(find_spec("swift") is None, reason="needs ms-swift")


def trained(folder: Path, ranks: int) -> Path:
    """What the main rank of a run leaves."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "tests.integrations.swift_run", str(folder)],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "0"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one rank, made once."""
    return trained(tmp_path_factory.mktemp("swift"), 1)


def what_it_says(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "said.json").read_text())
    return found


@pytest.fixture(scope="module")
def said(out: Path) -> dict[str, Any]:
    return what_it_says(out)


def test_an_epoch_of_training_is_what_one_process_reads(said: dict[str, Any]) -> None:
    """Two steps of four samples are the eight samples, at learning rate 0."""
    assert said["faults"] == []
    rows = [r["values"] for r in said["records"] if r["mode"] == "train" and "loss" in r["values"]]
    assert len(rows) == 2
    for row in rows:
        for key, value in said["train"].items():
            assert row[key] == pytest.approx(value, rel=1e-5, abs=1e-8), key


def test_an_evaluation_is_what_one_process_reads(said: dict[str, Any]) -> None:
    (row,) = (r["values"] for r in said["records"] if r["mode"] == "eval")
    for key, value in said["validate"].items():
        assert row[f"eval_{key}"] == pytest.approx(value, rel=1e-5, abs=1e-8), key


def test_what_is_pushed_into_custom_metrics_is_summed_as_declared(said: dict[str, Any]) -> None:
    """A total of 3 in each of four micro-steps is 12; what nobody declared is ms-swift's mean."""
    for record in said["records"]:
        if record["mode"] == "train" and "loss" in record["values"]:
            assert record["values"]["stage2/raw_rollouts"] == 12
            assert record["values"]["my/own"] == 1.5


def test_its_logging_jsonl_stays_readable(out: Path, said: dict[str, Any]) -> None:
    rows = [r for r in read(out / "swift" / "logging.jsonl") if "loss" in r.metrics]
    assert [r.global_step for r in rows] == [2, 4]
    assert rows[0].metrics["token_count"] == said["train"]["token_count"]


def test_two_ranks_log_what_one_process_reads(tmp_path: Path) -> None:
    out = trained(tmp_path, 2)
    said = what_it_says(out)
    test_an_epoch_of_training_is_what_one_process_reads(said)
    test_an_evaluation_is_what_one_process_reads(said)
    test_what_is_pushed_into_custom_metrics_is_summed_as_declared(said)
    test_its_logging_jsonl_stays_readable(out, said)
