"""The verbs, their exit codes, and that nothing a log says reaches a terminal or page unescaped."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from coordexp_metrics.audit.config import ConfigError, settings_of
from coordexp_metrics.audit.rules import DOCTOR
from coordexp_metrics.cli.app import app
from coordexp_metrics.cli.rules import every_rule

MULTIPLIED = [
    {"step": n, "a/matched": 5 * n, "a/matched_count": 90 * n, "micro_steps": 18}
    for n in range(1, 7)
]
HOSTILE = "a/_<script>alert(1)<script>\x1b[2J::error ]]>%0A"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_findings_are_exit_code_1_and_told_with_their_place_and_factor(run, log):
    path = log(*MULTIPLIED)
    done = run("doctor", path)
    assert done.exit_code == 1
    assert f"{path}:1: CXM530 'a/matched_count' is 90, 180" in done.stdout
    assert "18 ('micro_steps')" in done.stdout
    assert "line 2, step 2: 180, against 10" in done.stdout
    assert "6 of 6 records, confidence 0.97" in done.stdout


def test_a_clean_log_is_exit_code_0(run, hf_log):
    done = run("doctor", hf_log)
    assert (done.exit_code, done.stdout.count("no findings")) == (0, 1)


def test_what_cannot_be_read_is_exit_code_2(run, log, tmp_path):
    assert run("doctor", log(b"PK\x03\x04")).exit_code == 2
    assert run("doctor", tmp_path / "absent.jsonl").exit_code == 2
    assert run("doctor", log()).exit_code == 2


def test_json_lists_every_finding_with_its_evidence(run, log):
    done = run("doctor", log(*MULTIPLIED), "--format", "json")
    data = json.loads(done.stdout)
    (finding,) = data["findings"]
    assert finding["evidence"]["true_values"] == [5, 10, 15, 20, 25, 30]
    assert set(finding) == {
        "rule", "severity", "key", "metric", "path", "line", "message", "evidence",
    }  # fmt: skip
    assert data["statistics"]["records"] == 6


def test_twenty_findings_of_a_rule_are_shown_and_all_are_counted(run, log):
    rows = [{"step": 1, **{f"a/_{n}": 1 for n in range(50)}}]
    done = run("doctor", log(*rows))
    assert "... and 30 more; --format json lists all" in done.stdout
    assert "50 errors" in done.stdout


def test_what_a_log_says_is_escaped_everywhere(run, log, tmp_path):
    path = log({"step": 1, HOSTILE: 1, "text": "\x1b]0;title\x07"})
    page = tmp_path / "page.html"
    for form in ("text", "json", "github"):
        done = run("doctor", path, "--format", form, "--html", page)
        assert done.exit_code == 1
        assert done.stdout.isascii()
        assert "\x1b" not in done.stdout
        assert not any(line.startswith("::error ]]") for line in done.stdout.splitlines())
    assert "&lt;script&gt;" in page.read_text()
    assert "<script" not in page.read_text()


class Elements(HTMLParser):
    """Every element of a page, and whether they are nested as they should be."""

    VOID = frozenset({"meta"})

    def __init__(self):
        super().__init__()
        self.names, self.open, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(run, log, tmp_path):
    page = tmp_path / "page.html"
    run("doctor", log(*MULTIPLIED), "--html", page)
    text = page.read_text()
    elements = Elements()
    elements.feed(text)
    assert elements.open == []
    assert not {"script", "link", "img", "iframe", "object"} & set(elements.names)
    assert not re.search(r"https?://|url\(|@import", text)
    assert not any(name.startswith("on") or name == "src" for name, _ in elements.attributes)
    assert elements.names.count("svg") == 2
    assert text.count('class="offender"') == 6
    assert "prefers-color-scheme: dark" in text


def test_the_page_replaces_no_source_and_no_good_page(run, log, tmp_path):
    path = log(*MULTIPLIED)
    before = path.read_bytes()
    assert run("doctor", path, "--html", path).exit_code == 2
    assert path.read_bytes() == before
    page = tmp_path / "page.html"
    page.write_text("good")
    assert run("doctor", path, "--html", tmp_path / "absent" / "page.html").exit_code != 0
    assert page.read_text() == "good"
    assert not list(tmp_path.glob(".*.part"))


def test_rules_that_do_not_exist_are_refused(run, log):
    done = run("doctor", log(*MULTIPLIED), "--select", "CXM999")
    assert done.exit_code == 2
    assert "is no rule" in done.stderr


def test_rules_are_selected_ignored_and_gated(run, log):
    path = log(*MULTIPLIED)
    assert run("doctor", path, "--select", "CXM530").exit_code == 1
    assert run("doctor", path, "--ignore", "CXM53,CXM522").exit_code == 0
    assert run("doctor", path, "--fail-on", "never").exit_code == 0


def test_every_rule_is_listed(run):
    listed = run("rules")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(every_rule())
    rows = json.loads(run("rules", "--json").stdout)
    assert [row["verb"] for row in rows].count("doctor") == len(DOCTOR)
    assert {
        row["severity"] for row in json.loads(run("rules", "--severity", "note", "--json").stdout)
    } == {"note"}


@pytest.mark.parametrize("rule", every_rule().values(), ids=lambda rule: rule.id)
def test_a_rule_is_explained_with_a_bad_and_a_good_example(run, rule):
    done = run("explain", rule.id.lower())
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{rule.id} {rule.name} ({rule.severity}")
    assert done.stdout.index("\n  bad\n") < done.stdout.index("\n  good\n")
    assert json.loads(run("explain", rule.id, "--json").stdout)["bad"] == rule.bad


def test_a_key_is_still_explained(run):
    done = run("explain", "CXM530", "rollout/f1")
    assert "CXM530 multiplied-count" in done.stdout
    assert "rollout/f1" in done.stdout


def test_settings_come_from_the_pyproject_of_the_folder_and_the_command_line_wins(
    run, log, tmp_path
):
    path = log(*({k: v for k, v in row.items() if k != "micro_steps"} for row in MULTIPLIED))
    (tmp_path / "pyproject.toml").write_text(
        '[tool.coordexp_metrics]\nworld-size = 18\nfail-on = "never"\nignore = ["CXM522"]\n'
    )
    done = run("doctor", path)
    assert done.exit_code == 0
    assert "18 (the world size)" in done.stdout
    assert run("doctor", path, "--fail-on", "error").exit_code == 1
    other = tmp_path / "other.toml"
    other.write_text('[tool.coordexp_metrics]\nselect = ["CXM57"]\n')
    assert "no findings" in run("doctor", path, "--config", other).stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("world-size = 0", "whole number above 0"),
        ("world-size = true", "whole number above 0"),
        ('fail-on = "all"', "error, warning, note, never"),
        ('select = "CXM5"', "a list of strings"),
        ("worldsize = 8", "it knows"),
        ("= 8", "no TOML"),
    ],
)
def test_a_setting_that_nobody_understands_is_an_error(run, log, tmp_path, text, said):
    (tmp_path / "pyproject.toml").write_text(f"[tool.coordexp_metrics]\n{text}\n")
    with pytest.raises(ConfigError, match=said):
        settings_of(None)


def test_settings_of_other_tools_are_none_of_ours(run, tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 100\n")
    assert settings_of(None).fail_on == "error"
    (tmp_path / "pyproject.toml").write_text("tool = 3\n")
    assert settings_of(None).select == ()


def test_the_doctor_loads_nothing_heavy(hf_log):
    code = (
        "import sys; from coordexp_metrics import read; "
        "from coordexp_metrics.audit.doctor import examine; "
        f"examine(read({str(hf_log)!r})); "
        "print([m for m in ('torch', 'numpy', 'pandas', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_reader_that_has_seen_enough_is_no_error(log):
    rows = [{"step": 1, **{f"a/_{'x' * 100}{n}": 1 for n in range(4000)}}]
    command = f"{sys.executable} -m coordexp_metrics.cli doctor {log(*rows)} --format json"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -c 10"], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == '{"findings'
    assert done.stderr == ""
