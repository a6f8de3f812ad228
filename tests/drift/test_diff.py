"""Differences planted in a copy of our catalogue are classified right, each."""

# ruff: noqa: E501 - a table reads best with one row a difference

import copy
import json
import subprocess

import pytest
from typer.testing import CliRunner

from coordexp_metrics import CATALOGUE
from coordexp_metrics.cli.app import app
from coordexp_metrics.contract.interchange import from_data, rules, to_data
from coordexp_metrics.drift.compare import compare
from coordexp_metrics.drift.fields import CATALOGUE_FIELDS, FAMILY_FIELDS, FOLLOWS, METRIC_FIELDS
from coordexp_metrics.drift.rules import DIFF
from coordexp_metrics.drift.text import DIFF_FORMATS

B, S, C = "breaking", "semantic", "compatible"
END = {"since": "0.1", "remove_in": "9"}


def plain():
    """Our catalogue as JSON data, without what follows from the rest."""
    data = json.loads(json.dumps(to_data(CATALOGUE)))
    data.pop("digest")
    for family in data["families"]:
        for metric in family["metrics"]:
            for name in ("digest", "eval_key", "internal"):
                metric.pop(name, None)
            metric.get("formula", {}).pop("text", None)
        for law in family.get("laws", ()):
            law.pop("text")
    for law in data["laws"]:
        law.pop("text")
    return data


PLAIN = plain()


def metric_of(data, key):
    return next(m for f in data["families"] for m in f["metrics"] if m["key"] == key)


def family_of(data, name):
    return next(f for f in data["families"] if f["name"] == name)


def put(key, field, value, before=None):
    """A field of a metric; ``before`` is what BASE holds, where that is not what we declare."""

    def base(data):
        if before is not None:
            metric_of(data, key)[field] = before

    def head(data):
        if value is None:
            metric_of(data, key).pop(field, None)
        else:
            metric_of(data, key)[field] = value

    return base, head


def family(name, field, value):
    return None, lambda data: family_of(data, name).__setitem__(field, value)


def drop(key):
    def head(data):
        for entry in data["families"]:
            entry["metrics"] = [m for m in entry["metrics"] if m["key"] != key]

    return None, head


def rename(old, new):
    def head(data):
        text = json.dumps(data).replace(json.dumps(old), json.dumps(new))
        data.clear()
        data.update(json.loads(text))

    return None, head


def declared_rename(old, new):
    """The definition changed with the name, but the catalogue says what replaces what."""

    def head(data):
        rename(old, new)[1](data)
        metric_of(data, new)["description"] = "something that is said in another way altogether"
        data["removed"].insert(0, {"pattern": old, "replacements": [new]})

    return None, head


def add(family_name, key, **fields):
    entry = {"key": key, "kind": "total", "unit": "object", "description": "new", **fields}
    return None, lambda data: family_of(data, family_name)["metrics"].append(entry)


def law(where, *, weak=False, drop_one=False):
    loss = {"metric": "loss"}
    one = {"statement": "one", "left": loss, "relation": "<=", "right": 99, "weak": weak}

    def head(data):
        laws = (data if where is None else family_of(data, where))["laws"]
        laws.pop() if drop_one else laws.append(one)

    return None, head


def entries(section, more=None):
    def head(data):
        if more is None:
            data[section].pop()
        else:
            data[section].append(more)

    return None, head


def swap(name):
    return None, lambda data: family_of(data, name)["metrics"].reverse()


QUANTILE = "coord_diag/expected_bin_abs_err_p90"
RATE_TREE = {
    "tree": [
        "/",
        {"metric": "rollout/matched_for_supervision"},
        {"metric": "rollout/valid_pred_objects_total"},
    ]
}
OTHER_TREE = {"tree": ["*", {"metric": "rollout/precision"}, 2]}
SEE = "rollout/temperature"

