"""Every fault in docs/reliability.md has a test that exists, or a written refusal."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
LAST = {"P": 13, "V": 13, "K": 12, "L": 19, "S": 14, "D": 19, "R": 20, "N": 15, "T": 18}
LAST |= {"C": 26, "X": 14}
FAULTS = [f"{letter}{number:02}" for letter, last in LAST.items() for number in range(1, last + 1)]
STARRED = {
    "V01", "V04", "K08", "L05", "L08", "L11", "S01", "S02", "S05", "D02", "D08", "D10",
    "R01", "R02", "R04", "R07", "R08", "N01", "T03", "C04",
}  # fmt: skip
# Rows that may say "Not proven yet". Take an id out as soon as it has its test.
ROW = re.compile(r"^\| ([A-Z]\d\d)( ★)? \| (.+?) \| (.*?) \| (.+) \|$", re.MULTILINE)
ROWS = {match[1]: match for match in ROW.finditer(PAGE)}
TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def test_every_fault_has_one_row():
    assert [match[1] for match in ROW.finditer(PAGE)] == FAULTS
    assert {fault for fault, match in ROWS.items() if match[2]} == STARRED


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_a_test_or_a_written_refusal(fault):
    proof = ROWS[fault][5]
    named = TEST.findall(proof)
    for path, name in named:
        source = ROOT / "tests" / path
        assert source.exists(), f"{fault}: {path} is not there"
        assert re.search(rf"^def {name}\(", source.read_text(), re.MULTILINE), f"{fault}: {name}"
    assert re.sub(r"<br>", "", TEST.sub("", proof)) == "" or not named
    if not named:
        refusal = re.fullmatch(r"Refused: \S.{10,}", proof)
        assert refusal, f"{fault} has neither a test nor a refusal with its reason"
        assert fault not in STARRED, f"{fault} must have a test"
    if named:
        assert ROWS[fault][4].strip(), f"{fault} does not say what happens"
