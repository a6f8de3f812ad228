"""Catalogues are checked by a table of rules, each with a bad and a good example."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from coordexp_metrics import CATALOGUE
from coordexp_metrics.cli.app import app
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.interchange import from_data
from coordexp_metrics.contract.removal import Removed
from coordexp_metrics.drift import documented
from coordexp_metrics.drift.check import check_catalogue, check_source
from coordexp_metrics.drift.ends import expired
from coordexp_metrics.drift.rules import CHECK, RULES

from ..small import SMALL


def run(*arguments):
    return CliRunner().invoke(app, ["check", *arguments])


@pytest.fixture
def file(tmp_path):
    def write(metrics, **more):
        metrics = json.loads(metrics) if isinstance(metrics, str) else metrics
        data = {"format_version": 1, "families": [{"name": "Example", "metrics": metrics}], **more}
        path = tmp_path / "catalogue.json"
        path.write_text(json.dumps(data))
        return str(path)

    return write


def total(key, **more):
    return {"key": key, "kind": "total", "unit": "object", "description": "some", **more}


def mean(key, **more):
    return total(key, **{"kind": "mean", "population": "object", "unit": "nat", **more})


QUANTILE = {"kind": "quantile", "population": "object", "level": 0.9, "limits": [1, 9]}


def found(file, *metrics, **more):
    return {finding.rule for finding in check_source(file(list(metrics), **more))[0]}


def test_our_own_catalogue_is_clean():
    assert check_catalogue(CATALOGUE) == []
    assert run("--strict").exit_code == 0


@pytest.mark.parametrize("rule", CHECK, ids=lambda rule: rule.id)
def test_the_bad_example_has_the_fault_and_the_good_one_has_none(rule, file):
    assert {finding.rule for finding in check_source(file(rule.bad))[0]} == {rule.id}
    assert check_source(file(rule.good))[0] == []


def test_every_documented_exception_is_still_one():
    """A frozen list that excuses nothing would excuse the next key by that name."""
    for rule, names in documented.DOCUMENTED.items():
        missing = {name for name in names if name not in CATALOGUE}
        assert not missing, rule


@pytest.mark.parametrize("rule", documented.DOCUMENTED)
def test_without_the_exceptions_exactly_they_are_found(rule, monkeypatch):
    empty = {**documented.DOCUMENTED, rule: frozenset()}
    monkeypatch.setattr("coordexp_metrics.drift.names.DOCUMENTED", empty)
    monkeypatch.setattr("coordexp_metrics.drift.parts.DOCUMENTED", empty)
    said = {f.message.split(" ")[0] for f in check_catalogue(CATALOGUE) if f.rule == rule}
    assert said == documented.DOCUMENTED[rule]


@pytest.mark.parametrize(
    ("metric", "rule"),
    [
        (total("a/lost_rate_total"), None),
        (total("a/lost_rate"), {"CXM601", "CXM603"}),
        (mean("a/b_count"), {"CXM603"}),
        (mean("a/b_max"), {"CXM603"}),
        (total("a/b_mean"), {"CXM601", "CXM603"}),
        (mean("a/b_p90"), {"CXM603"}),
        (total("a/b_p90", **QUANTILE), None),
        (total("a/b_p90", **{**QUANTILE, "level": 0.99}), {"CXM603"}),
        (total("a/b_p999", **{**QUANTILE, "level": 0.999}), None),
        (total("a/b_p90", kind="quantile", level=0.9, limits=[1, 9]), {"CXM604"}),
        (total("a/b_total", unit="TODO"), {"CXM604"}),
        (mean("a/b_mean", population="unknown"), {"CXM604"}),
        (total("a/b_max", kind="maximum"), None),
    ],
)  # fmt: skip
def test_suffix_unit_and_population(file, metric, rule):
    assert found(file, metric) == (rule or set())


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("a/matched_total", "a/matches_total", True),
        ("a/tokens_total", "a/token_total", True),
        ("a/goldenpair_total", "a/golden_pair_total", True),
        ("a/fn_total", "a/fp_total", False),
        ("a/b_p90_total", "a/b_p99_total", False),
        ("a/top1_hits_total", "a/top5_hits_total", False),
        ("a/used_tokens_total", "a/lost_tokens_total", False),
    ],
)
def test_names_that_a_reader_would_confuse(file, one, other, alike):
    assert ("CXM605" in found(file, total(one), total(other))) is alike


def test_replacements_lead_somewhere_and_in_no_circle(file):
    kept = total("a_total")
    assert found(file, kept, removed=[{"pattern": "b", "replacements": ["a_total"]}]) == set()
    assert found(file, kept, removed=[{"pattern": "b", "replacements": ["c"]}]) == {"CXM607"}
    assert found(file, kept, removed=[{"pattern": "b/*", "replacements": ["{1}_total"]}]) == set()
    assert found(file, kept, removed=[{"pattern": "b/*", "replacements": ["x/{1}"]}]) == {"CXM607"}
    circle = [
        {"pattern": "b", "replacements": ["c"]},
        {"pattern": "c", "replacements": ["b", "a_total"]},
    ]
    assert found(file, kept, removed=circle) == {"CXM606", "CXM607"}


def test_a_key_that_switches_its_own_aliases_is_a_circle():
    metric = replace(SMALL["text/entropy"], alias_switch="text/entropy")
    page = next(page for page in SMALL.pages if page.name == "Aliased")
    catalogue = Catalogue(replace(page, metrics=(metric,)))
    assert [finding.rule for finding in check_catalogue(catalogue)] == ["CXM606"]


def test_a_deprecation_expires_in_its_version():
    metric = total("a_total", deprecated={"since": "1.0", "remove_in": "1.2"})
    data = {"format_version": 1, "families": [{"name": "E", "metrics": [metric]}]}
    catalogue = from_data(data)
    assert not list(expired(catalogue, "1.1.9"))
    assert [fault.rule for fault in expired(catalogue, "1.2.0")] == ["CXM609"]
    assert [fault.rule for fault in expired(catalogue, "1.10")] == ["CXM609"]


def test_another_package_has_its_own_version(file):
    end = {"since": "0.0.1", "remove_in": "0.0.2"}
    assert found(file, total("a_total", deprecated=end)) == {"CXM609"}
    assert found(file, total("a_total", deprecated={**end, "package": "no-such-package"})) == set()


RATE = {"kind": "rate", "unit": "fraction"}
TREE = {"tree": ["/", {"metric": "a_total"}, {"metric": "b_total"}]}


@pytest.mark.parametrize(
    ("part", "rule"),
    [
        ({}, set()),
        ({"modes": ["train"]}, {"CXM610"}),
        ({"when": {"name": "x", "text": "it rains"}}, {"CXM610"}),
        ({"emitted_by": ["other"]}, {"CXM610"}),
        ({"emitted_by": ["other", "mine"]}, set()),
    ],
)
def test_a_formula_has_its_parts_when_its_metric_is_there(file, part, rule):
    a_rate = total("a_rate", **RATE, formula=TREE, emitted_by=["mine"])
    assert found(file, a_rate, total("a_total", **part), total("b_total")) == rule


def test_functions_that_take_absent_parts_need_none(file):
    tree = {"tree": ["present_sum", {"metric": "a_total"}, {"metric": "b_total"}]}
    metric = total("all_total", kind="derived", formula=tree)
    assert found(file, metric, total("a_total", modes=["train"]), total("b_total")) == set()


def test_only_the_keys_that_are_asked_for_are_spoken_of():
    assert {f.key for f in check_catalogue(SMALL, only=["rollout/matched"])} == {"rollout/matched"}
    assert len({f.key for f in check_catalogue(SMALL)}) > 3


def test_a_users_module_is_checked_beside_the_contract(tmp_path, monkeypatch):
    """Its formulas may need the contract's metrics; only its own keys are spoken of."""
    (tmp_path / "their_metrics.py").write_text(
        "from coordexp_metrics.catalogue import Matching\n"
        "from coordexp_metrics.contract.declare import derived, total\n"
        "from coordexp_metrics.contract.family import Family\n"
        "from coordexp_metrics.contract.units import OBJECT\n"
        "class Theirs(Family, pattern='theirs/{name}', modes=('train',)):\n"
        "    '''Theirs.'''\n"
        "    found = total('found', unit=OBJECT)\n"
        "    lost_total = derived('lost', Matching.gt_objects_total - found, unit=OBJECT)\n"
    )
    monkeypatch.chdir(tmp_path)
    result = run("their_metrics", "--format", "json")
    findings = json.loads(result.stdout)["findings"]
    assert {finding["key"] for finding in findings} == {"theirs/found", "theirs/lost_total"}
    assert findings[0]["path"] == "their_metrics.py"
    assert findings[0]["line"] == 7
    assert result.exit_code == 1


def test_a_module_that_holds_a_catalogue_is_that_catalogue():
    assert run("coordexp_metrics.catalogue").exit_code == 0


@pytest.mark.parametrize("source", ["no/such/file.json", "no.such.module", "git:no-such-revision"])
def test_no_catalogue_is_no_finding(source):
    result = run(source)
    assert type(result.exception).__name__ == "DeclarationError"
    assert not result.stdout


def test_github_annotations_are_escaped(file):
    metric = total("a/b:c", unit="50%, or so\nx")
    shown = run(file([metric]), "--format", "github").stdout
    assert "%25" in shown
    assert shown.count("\n") == shown.count("::error") + 1


def test_every_rule_has_its_own_id_and_name():
    rules = list(RULES.values())
    assert len({rule.name for rule in rules}) == len(rules)
    assert all(rule.id[3] in "267" for rule in rules)


def test_a_removed_pattern_is_reported_by_its_name():
    catalogue = Catalogue(*SMALL.pages, removed=[Removed("gone", ("nowhere",))])
    said = [f.message for f in check_catalogue(catalogue) if f.rule == "CXM607"]
    assert said == ["gone is replaced by nowhere, which is not here"]
