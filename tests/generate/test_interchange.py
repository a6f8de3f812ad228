"""A catalogue that is written as JSON and read back is the same catalogue."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.errors import DeclarationError
from coordexp_metrics.contract.formula import Expression
from coordexp_metrics.contract.interchange import from_data, read_catalogue, to_data
from coordexp_metrics.contract.kinds import Quantile, SharedQuantile, Total
from coordexp_metrics.contract.metric import Metric
from coordexp_metrics.generate.schemas import catalogue_schema

from ..small import SMALL

SCHEMA = jsonschema.Draft202012Validator(catalogue_schema())
NOT_COMPARED = {"declared_at"}


def facts(metric: Metric) -> dict[str, Any]:
    """All fields, with metrics and formulas as what they stand for."""
    found = {field.name: getattr(metric, field.name) for field in dataclasses.fields(metric)}
    shown = {
        name: value.to_data() if isinstance(value, Expression) else value
        for name, value in found.items()
        if name not in NOT_COMPARED
    }
    return {**shown, "class": type(metric), "eval_key": metric.eval_key, "digest": metric.digest}


def through_json(catalogue: Catalogue) -> Catalogue:
    return from_data(json.loads(json.dumps(to_data(catalogue))))


@pytest.mark.parametrize("catalogue", [SMALL, CATALOGUE], ids=["small", "all"])
def test_every_field_of_every_metric_survives(catalogue: Catalogue) -> None:
    again = through_json(catalogue)
    assert list(again) == list(catalogue)
    for key, metric in catalogue.items():
        assert facts(again[key]) == facts(metric)
    assert again.digest == catalogue.digest


@pytest.mark.parametrize("catalogue", [SMALL, CATALOGUE], ids=["small", "all"])
def test_laws_pages_and_gone_keys_survive(catalogue: Catalogue) -> None:
    again = through_json(catalogue)
    for law, read in zip(catalogue.all_laws, again.all_laws, strict=True):
        assert (law.statement, str(law), law.weak) == (read.statement, str(read), read.weak)
    for page, read in zip(catalogue.pages, again.pages, strict=True):
        assert [getattr(page, name) for name in ("name", "text", "pattern", "open_names")] == [
            getattr(read, name) for name in ("name", "text", "pattern", "open_names")
        ]
        assert page.module == read.module
    assert (again.removed, again.suppressed) == (catalogue.removed, catalogue.suppressed)
    assert to_data(again) == to_data(catalogue)


def test_formulas_point_at_the_metrics_of_their_own_catalogue() -> None:
    again = through_json(SMALL)
    assert set(again["rollout/f1"].formula.leaves()) <= set(again.values())
    assert again["rollout/f1"].formula.evaluate(
        {"rollout/matched": 3, "rollout/pred_total": 4, "rollout/gt_total": 6}
    ) == pytest.approx(0.6)


def test_no_line_of_the_file_depends_on_the_machine() -> None:
    written = json.dumps(to_data(CATALOGUE))
    assert str(Path.cwd()) not in written
    assert ".py" not in written


def test_the_schema_takes_what_is_written() -> None:
    assert list(SCHEMA.iter_errors(to_data(CATALOGUE))) == []
    assert list(SCHEMA.iter_errors(to_data(SMALL))) == []


def test_key_kind_unit_and_description_suffice() -> None:
    line = {"key": "my/found", "kind": "total", "unit": "document", "description": "found"}
    mine = {"format_version": 1, "families": [{"name": "Mine", "metrics": [line]}]}
    assert SCHEMA.is_valid(mine)
    metric = from_data(mine)["my/found"]
    assert type(metric) is Total
    assert (metric.modes, metric.bounds, metric.name) == (("train", "eval"), (0, None), "my/found")


def test_a_file_extends_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(minimal()))
    extended = CATALOGUE.extended(str(file))
    assert extended["my/rate"].population == "query"
    assert type(extended["my/delay"]) is Quantile
    assert type(extended["my/delay_p99"]) is SharedQuantile
    assert extended["my/rate"].declared_at[0] == str(file)


def minimal() -> dict[str, Any]:
    """A file by hand, with one metric of each kind that points at another."""
    about = {"unit": "query", "description": "d"}
    ratio = ["/", {"metric": "my/hits"}, {"metric": "my/asked"}]
    delay = {"kind": "quantile", "unit": "second", "description": "d"}
    return {
        "format_version": 1,
        "families": [
            {
                "name": "Mine",
                "pattern": "my/{name}",
                "metrics": [
                    {"key": "my/hits", "kind": "total", **about},
                    {"key": "my/asked", "kind": "total", **about},
                    {"key": "my/rate", "kind": "rate", **about, "formula": {"tree": ratio}},
                    {"key": "my/delay", **delay, "level": 0.9, "limits": [0.001, 10]},
                    {"key": "my/delay_p99", **delay, "level": 0.99, "of": "my/delay"},
                    {"key": "my/mean", "kind": "mean", "population": "query", **about},
                    {"key": "my/twice", "kind": "derived", **about, "formula": {"tree": ratio}},
                    {"key": "my/all", "kind": "cumulative", **about, "of": "my/hits"},
                ],
            }
        ],
    }


HITS, _, RATE, DELAY, DELAY_99, MEAN, TWICE, ALL = range(8)


def at(path: str, value: Any) -> Any:
    """A change of one field of one metric: ``at("2.unit", None)``."""

    def change(data: dict[str, Any]) -> None:
        index, name = path.split(".")
        data["families"][0]["metrics"][int(index)][name] = value

    return change


def without(index: int, name: str) -> Any:
    return lambda data: data["families"][0]["metrics"][index].pop(name)


def top(name: str, value: Any) -> Any:
    return lambda data: data.update({name: value})


def tree(*parts: Any) -> dict[str, Any]:
    return {"tree": list(parts)}


M = {"metric": "my/hits"}
BY_RULE = {
    "unknown kind": (at("0.kind", "gauge"), r"metrics\[0\]\.kind must be 'total', "),
    "missing description": (without(HITS, "description"), r"metrics\[0\] has no 'description'"),
    "empty description": (at("0.description", ""), r"metrics\[0\]\.description must not be empty"),
    "misspelt field": (at("0.unti", "x"), r"'unti', which is not known here; .* 'unit'"),
    "key grammar": (at("0.key", "my//hits"), r"\[0\]\.key must be a key such as a/b"),
    "mean without population": (without(MEAN, "population"), r"\[5\] has no 'population': a mean"),
    "rate without formula": (without(RATE, "formula"), r"\[2\] has no 'formula': a rate"),
    "quantile without level": (without(DELAY, "level"), r"\[3\] has no 'level': a quantile"),
    "cumulative without of": (without(ALL, "of"), r"\[7\] has no 'of': a cumulative"),
    "level of a total": (at("0.level", 0.5), r"metrics\[0\]\.kind must be 'quantile', not 'total'"),
    "level beyond 1": (at("3.level", 1.0), r"metrics\[3\]\.level must be less than 1, not 1.0"),
    "three bounds": (at("0.bounds", [0, 1, 2]), r"bounds must have at most 2 entries, not 3"),
    "bounds of text": (at("0.bounds", ["0", None]), r"bounds\[0\] must be number or null, not '0'"),
    "no mode": (at("0.modes", []), r"modes must have at least 1 entries"),
    "wrong mode": (at("0.modes", ["test"]), r"modes\[0\] must be 'train' or 'eval', not 'test'"),
    "unknown function": (at("6.formula", tree("sin", M)), r"tree\[0\] must be '\+', .* not 'sin'"),
    "operator with one": (at("6.formula", tree("/", M)), r"tree must have at least 3 entries"),
    "operator with three": (at("6.formula", tree("+", M, M, M)), r"tree must have at most 3"),
    "exp of two": (at("6.formula", tree("exp", M, M)), r"tree must have at most 2 entries"),
    "bool operand": (at("6.formula", tree("+", M, True)), r"tree\[2\] must be number, object"),
    "nameless operand": (at("6.formula", tree("+", M, {})), r"tree\[2\] has no 'parameter'"),
    "no tree": (at("6.formula", {"text": "a"}), r"formula has no 'tree'"),
    "no families": (lambda data: data.pop("families"), r"the file has no 'families'"),
    "no version": (lambda data: data.pop("format_version"), r"has no 'format_version'"),
    "older version": (top("format_version", 0), r"format_version must be 1, not 0"),
    "two names in a pattern": (
        lambda data: data["families"][0].update(pattern="{name}/{name}"),
        r"families\[0\]\.pattern must be a key with one \{name\}",
    ),
    "three stars": (
        top("removed", [{"pattern": "a*b*c*"}]),
        r"removed\[0\]\.pattern must be a key",
    ),
    "law about nothing": (
        top("laws", [{"statement": "s", "left": 1, "relation": "<", "right": 2}]),
        r"laws\[0\]\.relation must be '==' or '<=', not '<'",
    ),
}
BY_LINKING = {
    "newer version": (top("format_version", 2), r"is 2, and this package reads 1: upgrade"),
    "unknown leaf": (
        at("6.formula", tree("+", M, {"metric": "my/hit"})),
        r"metrics\[6\]\.formula\.tree\[2\] means 'my/hit', which .* did you mean 'my/hits'",
    ),
    "rate of a mean": (
        at("2.formula", tree("/", M, {"metric": "my/mean"})),
        r"metrics\[2\]\.formula\.tree is no rate: it must divide a total by a total",
    ),
    "cumulative of a mean": (at("7.of", "my/mean"), r"\[7\]\.of must be a total, .* is a mean"),
    "quantile of a total": (at("4.of", "my/hits"), r"\[4\]\.of must be a quantile"),
    "unknown twin": (at("0.eval_twin", "eval_my/h"), r"\[0\]\.eval_twin means 'eval_my/h'"),
    "a circle": (at("6.formula", tree("+", M, {"metric": "my/twice"})), r"formulas in a circle"),
    "the same key again": (at("1.key", "my/hits"), r"\[1\]\.key declares 'my/hits' again: see "),
    "a key off its pattern": (at("0.key", "your/hits"), r"not of its family's pattern 'my/\{name"),
    "previous of a sum": (
        at("6.formula", tree("previous", ["+", M, M])),
        r"metrics\[6\]\.formula\.tree asks for the value before",
    ),
    "stale digest": (at("0.digest", "0" * 16), r"\[0\]\.digest says '0{16}', but '[0-9a-f]{16}'"),
    "stale digest of all": (top("digest", "0" * 16), r"^digest says"),
    "stale text": (
        at("6.formula", {"text": "1", "tree": ["+", M, M]}),
        r"formula\.text says '1', but 'my/hits \+ my/hits' follows",
    ),
    "quantile in seconds without limits": (without(DELAY, "limits"), r"\[3\] has no 'limits'"),
    "bounds upside down": (at("0.bounds", [1, 0]), r"\[0\]\.bounds must rise"),
    "limits upside down": (at("3.limits", [10, 1]), r"\[3\]\.limits must rise"),
    "NaN in data": (at("0.bounds", [float("nan"), None]), r"bounds\[0\] must be number or null"),
}


@pytest.mark.parametrize("name", BY_RULE)
def test_what_the_schema_refuses_is_refused_with_its_path(name: str) -> None:
    change, message = BY_RULE[name]
    data = copy.deepcopy(minimal())
    change(data)
    assert not SCHEMA.is_valid(data)
    with pytest.raises(DeclarationError, match=message):
        from_data(data)


@pytest.mark.parametrize("name", BY_LINKING)
def test_what_only_the_package_sees_is_refused_with_its_path(name: str) -> None:
    change, message = BY_LINKING[name]
    data = copy.deepcopy(minimal())
    change(data)
    with pytest.raises(DeclarationError, match=message):
        from_data(data)


def test_the_unchanged_file_is_taken() -> None:
    assert SCHEMA.is_valid(minimal())
    assert len(from_data(minimal())) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine\.json:1: is no JSON"),
        ('{"format_version": 1,\n "families": [}', r"mine\.json:2: is no JSON"),
        ('{"format_version": 1, "families": [], "x": NaN}', "NaN is no JSON number"),
        ('{"format_version": 1, "format_version": 1}', "the file says 'format_version' twice"),
        ('{"a": [{"b": 1, "b": 2}]}', r"a\[0\] says 'b' twice"),
        ("[" * 100_000, "nests too deep"),
        ("[" * 300 + "]" * 300, "nests deeper than 100 levels"),
        ("[]", "the file must be object, not an array"),
        ("null", "the file must be object, not null"),
        ('{"format_version": 9999999999999999999999}', "this package reads 1: upgrade"),
        ("9" * 5000, "cannot be read as a catalogue"),
    ],
)
def test_a_bad_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    with pytest.raises(DeclarationError, match=message):
        read_catalogue(file)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(DeclarationError, match=r"mine\.json: cannot be read as a catalogue"):
        read_catalogue(file)
    with pytest.raises(DeclarationError, match="there is no such file"):
        read_catalogue(tmp_path)
    with pytest.raises(DeclarationError, match="there is no such file"):
        read_catalogue(tmp_path / "none.json")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    with file.open("wb") as out:
        out.truncate(16 * 2**20 + 1)
    with pytest.raises(DeclarationError, match="larger than 16 MiB"):
        read_catalogue(file)


def test_a_collision_names_file_and_line(tmp_path: Path) -> None:
    data = minimal()
    data["families"][0]["metrics"][7]["key"] = "my/HITS"
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(data, indent=1))
    with pytest.raises(DeclarationError, match=r"my/HITS \(.*mine\.json:\d\d\)"):
        read_catalogue(file)


def test_formulas_that_stand_on_too_many_others_are_refused() -> None:
    data = minimal()
    lines = data["families"][0]["metrics"]
    below = "my/hits"
    for number in range(200):
        key = f"my/step{number}"
        formula = {"tree": ["+", {"metric": below}, 1]}
        lines.append({**lines[0], "key": key, "kind": "derived", "formula": formula})
        below = key
    with pytest.raises(DeclarationError, match="stands on more than 32 formulas"):
        from_data(data)
