"""What the page on CI shows is what the tables say, and its examples run."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordexp_metrics.audit.rules import RULES as OF_LOGS
from coordexp_metrics.cli.app import app
from coordexp_metrics.drift.pages import with_tables
from coordexp_metrics.drift.rules import RULES

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "ci.md"
VERBS = {command.name or command.callback.__name__ for command in app.registered_commands}


def test_the_page_holds_the_tables():
    assert PAGE.read_text() == with_tables(PAGE.read_text())


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_every_rule_stands_on_the_page_with_its_examples(rule):
    page = PAGE.read_text()
    for part in (f"{rule.id} {rule.name}", rule.bad, rule.good):
        assert part in page


def test_an_id_means_the_same_for_sources_and_logs():
    for name, rule in RULES.items():
        if name in OF_LOGS:
            assert OF_LOGS[name].name == rule.name


def test_the_python_of_the_page_runs(tmp_path):
    (code,) = re.findall(r"```python\n(from coordexp_metrics.*?)```", PAGE.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text()):
        assert (PAGE.parent / target).exists(), target


def options_of(verb):
    return CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).stdout


def check_command(line):
    """The verb exists, and so does every option."""
    words = [word for word in shlex.split(line) if word not in {">", "|"}]
    assert words[0] == "coordexp-metrics"
    assert words[1] in VERBS
    known = options_of(words[1])
    for word in words[2:]:
        if word.startswith("--"):
            assert word in known, f"{words[1]} has no {word}"


def commands_in(text):
    return re.findall(
        r"(?m)^\s*(?:\$ |- run: |run: )?(coordexp-metrics [a-z].*?)(?:\s+#.*)?$", text
    )


@pytest.mark.parametrize("file", ["docs/ci.md", "examples/ci/github.yml", "examples/ci/plain.sh"])
def test_every_command_that_is_shown_exists(file):
    found = commands_in((ROOT / file).read_text())
    assert len(found) >= 3
    for line in found:
        check_command(line.partition(" > ")[0])


def test_the_hooks_are_those_that_pre_commit_reads():
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"].removeprefix("coordexp-metrics-") for hook in hooks] == [
        "lint", "check", "generate",
    ]  # fmt: skip
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= set(hook)
        check_command(hook["entry"])
    assert hooks[1]["pass_filenames"] is hooks[2]["pass_filenames"] is False


def test_the_hooks_run(tmp_path):
    """As pre-commit would: the entry, then file names."""
    (tmp_path / "code.py").write_text('self.log("rolout/f1", 1)\n')
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    names = {"coordexp-metrics-lint": [str(tmp_path / "code.py")]}
    codes = {}
    for hook in hooks:
        words = shlex.split(hook["entry"])[1:] + names.get(hook["id"], [])
        codes[words[0]] = subprocess.run(
            [sys.executable, "-m", "coordexp_metrics.cli", *words], cwd=ROOT, capture_output=True
        ).returncode
    assert codes == {"lint": 1, "check": 0, "generate": 0}


def test_the_workflow_is_one():
    flow = yaml.safe_load((ROOT / "examples" / "ci" / "github.yml").read_text())
    steps = flow["jobs"]["metrics"]["steps"]
    assert flow["permissions"] == {"contents": "read"}
    assert all(("uses" in step) != ("run" in step) for step in steps)


@pytest.fixture
def project(tmp_path):
    """A project as the examples expect it."""
    for name in ("src", "configs", "metrics"):
        (tmp_path / name).mkdir()
    (tmp_path / "src" / "train.py").write_text('self.log("rollout/f1", 1)\n')
    (tmp_path / "configs" / "a.yaml").write_text("monitor: rollout/f1\n")
    metric = {"key": "a/b_total", "kind": "total", "unit": "object", "description": "some"}
    data = {"format_version": 1, "families": [{"name": "A", "metrics": [metric]}]}
    (tmp_path / "metrics" / "catalogue.v1.json").write_text(json.dumps(data))
    (tmp_path / "metrics-baseline.json").write_text('{"format_version": 1, "findings": []}')
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, module in (("coordexp-metrics", "-m coordexp_metrics.cli"), ("python", "")):
        tool = binaries / name
        tool.write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        tool.chmod(0o755)
    return tmp_path


def test_the_plain_example_runs_and_gates(project):
    def run():
        path = f"{project / 'bin'}:/usr/bin:/bin"
        environment = {"PATH": path, "PYTHONPATH": str(ROOT)}
        script = str(ROOT / "examples" / "ci" / "plain.sh")
        return subprocess.run(
            ["sh", script], cwd=project, env=environment, capture_output=True, text=True
        )

    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    (project / "src" / "train.py").write_text('self.log("rollout/f11", 1)\n')
    assert run().returncode == 1


def test_make_lint_runs_the_verbs():
    makefile = (ROOT / "Makefile").read_text()
    for verb in ("lint", "check", "diff"):
        assert f"$(BIN)/coordexp-metrics {verb}" in makefile
