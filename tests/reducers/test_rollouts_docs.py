"""The page says what is so: its examples run, its keys exist, and no fact is left out."""

import contextlib
import io
import re
from pathlib import Path

from coordexp_metrics import CATALOGUE
from coordexp_metrics.catalogue import (
    DescMonitor,
    Generation,
    Lengths,
    Matching,
    Parsing,
    Stage2,
    StrictDrop,
    Timing,
)
from coordexp_metrics.reducers.fact_groups import RULES
from tests.reducers.rollout_facts import NAMES

PAGE = (Path(__file__).parents[2] / "docs/rollouts-metrics.md").read_text()


def test_the_examples_run_and_print_what_the_page_says():
    """All blocks, in order, in one namespace."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    said = re.findall(r"print\(.*\)  # (.*)", code)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})  # noqa: S102
    assert printed.getvalue().splitlines() == said
    assert len(said) == 3


def test_every_key_of_the_page_is_in_the_catalogue():
    """No name that nothing emits."""
    keys = re.findall(r"`((?:rollout|time|stage2|stage2_ab|packing|train|contract)/[\w/]+)`", PAGE)
    assert len(keys) > 50
    for key in keys:
        assert CATALOGUE[key].key == key


def test_every_fact_and_every_key_has_its_line():
    """The table is complete, in both directions."""
    table = PAGE.partition("## Fact, key, formula")[2].partition("## Which samples")[0]
    for name in NAMES:
        assert f"`{name}`" in table, name
    families = (Generation, Matching, Parsing, DescMonitor, Stage2, StrictDrop, Timing)
    for family in families:
        for metric in family.metrics_and_laws()[0]:
            if not metric.internal and metric.key != "stage2/channel_b":
                assert metric.key in PAGE, metric.key
    for metric in Lengths.metrics_and_laws()[0]:
        assert f"`{metric.name.rpartition('_')[0]}`" in table


def test_every_rule_has_its_line():
    """What contradicts what is told."""
    told = PAGE.partition("## What cannot be right")[2].partition("## A Stage-2 step")[0]
    for rule in RULES:
        for fact in rule.facts:
            assert f"`{fact}`" in told, rule.statement
