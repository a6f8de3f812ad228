"""Keys in sources and configurations: what is a finding, and what is let be."""

import contextlib
import json
import os
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from coordexp_metrics import CATALOGUE
from coordexp_metrics.cli.app import app
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.declare import deprecated, total
from coordexp_metrics.contract.errors import DeclarationError
from coordexp_metrics.contract.family import Family
from coordexp_metrics.contract.units import OBJECT
from coordexp_metrics.drift.config_source import config_uses
from coordexp_metrics.drift.lint import lint
from coordexp_metrics.drift.python_source import python_uses
from coordexp_metrics.drift.rules import LINT
from coordexp_metrics.drift.spelling import distance
from coordexp_metrics.drift.vocabulary import HOLE, Vocabulary


class Panels(Family, pattern="panels/{name}"):
    """Panels of a page."""

    found_total = total("panels found", unit=OBJECT)
    found = total(
        "panels found",
        unit=OBJECT,
        deprecated=deprecated(since="0.1", replacement="panels/found_total", remove_in="999"),
    )


OURS = CATALOGUE.extended(Panels)


@pytest.fixture
def found(tmp_path):
    """Lints text; gives (rule, line, column) of each finding."""

    def check(text, name="code.py", catalogue=OURS, **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        report = lint([str(path)], catalogue, **options)
        return [(f.rule, f.line, f.evidence["column"]) for f in report.findings]

    return check


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def lint_verb(*arguments):
        return CliRunner().invoke(app, ["lint", *map(str, arguments)])

    return lint_verb


@pytest.mark.parametrize("rule", LINT, ids=lambda rule: rule.id)
def test_the_bad_example_has_the_fault_and_the_good_one_has_none(rule, found):
    assert [name for name, _, _ in found(rule.bad)] == [rule.id]
    assert found(rule.good) == []


BAD = [
    'self.log("rollout/f11", 1)',
    'self.log({"rollout/f11": 1})',
    'self.log({"loss": 1, **{"rollout/f11": 1}})',
    'self.log({"rollout/f1": 1} | {"rollout/f11": 1})',
    'self.log({"rollout/f11": 1} if x else {})',
    'self.log_metrics(metrics={"rollout/f11": 1}, step=1)',
    'self.log({f"rollout/{x}_f11": 1 for x in y})',
    'metrics = {"rollout/f11": 1}\nlogger.log_metrics(metrics)',
    'values = {"rollout/f11": 1}\nlogger.log_metrics(values)',
    'metrics["rollout/f11"] = 1',
    'self.metrics = {"rollout/f11": 1}',
    'out.update({"rollout/f11": 1})',
    'registry.emit({"schema_version": 1, "metrics": {"rollout/f11": 1}})',
    'window.observe("rollout/f11", 1)',
    'writer.add_scalar("eval/rollout/f11", 1)',
    'writer.add_scalar("train/rollout/f11", 1)',
    'EarlyStopping(monitor="eval_rollout/f11")',
    'Arguments(metric_for_best_model="rollout/f11")',
    'metric_for_best_model: str = "rollout/f11"',
    'sweep = {"metric": {"name": "rollout/f11", "goal": "maximize"}}',
    'config = {"monitor": "rollout/f11"}',
    'self.log(f"rollout/{x}_nowhere", 1)',
    'self.log(f"coord_diag/{x}/p_gt_maen", 1)',
    'self.log("rollout/%s_nowhere" % x, 1)',
    'self.log("rollout/{}_nowhere".format(x), 1)',
    'self.log("rollout/" + x + "_nowhere", 1)',
    'self.log(f"rollot/{x}", 1)',
    'self.log("coord_diag/B/nothing_like_it", 1)',
    'self.log("loss/B_coord/bbox_ciuo", 1)',
    'self.log("rolluot/precision", 1)',
]
REMOVED = [
    'self.log("loss/ce", 1)',
    'self.log("eval_loss/ce", 1)',
    'self.log("obj/anything", 1)',
    'self.log(f"obj/{x}", 1)',
    'self.log(f"loss/{x}/geo", 1)',
]
FINE = [
    'self.log("rollout/f1", 1)',
    'self.log("eval_rollout/f1", 1)',
    'self.log("eval/rollout/f1", 1)',
    'self.log("test_rollout/f1", 1)',
    'self.log("train/rollout/f1", 1)',
    'self.log("local/rollout/f1", 1)',
    'self.log("stage2_ab/channel_b/strict_drop/reason/anything", 1)',
    'self.log(f"stage2_ab/channel_b/strict_drop/reason/{x}", 1)',
    'self.log(f"coord_diag/{x}/p_gt_mean", 1)',
    'self.log(f"{prefix}/whatever", 1)',
    'self.log(f"{prefix}rollout/nowhere", 1)',
    'self.log(f"rollout/{x}", 1)',
    'self.log("coord_softce_w1/gate", 1)',
    'window.observe("rollout/_samples", 1)',
    'print("rollout/f11")',
    'log.info("rollout/f11")',
    'self.log(logging.INFO, "rollout/f11")',
    'self.log("a sentence about rollout/f11, say", 1)',
    'open("rollout/f11")',
    'x = "rollout/f11"',
    'paths["rollout/f11"] = 1',
    'self.log("rewards/chosen", 1)',
    'self.log("train/my_own", 1)',
    'self.log("time/anything_at_all", 1)',
    'self.log("loss/ctc", 1)',
    'self.log("loss/1", 1)',
    'self.log("loss/A7_text/struct_ce", 1)',
    'self.log("rollout/gt_objects", 1)',
    'self.log("loss/B_coord/bbox_diag", 1)',
    'self.log("val_loss", 1)',
    'self.log("token_acccc", 1)',
    'EarlyStopping(monitor="val_loss")',
    "self.log()",
    'self.log("", 1)',
    "self.log({})",
    'registry.emit({"schema_version": 1, "mode": "train", "metrics": {"loss": 1}})',
]


@pytest.mark.parametrize("text", BAD)
def test_an_unknown_key_is_found_wherever_it_is_logged(text, found):
    assert [rule for rule, _, _ in found(text)] == ["CXM201"]


@pytest.mark.parametrize("text", REMOVED)
def test_a_removed_key_is_found_under_every_spelling(text, found):
    assert [rule for rule, _, _ in found(text)] == ["CXM202"]


@pytest.mark.parametrize("text", FINE)
def test_what_may_be_right_is_let_be(text, found):
    assert found(text) == []


def test_strict_says_every_key_that_is_unknown_as_a_warning(tmp_path):
    path = tmp_path / "a.py"
    path.write_text('self.log({"rewards/chosen": 1, "val_loss": 2})\nx.update({"plain": 1})\n')
    report = lint([str(path)], OURS, strict=True)
    assert [(f.key, f.severity) for f in report.findings] == [
        ("rewards/chosen", "warning"),
        ("val_loss", "warning"),
    ]
    assert lint([str(path)], OURS, strict=True, carry=["rewards/*", "val_*"]).findings == []


def test_the_envelope_of_a_payload_is_no_metric(found):
    text = 'r.emit({"schema_version": 1, "mode": "train", "metrics": {"loss": 1, "mine": 2}})'
    assert len(found(text, strict=True)) == 1
    assert len(found('r.emit({"schema_version": 1})', strict=True)) == 1


def test_a_finding_says_file_line_and_column_in_characters(found):
    assert found('é = 1; self.log("é", 2, x={"rollout/f11": 1})\n') == [("CXM201", 1, 28)]
    assert found('self.log(\n    {\n        "rollout/f11": 1,\n    }\n)\n') == [("CXM201", 3, 9)]


def test_what_is_near_is_said(tmp_path):
    path = tmp_path / "a.py"
    path.write_text('self.log("eval_rolout/f1", 1)')
    (finding,) = lint([str(path)], OURS).findings
    assert "did you mean 'eval_rollout/f1'?" in finding.message
    assert finding.metric == "rollout/f1"


def test_a_prefix_of_somebody_else_is_let_be(found):
    """Three keys under a prefix of ours, none of them declared, are another project's."""
    theirs = "\n".join(f'self.log("rollout/{x}", 1)' for x in ("ep_rew_mean", "ep_len", "success"))
    assert found(theirs) == []
    assert len(found(theirs + '\nself.log("rollout/f1", 1)')) == 3
    assert len(found("import coordexp_metrics\n" + theirs)) == 3
    assert len(found(theirs, strict=True)) == 3


def test_nothing_is_imported_or_run(found, tmp_path):
    canary = tmp_path / "canary"
    text = f"open({str(canary)!r}, 'w')\nself.log('rollout/f11')"
    assert len(found(text)) == 1
    assert not canary.exists()
    yaml = f"a: !!python/object/apply:os.system ['touch {canary}']\nmonitor: rollout/f11\n"
    assert found(yaml, "a.yaml") == [("CXM201", 2, 10)]
    assert not canary.exists()


@pytest.mark.parametrize(
    "text",
    [b"def (", b"\xff\xfe", b"x = '", b"(" * 5000, b"-" * 200_000 + b"1", b"# coding: no\nx"],
    ids=["syntax", "bytes", "quote", "brackets", "depth", "coding"],
)  # fmt: skip
def test_what_cannot_be_parsed_is_a_finding_or_skipped_and_never_a_crash(text, tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(text)
    report = lint([str(path)], OURS)
    rules = [finding.rule for finding in report.findings]
    assert rules == ["CXM222"] or report.statistics["skipped"] or text.startswith(b"-")


def test_a_warning_of_the_compiler_is_no_finding(found):
    assert found(r'x = "\d"; y = 1 is 1') == []


CONFIGS = {
    "a.yaml": "training:\n  metric_for_best_model: {}\n",
    "b.yml": 'trainer: {{ monitor: "{}", mode: max }}\n',
    "c.yaml": "metric:\n  goal: maximize\n  name: {}\n",
    "d.yaml": "metric: {{goal: maximize, name: '{}'}}\n",
    "e.yaml": "callbacks:\n  - monitor: {}   # the best\n",
    "f.yaml": "training.metric_for_best_model: {}\n",
    "a.json": '{{"x": [{{"metric_for_best_model": "{}"}}]}}',
    "b.json": '{{"metric": {{"goal": "maximize", "name": "{}"}}}}',
    "c.json": '{{\n  "metric": {{\n    "name": "{}"\n  }}\n}}',
    "a.toml": '[training]\nmonitor = "{}"\n',
    "b.toml": '[sweep.metric]\ngoal = "max"\nname = "{}"\n',
    "c.toml": 'metric.name = "{}"\n',
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configurations_metric_is_checked(name, found):
    text = CONFIGS[name]
    before, _, _ = text.format("\0").partition("\0")
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    assert found(text.format("rollout/f11"), name) == [("CXM201", line, column)]
    assert found(text.format("eval_rollout/f1"), name) == []
    assert found(text.format("val_loss"), name) == []


@pytest.mark.parametrize(
    "text",
    [
        "# monitor: rollout/f11\n",
        "text: |\n  monitor: rollout/f11\n  and more\n",
        "a: &a [x]\nmonitor: *a\n",
        "monitor: !!str rollout/f11\n",
        "name: rollout/f11\n",
        "metric:\n  goal: max\nname: rollout/f11\n",
        "monitors: rollout/f11\n",
        "no_monitor: rollout/f11\n",
        "monitor: ${other}\n",
        "monitor:\n",
    ],
)
def test_what_is_no_metric_in_a_configuration_is_let_be(text, found):
    assert found(text, "a.yaml") == []


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_no_text_crashes_a_reader(text):
    config_uses(text)
    with contextlib.suppress(SyntaxError):
        python_uses(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "text", ["monitor: " * 20_000, '"metric": {' * 20_000, "a.b." * 30_000, "[" * 100_000]
)
def test_a_hostile_configuration_takes_no_time(text):
    assert config_uses(text) == []


@settings(max_examples=60, deadline=None)
@given(st.text("ab\0", max_size=8), st.text("ab", max_size=10))
@example("\0ab\0ab\0", "xab")
@example("\0ab\0ba\0", "aba")
@example("ab\0ba", "aba")
def test_a_pattern_fits_what_a_regular_expression_fits(pattern, name):
    import re

    from coordexp_metrics.drift.vocabulary import _fits

    expected = re.fullmatch(".*".join(map(re.escape, pattern.split(HOLE))), name)
    assert _fits(pattern, name) == (expected is not None)


@settings(max_examples=80, deadline=None)
@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_is_that_of_its_definition(one, other):
    def reference(a, b):
        if not a or not b:
            return len(a) + len(b)
        best = min(
            reference(a[:-1], b) + 1,
            reference(a, b[:-1]) + 1,
            reference(a[:-1], b[:-1]) + (a[-1] != b[-1]),
        )
        if len(a) > 1 and len(b) > 1 and a[-1] == b[-2] and a[-2] == b[-1]:
            best = min(best, reference(a[:-2], b[:-2]) + 1)
        return best

    assert distance(one, other, 2) == min(reference(one, other), 3)


def test_every_name_of_the_catalogue_is_let_be():
    vocabulary = Vocabulary(CATALOGUE)
    for metric in CATALOGUE.values():
        names = [metric.key, *metric.aliases, *metric.logged_aliases]
        for name in [*names, metric.eval_key] if "eval" in metric.modes else names:
            assert vocabulary.judge(name, logs=False) is None, name
        if "/" in metric.key:
            pattern = metric.key.rpartition("/")[0] + f"/{HOLE}"
            assert vocabulary.judge(pattern) is None, pattern


IGNORED = 'self.log("rollout/f11", 1)  # cxm: ignore'


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("", []),
        ("[CXM201]", []),
        ("[CXM202, CXM201]", ["CXM221"]),
        ("[CXM202]", ["CXM201", "CXM221"]),
        ("[CXM201] because it is old", []),
    ],
)
def test_a_comment_excuses_its_line(comment, expected, found):
    assert sorted(rule for rule, _, _ in found(IGNORED + comment)) == expected


def test_a_comment_in_a_string_excuses_nothing(found):
    assert found('x = "# cxm: ignore[CXM201]"') == []
    assert len(found('self.log("rollout/f11", "# cxm: ignore[CXM201]")')) == 1
    assert found("monitor: rollout/f11 # cxm: ignore[CXM201]\n", "a.yaml") == []
    assert [r for r, _, _ in found("a: 1 # cxm: ignore[CXM201]\n", "a.yaml")] == ["CXM221"]


def test_a_comment_for_what_only_strict_says_is_used(found):
    assert found('self.log("val_loss", 1)  # cxm: ignore[CXM201]') == []


def test_a_baseline_excuses_what_was_there(run, tmp_path):
    code = tmp_path / "code.py"
    code.write_text('self.log("rollout/f11", 1)\n')
    assert run("code.py").exit_code == 1
    assert run("code.py", "--baseline", "b.json").exception is not None
    assert run("code.py", "--baseline", "b.json", "--update-baseline").exit_code == 0
    assert run("code.py", "--baseline", "b.json").exit_code == 0
    code.write_text('\n\nself.log("rollout/f11", 1)\n')
    assert run("code.py", "--baseline", "b.json").exit_code == 0
    code.write_text('self.log("rollout/f11", 1)\nself.log("rollout/f11", 1)\n')
    assert run("code.py", "--baseline", "b.json").stdout.count("CXM201") == 1
    code.write_text('self.log("rollout/f1", 1)\n')
    assert "1 gone from the baseline" in run("code.py", "--baseline", "b.json").stdout


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2}', "[" * 100_000, "\xff"])
def test_a_file_that_is_no_baseline_is_refused(run, tmp_path, text):
    (tmp_path / "code.py").write_text("")
    (tmp_path / "b.json").write_text(text)
    assert isinstance(run("code.py", "--baseline", "b.json").exception, DeclarationError)


