"""Logs on disk, and the two verbs as a command of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

REAL_LOG = Path(__file__).parents[2].parent / "shared" / "data" / "real_run_logging.jsonl"
HF_LOG = [
    {"loss": 2.1, "grad_norm": 1.5, "learning_rate": 5e-05, "epoch": 0.5, "step": 10},
    {"loss": 1.9, "grad_norm": 1.2, "learning_rate": 2e-05, "epoch": 1.0, "step": 20},
    {
        "eval_loss": 2.0,
        "eval_runtime": 1.5,
        "eval_samples_per_second": 66.0,
        "eval_steps_per_second": 8.2,
        "epoch": 1.0,
        "step": 20,
    },
    {
        "train_runtime": 12.5,
        "train_samples_per_second": 16.0,
        "train_steps_per_second": 1.6,
        "total_flos": 0.0,
        "train_loss": 2.0,
        "epoch": 1.0,
        "step": 20,
    },
]
COMMAND = """
import sys, typer
from coordexp_metrics.cli.live_check import live_check
from coordexp_metrics.cli.replay import replay
from coordexp_metrics.cli.validate import validate
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(validate)
app.command()(replay)
app.command("live-check")(live_check)
app()
"""


@pytest.fixture
def log(tmp_path):
    """Writes rows (objects, or raw bytes) as lines of a file."""

    def write(*rows, name="log.jsonl", end=b"\n"):
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path = tmp_path / name
        path.write_bytes(b"\n".join(lines) + end)
        return path

    return write


@pytest.fixture
def hf_log(log):
    return log(*HF_LOG, name="hf.jsonl")


@pytest.fixture
def real_log():
    if not REAL_LOG.exists():
        pytest.skip("the log of a real run is not beside this checkout")
    return REAL_LOG


@pytest.fixture
def command():
    """Runs a verb in this process; the result has exit_code, stdout and stderr."""
    from coordexp_metrics.cli.live_check import live_check
    from coordexp_metrics.cli.replay import replay
    from coordexp_metrics.cli.validate import validate

    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(validate)
    app.command()(replay)
    app.command("live-check")(live_check)

    def run(*arguments, stdin=None):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)

    return run


@pytest.fixture
def process():
    """Runs a verb in a process of its own, optionally through a shell pipe."""

    def run(*arguments, pipe="", **environment):
        command = [sys.executable, "-W", "error", "-c", COMMAND, *map(str, arguments)]
        shell = " ".join(f"'{part}'" for part in command) + pipe
        return subprocess.run(
            ["bash", "-c", f"{shell}; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            env={**os.environ, **environment},
            timeout=60,
        )

    return run