PLANTED = {
    "key gone": (drop("mean_token_accuracy"), "mean_token_accuracy", "key", B),
    "another key gone": (drop("total_flos"), "total_flos", "key", B),
    "key renamed": (rename("rollout/temperature", "rollout/heat"), "rollout/heat", "key", B),
    "input of formulas renamed": (
        rename("rollout/parse_dropped_invalid", "rollout/parse_dropped_invalid_total"),
        "rollout/parse_dropped_invalid_total", "key", B,
    ),
    "rename declared": (declared_rename("loss_scale", "amp/scale_of"), "amp/scale_of", "key", B),
    "key new": (add("EvalRollout", "eval_rollout/new_total"), "eval_rollout/new_total", "key", C),
    "key new in the middle": (add("Packing", "pack/n_total"), "pack/n_total", "key", C),
    "kind, total to maximum": (put("pack/num_samples", "kind", "maximum"), "pack/num_samples", "kind", S),
    "kind, agreed to minimum": (put(SEE, "kind", "minimum"), SEE, "kind", S),
    "kind, maximum to agreed": (put("memory(GiB)", "kind", "agreed"), "memory(GiB)", "kind", S),
    "unit of a mean": (put("token_acc", "unit", "nat"), "token_acc", "unit", S),
    "unit of a total": (put("stage2/raw_rollouts", "unit", "sample"), "stage2/raw_rollouts", "unit", S),
    "population of a mean": (put("token_acc", "population", "object"), "token_acc", "population", S),
    "population of a quantile": (put(QUANTILE, "population", "pack"), QUANTILE, "population", S),
    "formula, other operand": (put("rollout/recall", "formula", RATE_TREE), "rollout/recall", "formula", S),
    "formula of a derived": (put("rollout/f1", "formula", OTHER_TREE), "rollout/f1", "formula", S),
    "formula dropped": (put("coord_diag/loss", "formula", None), "coord_diag/loss", "formula", S),
    "level": (put(QUANTILE, "level", 0.95), QUANTILE, "level", S),
    "limits": (put("rollout/prompt_len_p90", "limits", [1, 500]), "rollout/prompt_len_p90", "limits", S),
    "of": (put("train/samples_seen", "of", "stage2/raw_rollouts"), "train/samples_seen", "of", S),
    "everywhere": (put("rollout/do_sample", "everywhere", True), "rollout/do_sample", "everywhere", S),
    "absent_at_zero dropped": (put("token_count", "absent_at_zero", None), "token_count", "absent_at_zero", S),
    "absent_at_zero put": (put("stage2/raw_rollouts", "absent_at_zero", True), None, "absent_at_zero", S),
    "in_loss on": (put("token_acc", "in_loss", True), "token_acc", "in_loss", S),
    "in_loss off": (put("base_ce/loss", "in_loss", False), "base_ce/loss", "in_loss", S),
    "in_loss_when": (put("coord_diag/gate", "in_loss_when", "always"), None, "in_loss_when", S),
    "provenance": (put("base_ce/loss", "provenance", "A1"), "base_ce/loss", "provenance", S),
    "mode gone": (put("token_acc", "modes", ["train"]), "token_acc", "modes", B),
    "other mode gone": (put("token_acc", "modes", ["eval"]), "token_acc", "modes", B),
    "mode new": (put(SEE, "modes", ["train", "eval"]), SEE, "modes", C),
    "upper bound lowered": (put(SEE, "bounds", [0, 2]), SEE, "bounds", B),
    "lower bound raised": (put("token_acc", "bounds", [0.5, 1]), "token_acc", "bounds", B),
    "bounds moved": (put("token_acc", "bounds", [-1, 0.5]), "token_acc", "bounds", B),
    "upper bound open": (put("token_acc", "bounds", [0, None]), "token_acc", "bounds", C),
    "lower bound lowered": (put(SEE, "bounds", [-1, None]), SEE, "bounds", C),
    "condition new": (put("token_acc", "when", {"name": "x", "text": "x"}), "token_acc", "when", B),
    "other condition": (put(SEE, "when", {"name": "x", "text": "x"}), SEE, "when", B),
    "condition gone": (put(SEE, "when", None), SEE, "when", C),
    "condition reworded": (
        put(SEE, "when", {"name": "rollout_ran", "text": "some"}), SEE, "when", C,
    ),
    "trainer gone": (put("token_acc", "emitted_by", ["stage1"]), "token_acc", "emitted_by", B),
    "trainer new": (put("num_tokens", "emitted_by", ["trl", "axolotl"]), "num_tokens", "emitted_by", C),
    "alias gone": (put("desc_entropy", "aliases", None), "desc_entropy", "aliases", B),
    "alias new": (put("token_acc", "aliases", ["token_accuracy"]), "token_acc", "aliases", C),
    "logged alias gone": (put("coord_diag/w1", "logged_aliases", None), None, "logged_aliases", B),
    "logged alias new": (put("token_acc", "logged_aliases", ["acc_of_tokens"]), None, "logged_aliases", C),
    "switch gone": (put("coord_diag/w1", "alias_switch", None), "coord_diag/w1", "alias_switch", C),
    "other switch": (put("coord_diag/w1", "alias_switch", "rollout/do_sample"), None, "alias_switch", B),
    "prefixed in evaluation": (put("epoch", "unprefixed", None), "epoch", "unprefixed", B),
    "eval twin gone": (put("rollout/fn_total", "eval_twin", None), "rollout/fn_total", "eval_twin", B),
    "deprecated": (put("token_acc", "deprecated", END), "token_acc", "deprecated", C),
    "ends earlier": (
        put("token_acc", "deprecated", {**END, "remove_in": "8"}, before=END), "token_acc",
        "deprecated", B,
    ),
    "ends later": (
        put("token_acc", "deprecated", {**END, "remove_in": "10"}, before=END), "token_acc",
        "deprecated", C,
    ),
    "stays after all": (put("token_acc", "deprecated", None, before=END), None, "deprecated", C),
    "better": (put("token_acc", "better", "lower"), "token_acc", "better", C),
    "better dropped": (put("loss", "better", None), "loss", "better", C),
    "description": (put("loss", "description", "what is minimised"), "loss", "description", C),
    "source": (put("loss", "source", "metrics_and_losses.md:1"), "loss", "source", C),
    "family renamed": (family("Packing", "name", "Packs"), "Packs", "name", C),
    "family text": (family("Packing", "text", "Packs of samples."), "Packing", "text", C),
    "family module": (family("Packing", "module", "elsewhere"), "Packing", "module", C),
    "family pattern": (family("Packing", "pattern", "{name}"), "Packing", "pattern", C),
    "names closed": (family("DropReasons", "open_names", False), "DropReasons", "open_names", B),
    "names open": (family("ClosureSupervision", "open_names", True), None, "open_names", C),
    "law of a family new": (law("TokenAccuracy"), "TokenAccuracy", "laws", B),
    "weak law of a family new": (law("TokenAccuracy", weak=True), "TokenAccuracy", "laws", C),
    "law between families new": (law(None), "", "laws", B),
    "law between families gone": (law(None, drop_one=True), "", "laws", C),
    "removed entry new": (entries("removed", {"pattern": "old/*"}), "", "removed", C),
    "suppression new": (entries("suppressed", {"pattern": "eval_x/*"}), "", "suppressed", B),
    "suppression gone": (entries("suppressed"), "", "suppressed", C),
    "order": (swap("Decoding"), "", "order", C),
}  # fmt: skip
# What a planted change brings with it: another name in evaluation, a law over what is gone.
BRINGS = {
    "prefixed in evaluation": {("epoch", "eval_key", B)},
    "eval twin gone": {("rollout/fn_total", "eval_key", B)},
}


def difference(planted):
    base, head = copy.deepcopy(PLAIN), copy.deepcopy(PLAIN)
    prepare, change = planted
    if prepare is not None:
        prepare(base)
        prepare(head)
    change(head)
    return compare(from_data(base), from_data(head))


def test_at_least_sixty_differences_are_planted():
    assert len(PLANTED) >= 60


def test_every_field_is_planted():
    planted = {field for _, _, field, _ in PLANTED.values()} | {"eval_key"}
    fields = {f.name for f in (*METRIC_FIELDS, *FAMILY_FIELDS, *CATALOGUE_FIELDS)}
    assert planted == fields


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_classified_right(name):
    """And nothing else is reported but what it brings with it."""
    planted, key, field, level = PLANTED[name]
    found = difference(planted)
    changes = {(change.key, change.field, change.level) for change in found.changes}
    mine = {change for change in changes if change[1:] == (field, level)}
    assert len(mine) == 1
    assert key is None or mine == {(key, field, level)}
    others = changes - mine - BRINGS.get(name, set())
    if name == "rename declared":
        others -= {("amp/scale_of", "description", C), ("", "removed", C)}
    assert not others
    wanted = "major" if level in {B, S} else found.bump
    assert found.bump == wanted
    assert level in {B, S} or found.bump in {"minor", "patch"}