def test_warn_only_says_and_passes(run, tmp_path):
    (tmp_path / "code.py").write_text('self.log("rollout/f11", 1)\n')
    result = run("code.py", "--warn-only", "--format", "github")
    assert result.exit_code == 0
    assert result.stdout.startswith("::error file=code.py,line=1,col=10,title=CXM201 unknown-key::")


def test_warnings_gate_under_strict_alone(run, tmp_path):
    (tmp_path / "code.py").write_text("x = 1  # cxm: ignore[CXM201]\n")
    assert run("code.py").exit_code == 0
    assert run("code.py", "--strict").exit_code == 1


def test_json_has_the_form_of_findings(run, tmp_path):
    (tmp_path / "code.py").write_text('self.log("rollout/f11", 1)\n')
    data = json.loads(run("code.py", "--format", "json").stdout)
    (finding,) = data["findings"]
    assert list(finding) == [
        "rule", "severity", "key", "metric", "path", "line", "message", "evidence",
    ]  # fmt: skip
    assert data["statistics"]["files"] == 1


def test_hostile_names_reach_no_terminal(run, tmp_path):
    (tmp_path / "a%0A::error::,b\x1b.py").write_text(
        'self.log("rollout/f11", 1)\nself.log("obj/\\x1b[2J::x", 1)\n'
    )
    for form in ("text", "github", "json"):
        shown = run(".", "--format", form).stdout
        assert "\x1b" not in shown
        assert shown.isascii()
    first, second, _ = run(".", "--format", "github").stdout.splitlines()
    assert first.startswith("::error file=a%250A%3A%3Aerror%3A%3A%2Cb\\x1b.py,line=1,col=10,title=")
    assert "obj/\\x1b[2J::x' was removed" in second


