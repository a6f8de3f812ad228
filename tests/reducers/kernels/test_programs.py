"""The kernels assemble for GPUs that are not there, and their machine code is what is promised."""

import pytest
import torch

from coordexp_metrics.reducers.coord_distribution import SoftTarget
from coordexp_metrics.reducers.coord_vocabulary import CoordVocabulary
from coordexp_metrics.reducers.kernels.program import Settings
from coordexp_metrics.reducers.keys import CoordWeights
from tests.reducers.cases import INTERPRETED

pytest.importorskip("triton", reason="the extra gpu is not installed")
pytestmark = pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")

SIZE, BINS = 152_936, 1000
LAST = range(151_643, 152_643)
SCATTERED = torch.randperm(SIZE, generator=torch.Generator().manual_seed(0))[:BINS].tolist()
DTYPES = [torch.bfloat16, torch.float32, torch.float16]


@pytest.fixture(autouse=True)
def compiles(monkeypatch, tmp_path):
    """A cache of its own, so that everything is built here and now."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def settings_of(ids, temperature=1.0):
    weights = CoordWeights(True, 1.0, 1.0, 0.0, 1.0)
    target = SoftTarget(BINS, 2.0, None)
    return Settings(CoordVocabulary(ids), target, temperature, weights, True, True, 0)


def built(dtype, ids, capability, temperature=1.0):
    from coordexp_metrics.reducers.kernels.offline import build_rows

    return build_rows(dtype, SIZE, settings_of(ids, temperature), capability)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("ids", [LAST, SCATTERED], ids=["contiguous", "scattered"])
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype)[6:])
def test_no_register_spills_and_every_hot_load_is_of_128_bits(dtype, ids, capability):
    build = built(dtype, ids, capability)
    assert build.spills == 0
    assert build.registers <= 128  # two blocks of 256 threads fit a multiprocessor
    logits = [load for load in build.loads if "U8" not in load]
    assert logits == ["LDG.E.128"] * (build.elements * dtype.itemsize // 16)
    # Ids that stand anywhere cost a byte for each load, and a test for each logit.
    assert len(build.loads) - len(logits) == (len(logits) if ids is SCATTERED else 0)
    assert build.per_element <= (18 if ids is SCATTERED else 12.5)
    assert build.hot.count("MUFU.EX2") == build.elements + 1


@pytest.mark.parametrize("capability", [80, 90])
def test_a_temperature_costs_one_more_power_a_logit(capability):
    build = built(torch.bfloat16, LAST, capability, 0.7)
    assert build.spills == 0
    assert build.registers <= 128
    assert build.per_element <= 15
    assert build.hot.count("MUFU.EX2") == 2 * (build.elements + 1)


@pytest.mark.parametrize("capability", [80, 90])
def test_the_sums_assemble_without_spills(capability):
    from coordexp_metrics.reducers.kernels.offline import build_sums

    builds = build_sums(capability)
    assert len(builds) == 4
    assert [build.spills for build in builds] == [0] * 4
