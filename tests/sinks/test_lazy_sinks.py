"""Naming a sink loads no dashboard and no array library."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import coordexp_metrics.sinks as sinks

LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
from coordexp_metrics.sinks import *
heavy = ("torch", "numpy", "pydantic", "wandb", "tensorboard", "tensorflow", "transformers")
print([name for name in heavy if name in sys.modules])
"""
WITHOUT = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules[sys.argv[2]] = None
from coordexp_metrics.contract.errors import MissingExtraError
from coordexp_metrics.sinks import TensorBoardSink, WandbSink
try:
    {"wandb": WandbSink, "tensorboard": lambda: TensorBoardSink("/tmp")}[sys.argv[2]]()
except MissingExtraError as error:
    print(error.extra, error.sink, error)
"""


def run(source: str, *arguments: str) -> str:
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", source, root, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_sink_is_there_and_nothing_heavy_is_loaded() -> None:
    assert run(LOADED) == "[]"
    classes = [name for name in sinks.__all__ if name != "sink_from"]
    assert all(issubclass(getattr(sinks, name), sinks.Sink) for name in classes)
    assert set(sinks.__all__) <= set(dir(sinks))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'CsvSink'"):
        sinks.CsvSink  # noqa: B018


@pytest.mark.parametrize(
    ("extra", "sink"), [("wandb", "WandbSink"), ("tensorboard", "TensorBoardSink")]
)
def test_a_missing_extra_says_how_to_install_it(extra: str, sink: str) -> None:
    told = f"{sink} needs an optional dependency: pip install 'coordexp-metrics[{extra}]'"
    assert run(WITHOUT, extra) == f"{extra} {sink} {told}"


def test_no_private_module_of_a_dashboard_is_imported() -> None:
    """Private modules move: ``wandb.sdk.internal.datastore`` is gone."""
    imported = set()
    for path in Path(sinks.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not node.level:
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    theirs = {name for name in imported if name.startswith(("wandb", "tensorboard", "google"))}
    assert {"wandb", "tensorboard.compat.proto.event_pb2"} <= theirs
    assert not {name for name in theirs if "._" in name or name.startswith("wandb.")}