def test_links_and_what_is_no_file_are_not_read(run, tmp_path):
    (tmp_path / "code.py").write_text('self.log("rollout/f11", 1)\n')
    (tmp_path / "link.py").symlink_to(tmp_path / "code.py")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "big.yaml").write_text("monitor: rollout/f11\n" + "#" * (1 << 20))
    (tmp_path / "binary.py").write_bytes(b"self.log('rollout/f11')\0")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "code.py").write_text('self.log("rollout/f11", 1)\n')
    result = run(".")
    assert result.stdout.count("CXM201") == 1
    assert "4 skipped" in result.stdout
    assert run("link.py").exit_code == 2
    assert isinstance(run("nowhere").exception, DeclarationError)


def test_a_file_that_is_named_twice_is_read_once(run, tmp_path):
    (tmp_path / "code.py").write_text('self.log("rollout/f11", 1)\n')
    assert run("code.py", ".", tmp_path / "code.py").stdout.count("CXM201") == 1


def test_nothing_to_check_is_an_error(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run("empty").exit_code == 2


def test_sieving_a_tree_finds_what_reading_each_file_finds(tmp_path):
    """Files that hold no prefix of the catalogue are not parsed, and would have no finding."""
    for number, text in enumerate([*BAD, *REMOVED, *FINE]):
        (tmp_path / f"f{number:03}.py").write_text(text)
    sieved = lint([str(tmp_path)], OURS)
    each = lint([str(path) for path in sorted(tmp_path.iterdir())], OURS)
    assert sieved.findings == each.findings
    assert sieved.statistics["parsed"] < each.statistics["parsed"]


@pytest.mark.parametrize("package", ["trl", "lightning", "transformers"])
def test_foreign_packages_have_no_finding(package):
    """A catalogue is no opinion on the keys of others."""
    from importlib.util import find_spec
    from pathlib import Path

    found = find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    loaded = set(sys.modules)
    report = lint([str(Path(found.origin).parent)], CATALOGUE)
    assert report.findings == []
    assert report.statistics["files"] > 50
    assert not [name for name in set(sys.modules) - loaded if name.startswith(package)]


def test_a_users_catalogue_owns_its_prefix(tmp_path):
    mine = Catalogue(Panels)
    path = tmp_path / "a.py"
    path.write_text('self.log("panels/nothing_like_it", 1)\nself.log("rollout/nothing", 1)\n')
    assert [f.key for f in lint([str(path)], mine).findings] == ["panels/nothing_like_it"]
