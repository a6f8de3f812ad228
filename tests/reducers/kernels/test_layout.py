"""The kernels observe the very metrics that plain torch observes, with as many states."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from coordexp_metrics import CATALOGUE
from coordexp_metrics.catalogue.coord_diag import Forward
from coordexp_metrics.reducers import LogitsReducer
from coordexp_metrics.reducers.kernels import layout as layouts
from coordexp_metrics.reducers.kernels.layout import Asked, Column, Population, layout_of
from coordexp_metrics.token_types import codes
from coordexp_metrics.window import Window
from tests.reducers.cases import INTERPRETED, make

pytestmark = pytest.mark.skipif(INTERPRETED, reason="compares with plain torch")
HOST = {"coord_diag/enabled", "pack/num_samples"}


def observed(case, provenance=None, **settings):
    """The keys that plain torch observes, and how many states each has."""
    window = Window(CATALOGUE, group="local", device="cpu")
    reducer = LogitsReducer(case.ids, backend="torch", **settings)
    reducer.observe(window, case.logits, case.labels, case.types, provenance=provenance)
    return {key: len(state) for key, state in window._observations.tensors.items()}


def laid_out(asked):
    layout = layout_of(asked)
    sizes = {metric.key: len(metric.reduction.slots) for metric in layout.metrics}
    assert len(layout.typed) == len(layout.untyped)
    assert layout.size == sum(sizes.values())
    assert len(sizes) == len(layout.metrics)
    return sizes


@pytest.mark.parametrize("asked", list(itertools.product([True, False], repeat=4)))
def test_every_setting_observes_the_same_metrics(asked):
    typed, enabled, top5, mass = asked
    case = make(1, 4, 30, 5)
    case.types = case.types if typed else None
    settings = {"enabled": enabled, "log_top5": top5, "coord_monitor_mass": mass}
    expected = observed(case, **settings)
    found = laid_out(Asked(typed, enabled, False, True, top5, mass, False, None))
    assert found == {key: size for key, size in expected.items() if key not in HOST}


@pytest.mark.parametrize("forward", Forward)
def test_a_forward_of_stage_2_observes_the_same_metrics(forward):
    expected = observed(make(1, 4, 30, 5), provenance=forward.value)
    assert laid_out(Asked(False, True, False, True, True, True, False, forward)) == expected


def test_the_kernels_number_columns_and_populations_as_the_host_does():
    """Triton reads its constants as plain numbers, so they are said twice."""
    pytest.importorskip("triton", reason="the extra gpu is not installed")
    from coordexp_metrics.reducers.kernels import launch, sums

    for name in ("MASS", "GATE", "ONE", "SAYS_TEXT", "SAMPLED"):
        assert getattr(sums, name).value == Column[name]
    for name in ("CLAIMED", "ELSEWHERE", "UNKNOWN"):
        assert getattr(sums, name).value == Population[name]
    for name in ("POPULATIONS", "ONCE", "DROPPED"):
        assert getattr(sums, name).value == getattr(layouts, name)
    for name in ("IGNORE", "DESC", "COORD", "FORMAT"):
        assert getattr(sums, name).value == getattr(codes, name)
    assert sums.STORED.value == launch.STORED == Column.ONE
    assert len(Population) < layouts.POPULATIONS


def test_a_new_length_is_no_new_program():
    """Or every batch of another length would wait for a compiler."""
    from coordexp_metrics.reducers.kernels.program import program_of

    settings = LogitsReducer(range(5))._settings
    asked = settings.asked(typed=True, forward=None)
    programs = [
        program_of(torch.empty(2, length, 152_936, device="meta"), settings, asked)
        for length in (7, 512, 2049)
    ]
    assert programs[0] == programs[1] == programs[2]
    odd = program_of(torch.empty(2, 7, 1001, device="meta"), settings, asked)
    assert odd.unit == 1


class Operations(TorchDispatchMode):
    """What torch is asked to do, and how many bytes it makes."""

    def __init__(self):
        super().__init__()
        self.called, self.made = [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.called.append(func.overloadpacket.__name__)
        if self.called[-1] == "empty":
            self.made += out.numel() * out.element_size()
        return out


def test_an_observation_is_three_launches_and_one_addition(monkeypatch):
    """And a thousandth of the logits in memory: counted without a device, and without a launch."""
    pytest.importorskip("triton", reason="the extra gpu is not installed")
    from coordexp_metrics.reducers.kernels import launch

    launched = []

    class Kernel:
        def __init__(self, name):
            self._name = name

        def __getitem__(self, grid):
            return lambda *arguments, **constants: launched.append((self._name, grid))

    for name in ("read_rows", "sum_columns", "fill_states"):
        monkeypatch.setattr(launch, name, Kernel(name))
    reducer, window = LogitsReducer(range(1000)), Window(CATALOGUE, group="local")
    kernels = launch.Kernels(reducer._settings)
    monkeypatch.setattr(reducer._choice, "kernels", lambda logits, settings: kernels)
    assert reducer._choice.is_on_trial(torch.device("meta"))  # once; from here on it is over
    logits = torch.empty(1, 8192, 152_936, dtype=torch.bfloat16, device="meta")
    labels = torch.empty(1, 8192, dtype=torch.int64, device="meta")
    reducer.observe(window, logits, labels, labels)
    launched.clear()
    with Operations() as operations:
        reducer.observe(window, logits, labels, labels)
    assert [name for name, _ in launched] == ["read_rows", "sum_columns", "fill_states"]
    assert launched[0][1] == (8192,)
    assert [name for name in operations.called if name not in {"empty", "detach"}] == ["add"]
    assert 0 < operations.made <= 1e-3 * logits.numel() * logits.element_size()
