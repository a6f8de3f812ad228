"""Imports go downstairs only, and the light names stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "coordexp_metrics"
FLOORS = {
    "contract": 0,
    "catalogue": 1,
    "generate": 2,
    "window": 2,
    "token_types": 2,
    "rollouts": 2,
    "reducers": 3,
    "sinks": 4,
    "workers": 4,
    "processes": 4,
    "snapshot": 4,
    "emission": 4,
    "handover": 4,
    "intake": 4,
    "delivery": 4,
    "engine": 4,
    "accounts": 4,
    "registry": 4,
    "audit": 5,
    "drift": 5,
    "demo": 5,
    "integrations": 5,
    "cli": 6,
}
HEAVY = ("torch", "numpy", "pydantic", "wandb", "tensorboard", "transformers", "typer", "rich")
NO_TORCH = ("contract", "catalogue", "generate", "rollouts", "audit", "drift")
MODULES = sorted(PACKAGE.rglob("*.py"))


def floor_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path, *, deferred):
    """Absolute names of what a module imports; with ``deferred``, also inside functions."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if deferred else _top_level(tree)
    package = ("coordexp_metrics", *path.relative_to(PACKAGE).parts[:-1])
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, node.module or "")).strip(".")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _top_level(tree):
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield from ast.walk(node) if not isinstance(node, ast.FunctionDef) else ()


def test_every_module_stands_on_a_floor():
    assert {floor_of(path) for path in MODULES} - {"__init__"} == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downstairs(path):
    here = floor_of(path)
    for name in imports_of(path, deferred=True):
        parts = name.split(".")
        if parts[0] == "coordexp_metrics" and here != "__init__" and len(parts) > 1:
            there = parts[1]
            if there in FLOORS and there != here:
                assert FLOORS[there] <= FLOORS[here], f"{here} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_lower_floors_know_no_torch(path):
    if floor_of(path) in NO_TORCH:
        assert not [n for n in imports_of(path, deferred=True) if n.split(".")[0] == "torch"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_opens_with_what_is_true_and_fits_one_sitting(path):
    assert ast.get_docstring(ast.parse(path.read_text())), "needs a docstring"
    assert len(path.read_text().splitlines()) <= 320


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_X04_nothing_is_executed_from_data(path):
    forbidden = {"eval", "exec", "compile", "__import__"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in forbidden
    banned = {"pickle", "marshal", "shelve", "yaml", "joblib"}
    assert not banned & {name.split(".")[0] for name in imports_of(path, deferred=True)}


LIGHT = [
    "import coordexp_metrics",
    "from coordexp_metrics import CATALOGUE",
    "from coordexp_metrics import CATALOGUE, MetricsRegistry, Payload, Record, read",
    "from coordexp_metrics.sinks import JsonlSink, TensorBoardSink, WandbSink, MemorySink",
    "from coordexp_metrics.window import Window",
    "from coordexp_metrics import *",
]


@pytest.mark.parametrize("statement", LIGHT)
def test_light_imports_load_nothing_heavy(statement):
    code = f"{statement}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
