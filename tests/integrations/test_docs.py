"""Every script of the page runs as written, and its log is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from coordexp_metrics import read

ROOT = Path(__file__).parents[2]
SCRIPTS = dict(
    re.findall(
        r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```",
        (ROOT / "docs/trainers.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
)
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def run(script: str, folder: Path, *launcher: str) -> list[Path]:
    (folder / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, "script.py"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return sorted(folder.glob("runs/*/*.jsonl"))


def test_the_page_has_a_script_for_each_of_them() -> None:
    assert set(SCRIPTS) == {
        "Hugging Face",
        "Fused losses",
        "ms-swift",
        "Lightning",
        "Accelerate",
        "A loop of your own",
    }


@pytest.mark.parametrize(
    "name", ["Hugging Face", "Fused losses", "Lightning", "Accelerate", "A loop of your own"]
)
def test_a_script_runs_as_written(name: str, tmp_path: Path) -> None:
    (log,) = run(SCRIPTS[name], tmp_path)
    assert any("loss" in record.metrics for record in read(log))


def test_the_tap_of_the_page_reads_every_second_step(tmp_path: Path) -> None:
    (log,) = run(SCRIPTS["Fused losses"], tmp_path)
    rows = [record.metrics for record in read(log) if "loss" in record.metrics]
    assert ["token_acc" in row for row in rows] == [True, False, True, False]


def test_the_loop_runs_on_two_ranks_and_one_writes(tmp_path: Path) -> None:
    (log,) = run(SCRIPTS["A loop of your own"], tmp_path, *TORCHRUN)
    records = list(read(log))
    assert [record.global_step for record in records] == [1, 2, 3]
    assert records[0].metrics["pack/num_samples"] == 16


def test_the_plugin_is_a_trainer_of_ms_swift(tmp_path: Path) -> None:
    pytest.importorskip("swift")
    said = (
        "\nfrom swift.trainers import Seq2SeqTrainer as T\nassert issubclass(ContractTrainer, T)\n"
    )
    assert run(SCRIPTS["ms-swift"] + said, tmp_path) == []
