"""The checksum is of what a run optimises, not of where or how often it runs."""

import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics import DeclarationError, PipelineIdentity, pipeline_checksum

OBJECTIVE = [{"name": "token_ce", "weight": 1.0}, {"name": "bbox_geo", "weight": 0.5}]
DIAGNOSTICS = [{"name": "coord_diag", "weight": 1.0}]
EXTRA = {"variant": "stage2_two_channel", "stage2_ab.coord_decode_mode": "exp"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)  # fmt: skip


def reordered(data):
    if isinstance(data, dict):
        return {key: reordered(data[key]) for key in reversed(data)}
    return [reordered(item) for item in data] if isinstance(data, list) else data


def test_it_is_sha256_of_canonical_json():
    data = {"objective": OBJECTIVE, "diagnostics": DIAGNOSTICS, "extra": EXTRA}
    text = json.dumps(data, sort_keys=True, separators=(",", ":")).replace("1.0", "1")
    assert (
        pipeline_checksum(OBJECTIVE, DIAGNOSTICS, EXTRA)
        == hashlib.sha256(text.encode()).hexdigest()
    )


@given(st.lists(JSON, max_size=3), st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_the_order_of_dict_keys_does_not_count(modules, extra):
    there = pipeline_checksum(modules, DIAGNOSTICS, extra)
    assert pipeline_checksum(reordered(modules), DIAGNOSTICS, reordered(extra)) == there


@pytest.mark.parametrize("context", [{"config": "a.yaml"}, {"run_name": "x"}, {"seed": 7}])
def test_run_context_does_not_count(context):
    assert pipeline_checksum(OBJECTIVE, (), EXTRA | context) == pipeline_checksum(
        OBJECTIVE, (), EXTRA
    )


@pytest.mark.parametrize(
    "changed",
    [
        (OBJECTIVE[::-1], DIAGNOSTICS, EXTRA),
        ([*OBJECTIVE[:1], {"name": "bbox_geo", "weight": 0.25}], DIAGNOSTICS, EXTRA),
        (OBJECTIVE, [], EXTRA),
        (OBJECTIVE, DIAGNOSTICS, EXTRA | {"variant": "stage2_rollout_aligned"}),
        (OBJECTIVE, DIAGNOSTICS, EXTRA | {"rollout_matching.coord_decode_mode": "st"}),
        (DIAGNOSTICS, OBJECTIVE, EXTRA),
    ],
)
def test_module_order_and_every_semantic_value_count(changed):
    assert pipeline_checksum(*changed) != pipeline_checksum(OBJECTIVE, DIAGNOSTICS, EXTRA)


def test_it_is_the_same_in_every_process():
    code = (
        f"from coordexp_metrics import pipeline_checksum as c; print(c({OBJECTIVE}, {DIAGNOSTICS}))"
    )
    run = [sys.executable, "-c", code]
    seen = {
        subprocess.run(run, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert seen == {pipeline_checksum(OBJECTIVE, DIAGNOSTICS) + "\n"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 2**60, {1: 2}, {"a"}, object()])
def test_what_is_no_json_is_refused(bad):
    with pytest.raises(DeclarationError, match="canonical JSON"):
        pipeline_checksum([{"x": bad}])


def test_the_hashed_part_is_what_the_header_shows():
    identity = PipelineIdentity(tuple(OBJECTIVE), tuple(DIAGNOSTICS), EXTRA | {"seed": 3})
    assert identity.to_data() == {
        "objective": OBJECTIVE,
        "diagnostics": DIAGNOSTICS,
        "extra": EXTRA,
    }
