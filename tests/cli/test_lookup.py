"""``explain``, ``search`` and ``list``: the catalogue at the command line."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from coordexp_metrics.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    "spelling", ["rollout/f1", "eval_rollout/f1", "train/rollout/f1", "eval/rollout/f1"]
)
def test_explain_shows_the_card_of_any_spelling(spelling):
    result = run("explain", spelling)
    assert result.exit_code == 0
    for part in (
        "harmonic mean",
        "derived",
        "fraction",
        "2 * rollout/matched_for_supervision",
        "a rollout ran",
        "higher",
        "eval/rollout/f1",
        "coordexp_metrics/catalogue/matching.py:",
        "metrics_and_losses.md:204",
    ):
        assert part in result.stdout


def test_explain_says_where_an_alias_leads():
    result = run("explain", "coord_softce_w1/gate")
    assert "coord_diag/gate" in result.stdout.splitlines()[0]
    assert "coord_softce_w1/gate (alias)" in result.stdout


def test_explain_names_the_replacement_of_a_removed_key():
    result = run("explain", "loss/bbox_geo_obj")
    assert result.exit_code == 0
    assert "removed" in result.stdout
    assert "loss/A2_coord/bbox_ciou" in result.stdout


def test_explain_an_unknown_key_exits_2_with_what_is_near():
    result = run("explain", "rolout/f1")
    assert result.exit_code == 2
    assert "did you mean 'rollout/f1'?" in result.stderr
    assert result.stdout == ""


def test_explain_several_as_json():
    result = run("explain", "loss", "loss/ce", "--json")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["key"] == "loss"
    assert second["removed"]


def test_a_hostile_key_reaches_no_terminal():
    result = run("explain", "loss\x1b[2J[/]")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


def test_search_finds_by_all_words():
    result = run("search", "coordinate", "mass")
    assert result.exit_code == 0
    assert "coord_diag/coord_vocab_mass" in result.stdout
    assert "rollout/f1" not in result.stdout
    assert run("search", "no-such-word").exit_code == 2


def test_list_filters():
    result = run("list", "rollout/*", "--kind", "rate", "--json")
    found = json.loads(result.stdout)
    assert {"rollout/precision", "rollout/recall"} <= {row["key"] for row in found}
    assert {row["kind"] for row in found} == {"rate"}
    assert "rollout/_samples" not in run("list").stdout
    assert "rollout/_samples" in run("list", "--internal").stdout
    assert run("list", "nothing/*").exit_code == 2


def test_a_users_catalogue_is_looked_up_too(tmp_path, monkeypatch):
    (tmp_path / "panels.py").write_text(
        "from coordexp_metrics.contract.declare import total\n"
        "from coordexp_metrics.contract.family import Family\n"
        "from coordexp_metrics.contract.units import OBJECT\n"
        "class Panels(Family, pattern='panels/{name}'):\n"
        "    '''Panels.'''\n"
        "    found_total = total('panels found', unit=OBJECT)\n"
    )
    monkeypatch.chdir(tmp_path)
    result = run("explain", "panels/found_total", "--catalogue", "panels")
    assert "panels found" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["nonsense"], 2),
        (["explain"], 2),
        (["explain", "loss", "--catalogue", "no.such.module"], 2),
        (["list", "--nonsense"], 2),
    ],
)
def test_exit_codes_of_the_process(arguments, code):
    done = subprocess.run(
        [sys.executable, "-m", "coordexp_metrics.cli", *arguments], capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "verb", ["demo", "validate", "replay", "explain", "search", "list", "generate", "schema"]
)
def test_every_verb_has_help(verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout
