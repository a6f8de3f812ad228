"""``verify`` finds nothing in a lawful catalogue, and shows where an unlawful one breaks."""

import sys
from functools import cached_property
from random import Random

import pytest
from typer import Typer
from typer.testing import CliRunner

from coordexp_metrics import CATALOGUE
from coordexp_metrics.cli.verify import verify as command
from coordexp_metrics.contract.algebra import Extremum, Op, Sum
from coordexp_metrics.contract.catalogue import Catalogue, Page
from coordexp_metrics.contract.kinds import Observed
from coordexp_metrics.contract.units import NAT
from coordexp_metrics.window.verify import Trial, _sources, verify
from tests.small import SMALL

APP = Typer()
APP.command()(command)


class LastValue(Sum):
    """Not a law: the state of both is the later one."""

    def merge(self, a, b):
        return b


class DefaultsToZero(Extremum):
    """Not a law: nobody observed it, and it says 0."""

    def compute(self, state):
        return 0.0 if state == self.identity else state[0]


class Broken(Observed):
    kind = "broken"

    def __init__(self, key, reduction):
        for name, value in {"key": key, "law": reduction, "name": key, "modes": ("train",)}.items():
            object.__setattr__(self, name, value)
        for name, value in {"description": "", "unit": NAT, "family": "Mine"}.items():
            object.__setattr__(self, name, value)

    @cached_property
    def reduction(self):
        return self.law


def catalogue_of(*metrics):
    return Catalogue(Page("Mine", "", "mine/{name}", metrics))


@pytest.mark.parametrize("catalogue", [SMALL, CATALOGUE], ids=["small", "contract"])
def test_a_lawful_catalogue_has_no_counterexample(catalogue):
    assert list(verify(catalogue, catalogue.values(), trials=3)) == []


def test_every_key_is_put_to_the_test():
    """Nothing passes because it is never computed: each key has a value when all is observed."""
    for metric in CATALOGUE.values():
        sources = tuple(dict.fromkeys(_sources(metric)))
        trial = Trial(CATALOGUE, metric, sources, Random(0))
        values = [trial.value(trial.observations(), 1) for _ in range(20)]
        assert any(value is not None for value in values), metric.key


def test_a_broken_reduction_is_shown_with_what_breaks_it():
    lawless = Broken("mine/last", LastValue())
    (found,) = verify(catalogue_of(lawless), [lawless])
    assert found.key == "mine/last"
    assert found.law.startswith("any cut")
    assert 2 <= len(found.observations) <= 3, "as few as break it"
    assert "one process computes" in str(found)
    assert "observe(mine/last, " in str(found)


def test_a_default_for_what_nobody_observed_is_shown():
    lawless = Broken("mine/zero", DefaultsToZero(Op.MAX))
    (found,) = verify(catalogue_of(lawless), [lawless])
    assert (found.law, found.found) == ("what nobody observed is absent", 0.0)
    lawful = Broken("mine/max", Extremum(Op.MAX))
    assert list(verify(catalogue_of(lawful), [lawful])) == []


def test_the_verb_says_how_many_hold():
    done = CliRunner().invoke(APP, ["rollout/*", "--trials", "2"])
    assert done.exit_code == 0
    assert "keys hold every law" in done.output


def test_the_verb_takes_a_catalogue_of_ones_own(monkeypatch, tmp_path):
    (tmp_path / "my_metrics.py").write_text(
        "from coordexp_metrics.contract.declare import mean\n"
        "from coordexp_metrics.contract.family import Family\n"
        "from coordexp_metrics.contract.units import TOKEN\n"
        "class Mine(Family, pattern='mine/{name}'):\n"
        "    '''My own.'''\n"
        "    margin = mean('a margin', per=TOKEN)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    done = CliRunner().invoke(APP, ["mine/*", "--catalogue", "my_metrics"])
    assert (done.exit_code, done.output.strip()) == (0, "1 of 1 keys hold every law")


def test_nothing_to_verify_is_no_success():
    assert CliRunner().invoke(APP, ["no/such/key"]).exit_code == 2


def test_a_counterexample_fails_the_verb(monkeypatch):
    lawless = Broken("mine/last", LastValue())
    module = sys.modules["coordexp_metrics.cli.verify"]
    monkeypatch.setattr(module, "catalogue_with", lambda _: catalogue_of(lawless))
    done = CliRunner().invoke(APP, [])
    assert done.exit_code == 1
    assert "mine/last: any cut" in done.output