def test_the_fields_are_those_of_the_format():
    """A field that the format gains must be classified before it can drift."""
    metric = set(rules.RULES["$defs"]["metric"]["properties"])
    assert {f.name for f in METRIC_FIELDS} | set(FOLLOWS) == metric
    of_family = set(rules.RULES["$defs"]["family"]["properties"]) - {"metrics"}
    assert {f.name for f in FAMILY_FIELDS} == of_family
    top = set(rules.RULES["properties"])
    told = {"$schema", "format_version", "package_version", "digest", "families"}
    assert {f.name for f in CATALOGUE_FIELDS} - {"order"} == top - told


@pytest.mark.parametrize("field", [*METRIC_FIELDS, *FAMILY_FIELDS, *CATALOGUE_FIELDS])
def test_a_fields_examples_are_true(field):
    if field.good is not None:
        assert field.judge(*field.bad) != "compatible"
        assert field.judge(*field.good) == "compatible"
    assert field.judge(*field.bad) in {B, S, C}


def pair(example):
    """BASE and HEAD of an example."""
    first, end = json.JSONDecoder().raw_decode(example)
    second = json.loads(example[end:])
    shape = {"format_version": 1}
    return [from_data({**shape, "families": [{"name": "Example", "metrics": m}]}) for m in (first, second)]  # fmt: skip


@pytest.mark.parametrize("rule", DIFF, ids=lambda rule: rule.id)
def test_examples_of_diff_rules(rule):
    assert {change.rule for change in compare(*pair(rule.bad)).changes} == {rule.id}
    assert rule.id not in {change.rule for change in compare(*pair(rule.good)).changes}


def test_formulas_that_follow_a_rename_have_not_changed():
    renamed = PLANTED["input of formulas renamed"][0]
    assert [change.rule for change in difference(renamed).changes] == ["CXM702"]


def test_what_came_is_no_rename_of_what_went_if_neither_meaning_nor_name_agree():
    def head(data):
        drop("mean_token_accuracy")[1](data)
        add("Packing", "pack/other_total")[1](data)

    assert {c.rule for c in difference((None, head)).changes} == {"CXM701", "CXM706"}


def test_another_definition_is_no_rename_however_alike_the_names():
    def head(data):
        rename("num_tokens", "number_of_tokens")[1](data)
        metric_of(data, "number_of_tokens")["unit"] = "object"

    assert {c.rule for c in difference((None, head)).changes} == {"CXM701", "CXM706"}


