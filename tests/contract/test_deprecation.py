"""A deprecated key has an end; until then both names are written, from then on one."""

import json

import pytest
from typer.testing import CliRunner

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.cli.app import app
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.check import Checker
from coordexp_metrics.contract.declare import deprecated, mean, total
from coordexp_metrics.contract.deprecation import Deprecated
from coordexp_metrics.contract.errors import DeclarationError
from coordexp_metrics.contract.family import Family
from coordexp_metrics.contract.interchange import from_data, to_data
from coordexp_metrics.contract.units import OBJECT, TOKEN
from coordexp_metrics.generate.pages import Pages
from coordexp_metrics.generate.schemas import payload_schema
from coordexp_metrics.sinks import MemorySink


def catalogue_with(end, **other):
    class Panels(Family, pattern="panels/{name}"):
        """Panels of a page."""

        found_total = total("panels found", unit=OBJECT)
        found = total("panels found", **{"unit": OBJECT, "deprecated": end, **other})

    return Catalogue(Panels)


NOW = deprecated(since="0.1", replacement="panels/found_total", remove_in="999")
OVER = deprecated(since="0.0.1", replacement="panels/found_total", remove_in="0.0.2")
BOTH = catalogue_with(NOW)


def written(catalogue, metrics, mode="train", **options):
    sink = MemorySink()
    with MetricsRegistry(sinks=[sink], catalogue=catalogue, **options) as registry:
        registry.emit({"schema_version": 1, "mode": mode, "global_step": 1, "metrics": metrics})
    return dict(sink.records[0].metrics)


@pytest.mark.parametrize("name", ["panels/found", "panels/found_total"])
def test_whichever_name_is_observed_both_are_written(name):
    assert written(BOTH, {name: 3}) == {"panels/found": 3, "panels/found_total": 3}
    both = {"eval_panels/found": 3, "eval_panels/found_total": 3}
    assert written(BOTH, {name: 3}, "eval") == both


def test_what_was_observed_is_never_overwritten():
    metrics = {"panels/found": 2, "panels/found_total": 3}
    assert written(BOTH, metrics) == metrics


def test_from_its_end_on_a_key_is_written_no_more():
    assert written(catalogue_with(OVER), {"panels/found_total": 3}) == {"panels/found_total": 3}


def test_a_key_that_means_something_else_is_not_written_for_the_other():
    catalogue = catalogue_with(NOW, unit=TOKEN)
    assert written(catalogue, {"panels/found_total": 3}) == {"panels/found_total": 3}


def test_a_mode_that_a_key_does_not_have_is_not_given_to_it():
    catalogue = catalogue_with(NOW, modes=("train",))
    assert written(catalogue, {"panels/found_total": 3}, "eval") == {"eval_panels/found_total": 3}


def test_a_registry_without_aliases_writes_one_name():
    assert written(BOTH, {"panels/found_total": 3}, aliases="none") == {"panels/found_total": 3}


def test_a_use_is_noted_and_violates_nothing():
    names = Checker(BOTH).plan(("panels/found",), "train").names
    assert [(note.code, note.key) for note in names.notes] == [("deprecated", "panels/found")]
    assert "use panels/found_total" in names.notes[0].message
    assert names.violations == []
    assert Checker(BOTH).plan(("panels/found_total",), "train").names.notes == []


@pytest.mark.parametrize(
    ("version", "expired"),
    [("0.3.9", False), ("0.4", True), ("0.4.0", True), ("0.4.1", True), ("0.10", True),
     ("1", True), ("0.3.99", False), ("unknown", False), ("", False)],
)  # fmt: skip
def test_versions_are_compared_number_by_number(version, expired):
    assert Deprecated("0.2", "0.4").expired(version) is expired


def test_a_package_that_is_not_installed_has_no_end():
    assert not Deprecated("0.0.1", "0.0.2", package="no-such-package").expired()
    assert Deprecated("0.0.1", "0.0.2", package="pytest").expired()


@pytest.mark.parametrize(
    ("since", "remove_in"),
    [("0.4", "0.4"), ("0.4", "0.2"), ("0.4", "0.4.0"), ("", "1"), ("v1", "2"), ("1", "2\n")],
)
def test_an_end_that_cannot_be_is_refused(since, remove_in):
    with pytest.raises(DeclarationError):
        deprecated(since=since, remove_in=remove_in)
    metric = {"key": "a", "kind": "total", "unit": "x", "description": "x"}
    metric["deprecated"] = {"since": since, "remove_in": remove_in}
    with pytest.raises(DeclarationError, match="deprecated"):
        from_data({"format_version": 1, "families": [{"name": "A", "metrics": [metric]}]})


def test_the_end_survives_json():
    again = from_data(json.loads(json.dumps(to_data(BOTH))))
    assert again["panels/found"].deprecated == NOW
    assert again["panels/found_total"].deprecated is None
    other = catalogue_with(deprecated(since="1", remove_in="2", package="mine"))
    assert from_data(to_data(other))["panels/found"].deprecated.package == "mine"


def test_the_end_changes_no_meaning():
    class Plain(Family, pattern="panels/{name}"):
        """Panels of a page."""

        found = total("panels found", unit=OBJECT)

    assert Plain.found.digest == BOTH["panels/found"].digest


def test_pages_and_schemas_say_so():
    pages = Pages(BOTH)
    page = pages.family(BOTH.pages[0])
    assert "**deprecated** since 0.1; use [`panels/found_total`](" in page
    assert page.count("**deprecated**") == 1
    metrics = payload_schema(BOTH)["properties"]["metrics"]["properties"]
    assert metrics["panels/found"]["deprecated"] is True
    assert "deprecated" not in metrics["panels/found_total"]


def test_explain_says_so(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(to_data(BOTH)))
    shown = CliRunner().invoke(app, ["explain", "panels/found", "--catalogue", str(path)]).stdout
    assert "deprecated since 0.1; use panels/found_total; it goes in 999" in shown
    shown = CliRunner().invoke(app, ["explain", "panels/found_total", "--catalogue", str(path)])
    assert "deprecated" not in shown.stdout


def test_any_kind_can_be_deprecated():
    class Means(Family, pattern="m/{name}"):
        """Means."""

        new = mean("x", per=TOKEN)
        end = deprecated(since="0.1", remove_in="9", replacement="m/new")
        old = mean("x", per=TOKEN, deprecated=end)

    assert written(Catalogue(Means), {"m/new": 0.5}) == {"m/new": 0.5, "m/old": 0.5}
