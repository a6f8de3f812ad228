"""The guide to the schema, read by running it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the commands of the guide print, run in order in one folder."""
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(ROOT / "schemas", folder / "schemas")
    entry = "-c 'from coordexp_metrics.cli.entry import main; main()'"
    (folder / "bin").mkdir()
    for name, arguments in {"python": "", "coordexp-metrics": entry}.items():
        command = folder / "bin" / name
        command.write_text(f"#!/bin/sh\nexec '{sys.executable}' {arguments} \"$@\"\n")
        command.chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "Warning" in line]
    assert all("CLI is deprecated" in line for line in warnings)
    assert (folder / "payload.v1.schema.json").read_text() == (
        ROOT / "schemas" / "payload.v1.schema.json"
    ).read_text()
    assert "my/hit_rate" in (folder / "generated" / "docs" / "catalogue" / "README.md").read_text()
    return done.stdout + done.stderr


def test_the_faults_of_the_guide_are_those_that_are_printed(said: str) -> None:
    (shown,) = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
    for line in shown.splitlines():
        assert line in said
