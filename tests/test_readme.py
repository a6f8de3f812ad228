"""The README is true: its Python runs in order, its commands exit as it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^\$ coordexp-metrics (.*?)(?:\s+#\s*(.*))?$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A directory in which the README's Python ran, from top to bottom."""
    directory = tmp_path_factory.mktemp("readme")
    (directory / "readme.py").write_text("\n".join(PYTHON))
    done = subprocess.run(
        [sys.executable, "-W", "error", "readme.py"],
        cwd=directory, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return directory, done.stdout


def test_python_examples_say_what_the_text_says(workplace):
    _, out = workplace
    assert "did you mean 'rollout/recall'" in out
    assert "{'grad_norm': 'nan'}" in out or "{'eval_grad_norm': 'nan'}" in out


@pytest.mark.parametrize(("command", "note"), COMMANDS)
def test_commands_run(workplace, command, note):
    directory, _ = workplace
    done = subprocess.run(
        [sys.executable, "-m", "coordexp_metrics.cli", *shlex.split(command)],
        cwd=directory, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == (1 if "exit 1" in note else 0), done.stdout + done.stderr
    assert done.stdout or done.stderr


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("verb", ["demo", "test", "lint", "bench", "docs", "soak"])
def test_make_knows_what_the_readme_names(verb):
    assert f"make {verb}" in README
    assert re.search(rf"^{verb}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
