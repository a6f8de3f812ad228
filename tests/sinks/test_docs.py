"""The page on sinks is true: its example runs, is found by its name, and prints what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import coordexp_metrics.sinks as sinks
from coordexp_metrics.sinks.discovery import known_sinks

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sinks.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The example, as pip would install it."""
    ((group, name, target),) = re.findall(
        r'^\[project\.entry-points\."(.*)"\]\n(\w+) = "(.*)"', *blocks("toml"), re.MULTILINE
    )
    metadata = tmp_path / "my_sinks-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-sinks\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{name} = {target}\n")
    (tmp_path / "my_sinks.py").write_text(blocks("python")[0])
    return tmp_path


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    search = {"PYTHONPATH": os.pathsep.join([str(place), str(ROOT)])}
    command = [sys.executable, *arguments]
    environment = {**os.environ, **search}
    return subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )


def test_the_example_is_found_by_its_name_and_prints_what_the_page_says(place: Path) -> None:
    use = blocks("python")[1]
    (said,) = re.findall(r"^print\(.*\)  # (.*)$", use, re.MULTILINE)
    done = run(place, "-W", "error::DeprecationWarning", "-c", use)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_the_example_takes_a_replayed_log(place: Path) -> None:
    row = '{"schema_version": 1, "mode": "eval", "global_step": 3, "metrics": {"loss": 0.5}}\n'
    (place / "log.jsonl").write_text(row)
    done = run(place, "-m", "coordexp_metrics.cli", "replay", "log.jsonl", "--to", "csv:out.csv")
    assert done.returncode == 0, done.stderr
    assert (place / "out.csv").read_text().split() == ["3,eval,eval_loss,0.5"]


def test_the_example_has_twenty_lines_at_most() -> None:
    lines = [line for line in blocks("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 20


def test_every_sink_and_every_name_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)\(.*?\)` \| (?:`(.+?)`)? *\|", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} == set(sinks.__all__) - {"Sink", "sink_from"}
    assert {name for _, name in rows if name} == {*known_sinks()[:4]}
