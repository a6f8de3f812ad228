"""Two ranks of a real trainer under torchrun log what one process logs, and train undisturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordexp_metrics import CATALOGUE, read

from . import tiny
from .on_ranks import EVALUATED

ROOT = Path(__file__).parents[2]


def torchrun(script: str, *arguments: object) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "-m", f"tests.integrations.{script}", *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def of_ranks(out: Path, kind: str) -> list[dict]:
    torchrun("on_ranks", out, kind)
    return [json.loads((out / f"{kind}-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def metered(out: Path) -> list[dict]:
    return of_ranks(out, "metered")


def test_two_ranks_train_on_what_one_process_reads(metered: list[dict]) -> None:
    """Two micro-batches of two samples on two ranks, twice: all sixteen samples, each once."""
    wanted = tiny.alone(tiny.model(), tiny.Samples(16), "train")
    for rank in metered:
        row = next(row for row in rank["rows"] if "loss" in row)
        for key, value in wanted.items():
            assert row[key] == pytest.approx(value, rel=1e-6, abs=1e-9), key


def test_an_evaluation_set_that_does_not_divide_counts_each_sample_once(
    metered: list[dict],
) -> None:
    wanted = tiny.alone(tiny.model(), tiny.Samples(EVALUATED, 5))
    for rank in metered:
        for key, value in wanted.items():
            name = CATALOGUE[key].eval_key
            assert rank["eval"][name] == pytest.approx(value, rel=1e-6, abs=1e-9), key


def test_nothing_goes_over_the_groups_that_train(out: Path, metered: list[dict]) -> None:
    """The same calls with and without metrics; one of ours for each of two steps and one close."""
    for ours, plain in zip(metered, of_ranks(out, "plain"), strict=True):
        assert ours["training"] == plain["training"]
        assert (len(ours["own"]), len(plain["own"])) == (3, 0)
    assert metered[0]["own"] == metered[1]["own"]


def test_only_the_main_rank_writes(out: Path, metered: list[dict]) -> None:
    assert [path.name for path in out.glob("*.jsonl")] == ["metrics.jsonl"]
    modes = [record.mode for record in read(out / "metrics.jsonl")]
    assert modes == ["train", "train", "eval"]


def test_lightning_on_two_ranks_logs_what_one_process_reads(tmp_path: Path) -> None:
    """Two of four steps end a logging window; the sampler's repeated sample counts once."""
    torchrun("lightning_on_ranks", tmp_path)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    records = [r for r in read(tmp_path / "metrics.jsonl") if r.coverage]
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["metrics.jsonl"]
    for mode, samples in (("train", tiny.Samples(16)), ("eval", tiny.Samples(EVALUATED, 5))):
        (row,) = (record for record in records if record.mode == mode)
        for key, value in tiny.alone(tiny.model(), samples, mode).items():
            name = key if mode == "train" else CATALOGUE[key].eval_key
            assert row.values()[name] == pytest.approx(value, rel=1e-6, abs=1e-9), key
            assert all(rank["logged"][name] == pytest.approx(value, rel=1e-6) for rank in ranks)
    assert len(ranks[0]["own"]) == 5  # two windows are made; a step, a close for train and eval
    assert ranks[0]["own"] == ranks[1]["own"]
