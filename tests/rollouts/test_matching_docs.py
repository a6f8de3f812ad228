"""The page on matching is true: its Python runs, and prints what it says."""

import inspect
import re
from pathlib import Path

from coordexp_metrics.cli.eval_rollouts import eval_rollouts
from coordexp_metrics.rollouts import match_objects

PAGE = (Path(__file__).parents[2] / "docs" / "rollouts-matching.md").read_text(encoding="utf-8")


def test_the_examples_print_what_the_page_says(capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(code, {})  # noqa: S102 - our own page
    said = [line.split("  # ")[1] for line in code.splitlines() if line.startswith("print")]
    assert capsys.readouterr().out.splitlines() == said


def test_the_settings_of_matching_have_their_defaults():
    rows = dict(re.findall(r"^\| `(\w+)` \| `([\d.]+)` \|", PAGE, re.MULTILINE))
    defaults = {
        name: str(one.default)
        for name, one in inspect.signature(match_objects).parameters.items()
        if one.default is not inspect.Parameter.empty
    }
    assert rows == defaults


def test_every_option_of_the_verb_is_on_the_page():
    for name in set(inspect.signature(eval_rollouts).parameters) - {"files", "form"} | {"format"}:
        assert f"[--{name.replace('_', '-')} " in PAGE
