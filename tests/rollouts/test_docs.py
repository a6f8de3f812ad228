"""The page on rollouts is true: its Python runs, and prints what it says."""

import re
from pathlib import Path

from coordexp_metrics.contract.modules import DIAGNOSTICS, OBJECTIVE
from coordexp_metrics.contract.pipeline import resolve_pipeline
from coordexp_metrics.rollouts.parse import REASONS

PAGE = (Path(__file__).parents[2] / "docs" / "rollouts.md").read_text()


def test_the_examples_print_what_the_page_says(capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(code, {})  # noqa: S102 - our own page
    said = [line.split("  # ")[1] for line in code.splitlines() if line.startswith("print")]
    printed = capsys.readouterr().out.splitlines()
    assert len(said) == len(printed)
    for expected, found in zip(said, printed, strict=True):
        assert found == expected or (expected.endswith("...") and found.startswith(expected[:-3]))


def test_the_page_names_every_reason_in_the_order_of_the_tests():
    assert re.findall(r"^\| `(\w+)` \| (?:no |any |the )", PAGE, re.MULTILINE)[:6] == list(REASONS)


def test_the_page_names_every_module_weight_and_mode():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    for name, weights in {**OBJECTIVE, **DIAGNOSTICS}.items():
        assert set(weights) == set(re.findall(r"`(\w+)`(?= \(|,)", rows[name])) - {name}
    extra = resolve_pipeline({}, "stage2_two_channel").extra
    for setting, mode in extra.items():
        assert f"| `{setting}` | `{mode}`" in PAGE
