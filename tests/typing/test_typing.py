"""Type checking pays: planted mistakes are flagged, line by line, and nothing else is."""

import re
from pathlib import Path

from mypy import api

MISTAKES = Path(__file__).with_name("mistakes.py")
ROOT = Path(__file__).parents[2]


def test_every_planted_mistake_is_flagged_on_its_line(tmp_path):
    lines = MISTAKES.read_text().splitlines()
    planted = {number for number, line in enumerate(lines, 1) if "# mistake:" in line}
    out, err, _ = api.run(
        [
            "--strict",
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(tmp_path),
            str(MISTAKES),
        ]
    )
    assert not err
    flagged = {int(n) for n in re.findall(r"mistakes\.py:(\d+): error", out)}
    assert flagged == planted, out
    assert len(planted) >= 10
