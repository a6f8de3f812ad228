"""The page says what is so: its examples run in order and print what stands beside them."""

import contextlib
import io
import re
from pathlib import Path

from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.reducers.chunks import Pending

PAGE = (Path(__file__).parents[2] / "docs/reducers.md").read_text()


def test_the_examples_run_and_print_what_the_page_says():
    """All blocks in one namespace."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    said = re.findall(r"print\(.*\)  # (.*)", code)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})  # noqa: S102
    assert printed.getvalue().splitlines() == said
    assert len(said) == 5


def test_the_bytes_of_a_row_are_those_of_the_page():
    """What ``update`` keeps of a supervised row with types."""
    import torch

    from tests.reducers.test_streaming import tensors_of

    reducer = LogitsReducer(range(4))
    labels = torch.zeros(1000, dtype=torch.long)
    reducer.update(torch.zeros(1000, 9), labels, torch.full_like(labels, 2))
    pending: Pending = reducer._pending
    kept = sum(t.numel() * t.element_size() for t in tensors_of(pending) if t.dim())
    assert f"{kept // 1000} bytes" in PAGE
