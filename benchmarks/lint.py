"""How long does ``lint`` take on real packages, and against what parsing them all would take?

    python benchmarks/lint.py [PACKAGE ...]

The three packages by default are those that are installed of trl, lightning and transformers.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import time
import warnings
from pathlib import Path

from coordexp_metrics import CATALOGUE
from coordexp_metrics.drift.lint import lint

ROUNDS = 3


def place(package: str) -> Path | None:
    """Where a package lies; it is not imported."""
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


def parse(folder: Path) -> None:
    """What every linter pays that parses each file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in folder.rglob("*.py"):
            ast.parse(file.read_bytes())


def seconds(work, *arguments) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


for name in sys.argv[1:] or ("trl", "lightning", "transformers"):
    folder = place(name)
    if folder is None:
        print(f"{name}: not installed")
        continue
    paths = [str(folder)]
    report = lint(paths, CATALOGUE)
    strict = lint(paths, CATALOGUE, strict=True)
    pairs = [(seconds(lint, paths, CATALOGUE), seconds(parse, folder)) for _ in range(ROUNDS)]
    ours = min(pair[0] for pair in pairs)
    ratio = min(one / other for one, other in pairs)
    print(
        f"{name}: {report.statistics['files']} files, {ours:.2f} s, {ratio:.2f} of parsing all; "
        f"{len(report.findings)} findings, {len(strict.findings)} with --strict"
    )
