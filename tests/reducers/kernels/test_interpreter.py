"""Every law of the logits reducer holds for the kernels, which triton's interpreter runs in numpy.

Triton decides when it is imported whether it compiles or interprets. So these tests run in a
process of their own, where ``backend`` is ``"triton"`` by default and ``place`` is the kernels.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reducers.cases import INTERPRETED

pytest.importorskip("triton", reason="the extra gpu is not installed")
pytestmark = [
    pytest.mark.skipif(INTERPRETED, reason="these tests start the interpreter"),
    pytest.mark.timeout(900),
]

ROOT = Path(__file__).parents[3]
HERE = "tests/reducers"
# What is tried of the laws, since a row takes the interpreter about 20 ms; the rest is a soak.
AGREEMENT = "any_batch or N06 or N07 or any_settings or nearly_certain or gate or stable or capped"
FAULTS = (
    "T05 or N09_nothing or T04_all_ignored or T04_a_dropped or do_not_matter or T13"
    " or no_probability or but_broken or (T04 and shifted) or (T08 and not autocast)"
    " or T09 or padding"
)


def interpreted(files, selection=""):
    """How many tests passed; anything else that they say is a failure here."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selection]
    # numpy warns where a lane computes what a mask then leaves out.
    command += ["-W", "ignore::RuntimeWarning", *(f"{HERE}/{file}" for file in files)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    return int(re.search(r"(\d+) passed", done.stdout)[1])


def test_the_kernels_say_what_plain_torch_says():
    assert interpreted(["kernels/test_in_numpy.py"]) > 60


@pytest.mark.parametrize(
    ("files", "selection", "least"),
    [
        (["test_agreement.py"], AGREEMENT, 11),
        (["test_faults.py", "test_footprint.py", "test_window_laws.py"], FAULTS, 15),
    ],
)
def test_the_laws_of_the_reducer_hold_for_the_kernels(files, selection, least):
    assert interpreted(files, selection) >= least


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_laws_of_the_reducer_hold_for_the_kernels():
    """All of them; those that count the operations of torch have none to count."""
    files = ["test_agreement.py", "test_faults.py", "test_window_laws.py"]
    assert interpreted(files, "not N12") > 100
