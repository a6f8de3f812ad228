"""What is secret stays where it is; what is foreign is never run, loaded or asked for."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "coordexp_metrics"
MODULES = sorted(PACKAGE.rglob("*.py"))
CANARIES = {name: f"canary-{name.lower()}-4f1d" for name in (
    "WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "USER", "HOSTNAME",
)}  # fmt: skip
RUN = """
import os, sys
from coordexp_metrics import MetricsRegistry
from coordexp_metrics.sinks import ConsoleSink, JsonlSink, TensorBoardSink
place = sys.argv[1]
sinks = [JsonlSink(place + "/metrics.jsonl"), TensorBoardSink(place + "/tb"), ConsoleSink()]
registry = MetricsRegistry(sinks=sinks)
for step in range(3):
    registry.emit({"schema_version": 1, "mode": "train", "global_step": step,
                   "metrics": {"loss": 1.0, "typo/loss": 2.0, "bad": object(), "x\\ny": 1.0}})
registry.emit({"schema_version": 2})
registry.flush()
spool = registry.report().get("spool")
if spool:
    open(place + "/spool", "wb").write(open(spool, "rb").read())
registry.close()
"""


def run(code, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def test_X01_no_key_of_the_environment_is_in_any_file_or_message(tmp_path):
    pytest.importorskip("tensorboard")
    done = run(RUN, tmp_path, "--secret=canary-argument", **CANARIES)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3
    everything = b"".join(path.read_bytes() for path in files) + done.stdout + done.stderr
    assert b"typo/loss" in everything
    assert b"canary" not in everything


def test_X02_what_a_message_shows_of_a_value_is_short_and_printable(tmp_path):
    secret = "hf_" + "A1b2C3d4" * 20
    code = (
        "import sys, logging\n"
        "from coordexp_metrics import MetricsRegistry\n"
        "logging.basicConfig(level='DEBUG')\n"
        "registry = MetricsRegistry()\n"
        "print(registry.emit({'schema_version': 1, 'mode': 'train', 'global_step': 1,\n"
        "    'metrics': {'loss': sys.argv[1], 'a': [sys.argv[1]], 'b': {'c': sys.argv[1]}}}))\n"
        "print(registry.report())\n"
    )
    done = run(code, secret)
    assert done.returncode == 0, done.stderr
    assert secret[:40].encode() not in done.stdout + done.stderr


def test_X05_ranks_exchange_numbers_and_no_objects():
    for path in MODULES:
        assert not re.search(r"\w+_object(_list)?\(", path.read_text()), path


def test_X10_nothing_private_of_another_package_is_imported():
    private = re.compile(r"(?!__future__)(_|.*\._).*")
    for node in nodes():
        names = []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        assert not [name for name in names if private.fullmatch(name)]


def nodes():
    """Every piece of syntax of the package."""
    for path in MODULES:
        yield from ast.walk(ast.parse(path.read_text()))


def test_X09_the_core_needs_two_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {re.split(r"[<>=\[ ]", need)[0] for need in project["dependencies"]}
    assert core == {"pydantic", "rfc8785"}


MAIN = """
import sys
from coordexp_metrics.cli.entry import main
sys.argv[1:] = [*{}, sys.argv[1]]
main()
"""
OFFLINE = """
import socket, sys
def refuse(*args, **options):
    raise AssertionError("a connection")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = refuse
socket.getaddrinfo = refuse
"""


def test_X11_neither_a_run_nor_the_command_makes_a_connection(tmp_path):
    pytest.importorskip("tensorboard")
    done = run(OFFLINE + RUN, tmp_path)
    assert done.returncode == 0, done.stderr
    done = run(OFFLINE + MAIN.format(["validate"]), tmp_path / "metrics.jsonl")
    assert done.returncode == 1, done.stderr
    assert b"a connection" not in done.stderr


def test_X13_a_verb_shows_no_configuration_of_a_run(tmp_path):
    code = (
        "import sys\n"
        "from coordexp_metrics import MetricsRegistry\n"
        "from coordexp_metrics.sinks import JsonlSink\n"
        "with MetricsRegistry([JsonlSink(sys.argv[1])], run={'key': 'canary-run'}) as registry:\n"
        "    registry.emit({'schema_version': 1, 'mode': 'train', 'global_step': 1,\n"
        "                   'metrics': {'loss': 1.0}, 'notes': {'who': 'canary-section'}})\n"
    )
    log = tmp_path / "metrics.jsonl"
    assert run(code, log).returncode == 0
    for verb in (["validate"], ["validate", "--format", "json"], ["tail"], ["tail", "--keys", "*"]):
        done = run(MAIN.format(verb), log)
        assert done.returncode == 0, done.stderr
        assert done.stdout
        assert b"canary" not in done.stdout + done.stderr


def test_C24_no_logic_stands_in_an_assert():
    assert not [node for node in nodes() if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("switch", [["-O"], ["-W", "error"], ["-X", "dev"]], ids=" ".join)
def test_C24_switches_of_the_interpreter_change_no_finding(tmp_path, switch):
    log = tmp_path / "log.jsonl"
    log.write_text('{"loss": 1.0, "step": 1}\n{"loss": NaN, "step": 2}\n{"rolout/f1": 1, "step"')
    main = "from coordexp_metrics.cli.entry import main\nmain()\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = [
        subprocess.run(
            [sys.executable, *switches, "-c", main, "validate", str(log)],
            capture_output=True, env=environment, timeout=60,
        )
        for switches in ([], switch)
    ]  # fmt: skip
    assert found[0].returncode == found[1].returncode
    assert found[0].stdout == found[1].stdout