def test_a_deprecated_keys_replacement_is_its_rename():
    def base(data):
        metric_of(data, "num_tokens")["deprecated"] = {**END, "replacement": "tokens_of_all"}

    def head(data):
        rename("num_tokens", "tokens_of_all")[1](data)
        metric_of(data, "tokens_of_all").pop("deprecated")
        metric_of(data, "tokens_of_all")["unit"] = "object"

    before, after = copy.deepcopy(PLAIN), copy.deepcopy(PLAIN)
    base(before)
    base(after)
    head(after)
    rules_met = [c.rule for c in compare(from_data(before), from_data(after)).changes]
    assert rules_met.count("CXM702") == 1
    assert "CXM701" not in rules_met
    assert "CXM704" in rules_met


@pytest.fixture
def files(tmp_path):
    """Writes BASE and HEAD."""

    def write(planted):
        base, head = copy.deepcopy(PLAIN), copy.deepcopy(PLAIN)
        planted[1](head)
        for name, data in (("base", base), ("head", head)):
            (tmp_path / f"{name}.json").write_text(json.dumps(data))
        return [str(tmp_path / f"{name}.json") for name in ("base", "head")]

    return write


def run(*arguments):
    return CliRunner().invoke(app, ["diff", *arguments])


@pytest.mark.parametrize(
    ("name", "gates"),
    [
        ("description", {"compatible"}),
        ("unit of a mean", {"semantic", "compatible"}),
        ("key gone", {"breaking", "semantic", "compatible"}),
    ],
)
def test_fail_on_is_the_least_change_that_gates(files, name, gates):
    paths = files(PLANTED[name][0])
    for fail_on in ("breaking", "semantic", "compatible", "never"):
        assert run(*paths, "--fail-on", fail_on).exit_code == (1 if fail_on in gates else 0)
    assert run(*paths).exit_code == (1 if "semantic" in gates else 0)


@pytest.mark.parametrize("form", DIFF_FORMATS)
def test_every_format_names_the_change(files, form):
    result = run(*files(PLANTED["unit of a mean"][0]), "--format", form)
    for part in ("token_acc", "fraction", "nat", "major"):
        assert part in result.stdout
    assert result.stdout.isascii()


def test_json_has_the_form_of_findings(files):
    found = json.loads(run(*files(PLANTED["key gone"][0]), "--format", "json").stdout)
    (finding,) = found["findings"]
    assert finding["rule"] == "CXM701"
    assert finding["key"] == "mean_token_accuracy"
    assert found["statistics"]["bump"] == "major"
    assert {"rule", "severity", "key", "metric", "path", "line", "message", "evidence"} == set(
        finding
    )


def test_a_hostile_description_stays_text(files):
    hostile = put("loss", "description", "a\n::error::x|y\x1b[2J <script> \u202e `")
    for form in DIFF_FORMATS:
        shown = run(*files(hostile), "--format", form).stdout
        assert shown.isascii()
        assert "\x1b" not in shown
        assert "\n::error::x" not in shown
    assert "<script>" not in run(*files(hostile), "--format", "markdown").stdout


def test_a_revision_is_read_without_a_shell(tmp_path, monkeypatch):
    def git(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "catalogue.v1.json").write_text(json.dumps(PLAIN))
    git("init", "-q")
    git("add", ".")
    git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")
    monkeypatch.chdir(tmp_path)
    assert run("git:HEAD", "installed").exit_code == 0
    assert run("git:HEAD:schemas/catalogue.v1.json").exit_code == 0
    for revision in (
        "git:nowhere",
        "git:--output=pwned",
        "git:HEAD;touch pwned",
        "git:",
        "git:HEAD:no",
    ):
        result = run(revision, "installed")
        assert result.exit_code == 1
        assert type(result.exception).__name__ == "DeclarationError"
    assert not (tmp_path / "pwned").exists()
    for revision in ("git:-p", "git:--output", "git:a b", "git:"):
        assert "names no git revision" in str(run(revision, "installed").exception)


def test_a_release_that_is_not_kept_is_no_difference(tmp_path):
    missing = str(tmp_path / "none.json")
    assert run(missing, "--if-kept").exit_code == 0
    assert isinstance(run(missing).exception, ValueError)
