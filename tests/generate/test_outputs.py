"""Generated files are committed, and a stale one is found."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordexp_metrics import CATALOGUE
from coordexp_metrics.cli.app import app
from coordexp_metrics.generate.outputs import outputs, stale, write

from ..small import SMALL

ROOT = Path(__file__).parents[2]


def test_the_committed_files_are_those_of_the_catalogue() -> None:
    assert stale(ROOT, CATALOGUE) == []


def test_the_same_catalogue_gives_the_same_text() -> None:
    assert outputs(SMALL) == outputs(SMALL)
    for text in outputs(CATALOGUE).values():
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert str(ROOT) not in text


def test_what_is_written_is_fresh(tmp_path: Path) -> None:
    assert sorted(write(tmp_path, SMALL)) == sorted(outputs(SMALL))
    assert stale(tmp_path, SMALL) == []
    assert write(tmp_path, SMALL) == []


def test_edits_missing_files_and_left_over_pages_are_stale(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    pages = tmp_path / "docs" / "catalogue"
    with (pages / "rollout.md").open("a") as page:
        page.write("edited\n")
    (tmp_path / "schemas" / "payload.v1.schema.json").unlink()
    (pages / "knobs.md").write_bytes(b"\xff\xfe")
    (pages / "gone.md").write_text((pages / "laws.md").read_text())
    (pages / "by-hand.md").write_text("# Mine\n")
    expected = [
        "docs/catalogue/gone.md",
        "docs/catalogue/knobs.md",
        "docs/catalogue/rollout.md",
        "schemas/payload.v1.schema.json",
    ]
    assert stale(tmp_path, SMALL) == expected
    write(tmp_path, SMALL)
    assert stale(tmp_path, SMALL) == []
    assert not (pages / "gone.md").exists()
    assert (pages / "by-hand.md").read_text() == "# Mine\n"


def test_line_ends_of_a_checkout_do_not_matter(tmp_path: Path) -> None:
    write(tmp_path, SMALL)
    page = tmp_path / "docs" / "catalogue" / "rollout.md"
    page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    assert stale(tmp_path, SMALL) == []


def test_check_names_stale_files_and_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('name = "coordexp-metrics"\n')
    root = ["generate", "--root", str(tmp_path)]
    assert CliRunner().invoke(app, root).exit_code == 0
    clean = CliRunner().invoke(app, [*root, "--check"])
    assert (clean.exit_code, clean.stdout) == (0, "")
    (tmp_path / "docs" / "catalogue" / "README.md").unlink()
    found = CliRunner().invoke(app, [*root, "--check"])
    assert found.exit_code == 1
    assert found.stdout == "docs/catalogue/README.md is stale\n"
    assert "run `coordexp-metrics generate`" in found.stderr
    assert not (tmp_path / "docs" / "catalogue" / "README.md").exists()


def test_no_checkout_and_no_folder_is_an_error(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["generate", "--root", str(tmp_path)])
    assert "--out DIR" in str(found.exception)
    found = CliRunner().invoke(app, ["generate", "--catalogue", "mine.json"])
    assert "--out DIR" in str(found.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_catalogue_of_ones_own_goes_into_a_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    line = '{"key": "my/found", "kind": "total", "unit": "document", "description": "found"}'
    mine.write_text(f'{{"format_version": 1, "families": [{{"name": "M", "metrics": [{line}]}}]}}')
    arguments = ["generate", "--catalogue", str(mine), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, [*arguments, "--check"]).exit_code == 1
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert CliRunner().invoke(app, [*arguments, "--check"]).exit_code == 0
    assert "my/found" in (tmp_path / "out" / "docs" / "catalogue" / "m.md").read_text()
    assert "my/found" in (tmp_path / "out" / "schemas" / "payload.v1.schema.json").read_text()


@pytest.mark.parametrize("name", ["payload", "catalogue"])
def test_the_schema_verb_prints_the_committed_schema(name: str, tmp_path: Path) -> None:
    file = {"payload": "payload.v1.schema.json", "catalogue": "catalogue.schema.json"}[name]
    printed = CliRunner().invoke(app, ["schema", name])
    assert printed.exit_code == 0
    assert printed.stdout == (ROOT / "schemas" / file).read_text()
    target = tmp_path / "schema.json"
    assert CliRunner().invoke(app, ["schema", name, "-o", str(target)]).stdout == ""
    assert target.read_text() == printed.stdout
