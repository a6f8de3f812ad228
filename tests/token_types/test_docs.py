"""The page on token types is true: its Python runs, and prints what it says."""

import re
from pathlib import Path

from coordexp_metrics.token_types import TokenTypeConfig

PAGE = (Path(__file__).parents[2] / "docs" / "token-types.md").read_text()


def test_the_examples_print_what_the_page_says(capsys):
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(code, {})  # noqa: S102 - our own page
    said = [line.split("  # ")[1] for line in code.splitlines() if line.startswith("print")]
    printed = capsys.readouterr().out.splitlines()
    assert len(said) == len(printed)
    for expected, found in zip(said, printed, strict=True):
        assert found.startswith(expected.removesuffix(" ..."))


def test_the_table_of_options_has_their_defaults():
    rows = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", PAGE, re.MULTILINE))
    config = TokenTypeConfig()
    assert rows == {
        name: str(list(value) if isinstance(value, tuple) else value).replace("'", '"').lower()
        for name, value in vars(config).items()
    }
