"""The pages about the window are true, and its example runs as written."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.kinds import Observed
from coordexp_metrics.window.layout import Layout

ROOT = Path(__file__).parents[2]


def test_the_python_of_the_algebra_runs(tmp_path):
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs/the-algebra.md").read_text(), re.DOTALL
    )
    (tmp_path / "page.py").write_text(
        "\n".join(blocks)
        + "\nimport torch\n"
        + "for entropy in (2.0, 5.0, 3.5):\n"
        + "    window.observe('mine/entropy_spread', torch.tensor(entropy))\n"
        + "assert window.close(mode='train', global_step=1).metrics['mine/entropy_spread'] == 3.0\n"
        + "from coordexp_metrics.window.verify import verify\n"
        + "assert list(verify(catalogue, [catalogue['mine/entropy_spread']])) == []\n"
    )
    subprocess.run([sys.executable, "-W", "error", "page.py"], cwd=tmp_path, check=True)


def test_the_page_knows_how_many_numbers_a_rank_keeps():
    page = (ROOT / "docs/distributed.md").read_text()
    observed = [metric for metric in CATALOGUE.values() if isinstance(metric, Observed)]
    more, fewer = Layout(observed, 3).length, Layout(observed, 2).length
    assert f"{more - fewer} numbers for the whole contract" in page


def test_families_that_the_page_names_exist():
    (listed,) = re.findall(r"families=\[(.*?)\]", (ROOT / "docs/distributed.md").read_text())
    names = json.loads(f"[{listed}]")
    assert set(names) <= {page.name for page in CATALOGUE.pages}


def test_the_example_runs_under_torchrun_and_equals_one_process():
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "4"]
    done = subprocess.run(
        [*torchrun, "--standalone", str(ROOT / "examples/torchrun_window.py")],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    coverage, *rows = done.stdout.strip().splitlines()
    assert "'world_size': 4" in coverage
    assert "'scope': 'global'" in coverage
    assert len(rows) == 6
    for row in rows:
        key, value, _, _, alone = row.split()
        if key != "train/micro_steps":  # its population is the rank
            assert math.isclose(float(value), float(alone), rel_tol=1e-12), row
