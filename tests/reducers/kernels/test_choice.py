"""Which backend reads what, and what is said about it, where there is no GPU."""

import subprocess
import sys

import pytest
import torch

from coordexp_metrics import DeclarationError, ObservationError
from coordexp_metrics.contract.errors import MissingExtraError
from coordexp_metrics.reducers import LogitsReducer, backends
from tests.reducers.cases import INTERPRETED

pytestmark = pytest.mark.skipif(INTERPRETED, reason="the interpreter reads tensors of the host")


@pytest.fixture
def built_for_cuda(monkeypatch):
    """A torch that knows CUDA, and triton, on a machine that may have neither."""
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(backends, "find_spec", lambda name: name)
    backends._on_cuda.cache_clear()
    yield
    backends._on_cuda.cache_clear()


def missing(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    backends._on_cuda.cache_clear()


def test_triton_without_a_torch_for_cuda_is_refused_with_the_way_out(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DeclarationError, match="use backend 'auto' or 'torch'"):
        LogitsReducer([0], backend="triton")


def test_triton_that_is_not_installed_is_refused_with_the_way_out(monkeypatch, built_for_cuda):
    missing(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"pip install 'coordexp-metrics\[gpu\]'"):
        LogitsReducer([0], backend="triton")


def test_before_the_first_batch_auto_says_what_it_would_do(monkeypatch, built_for_cuda):
    reducer = LogitsReducer([0])
    assert reducer.backend.name == "triton"
    assert "plain torch reads any other" in reducer.backend.why
    reducer.compute(torch.zeros(1, 2, 3), torch.zeros(1, 2).long())
    assert reducer.backend == ("torch", "the logits are on cpu, which the kernels do not read")


def test_auto_without_triton_names_the_extra(monkeypatch, built_for_cuda):
    missing(monkeypatch)
    reducer = LogitsReducer([0])
    assert reducer.backend.name == "torch"
    assert "coordexp-metrics[gpu]" in reducer.backend.why


def test_auto_without_cuda_is_torch(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    backends._on_cuda.cache_clear()
    assert LogitsReducer([0]).backend.name == "torch"
    backends._on_cuda.cache_clear()


def test_triton_refuses_logits_of_the_host(built_for_cuda):
    with pytest.raises(ObservationError, match="must be on a CUDA device"):
        LogitsReducer([0], backend="triton").compute(torch.zeros(1, 2, 3), torch.zeros(1, 2).long())


@pytest.mark.parametrize(
    ("dtype", "device", "name"),
    [
        (torch.bfloat16, "cuda", "triton"),
        (torch.float32, "cuda", "triton"),
        (torch.float64, "cuda", "torch"),
        (torch.float32, "mps", "torch"),
        (torch.float32, "cpu", "torch"),
    ],
)
def test_the_device_and_the_dtype_of_the_logits_decide(dtype, device, name, built_for_cuda):
    backend = backends.Choice("auto")._chosen(torch.device(device), dtype)
    assert (backend.name, bool(backend.why)) == (name, True)
    plain = backends.Choice("torch")._chosen(torch.device(device), dtype)
    assert plain == ("torch", "asked for")


def test_nothing_that_reads_on_the_host_loads_triton():
    code = (
        "import sys, torch\n"
        "from coordexp_metrics.reducers import LogitsReducer\n"
        "LogitsReducer([0]).compute(torch.zeros(1, 2, 3), torch.zeros(1, 2).long())\n"
        "print('triton' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
