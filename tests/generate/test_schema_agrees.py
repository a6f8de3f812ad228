"""The package and its JSON Schema take the same payloads, but for a written list of differences."""

import math
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from coordexp_metrics import CATALOGUE
from coordexp_metrics.generate.schemas import payload_schema

from ..small import SMALL
from .payloads import Package, payloads, spellings, wrong_values

SCHEMA = payload_schema(CATALOGUE)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PACKAGE, SMALL_PACKAGE = Package(CATALOGUE), Package(SMALL)
SMALL_VALIDATOR = jsonschema.Draft202012Validator(payload_schema(SMALL))
PAGE = Path(__file__).parents[2] / "docs" / "schema.md"
QUIET = {"suppress_health_check": list(HealthCheck), "deadline": None}


def payload(**changes: Any) -> dict[str, Any]:
    plain = {"schema_version": 1, "mode": "train", "global_step": 7, "metrics": {"loss": 1.25}}
    return plain | changes


@settings(max_examples=1400, **QUIET)
@given(payloads(CATALOGUE))
def test_the_schema_takes_what_the_package_takes(found: Any) -> None:
    if not PACKAGE.differs(found):
        assert VALIDATOR.is_valid(found) == PACKAGE.takes(found)


@settings(max_examples=600, **QUIET)
@given(payloads(SMALL))
def test_it_does_so_for_any_catalogue(found: Any) -> None:
    if not SMALL_PACKAGE.differs(found):
        assert SMALL_VALIDATOR.is_valid(found) == SMALL_PACKAGE.takes(found)


def test_every_spelling_of_every_key_has_its_range() -> None:
    for metric in CATALOGUE.values():
        for name in {*spellings(metric)}:
            for value in wrong_values(metric):
                found = payload(mode=metric.modes[0], metrics={name: value})
                assert VALIDATOR.is_valid(found) == PACKAGE.takes(found), found


@pytest.mark.soak
@settings(max_examples=100_000, **QUIET)
@given(payloads(CATALOGUE))
def test_another_validator_agrees(found: Any) -> None:
    import jsonschema_rs

    if not hasattr(test_another_validator_agrees, "validator"):
        test_another_validator_agrees.validator = jsonschema_rs.validator_for(SCHEMA)
    if not PACKAGE.differs(found):
        taken = test_another_validator_agrees.validator.is_valid(found)
        assert taken == PACKAGE.takes(found)


DIFFERENCES = {
    "integral_float": (payload(global_step=1.0), False, True),
    "tolerance": (payload(metrics={"rollout/f1": 1 + 1e-7}), True, False),
    "nonfinite": (payload(metrics={"rollout/f1": math.inf}), True, False),
    "huge_integer": (payload(metrics={"loss": 10**400}), False, True),
    "dashboard_spelling": (payload(metrics={"train/rollout/f1": 2.0}), False, True),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_written_difference_is_real(name: str) -> None:
    found, by_package, by_schema = DIFFERENCES[name]
    assert PACKAGE.takes(found) is by_package
    assert VALIDATOR.is_valid(found) is by_schema
    assert PACKAGE.differs(found) == {name}


def test_the_list_is_written_down() -> None:
    assert set(re.findall(r"^\| `(\w+)`:", PAGE.read_text(), re.MULTILINE)) == set(DIFFERENCES)


@pytest.mark.parametrize(
    "found",
    [
        payload(metrics={}),
        payload(mode="eval", metrics={"rollout/f1": 0.5, "eval_rollout/f1": 0.5}),
        payload(metrics={"my/own": 3, "rollout/gt_objects_total": 3.0}),
        payload(further={"kept": True}, coverage={"world_size": 8}, dataset="lvis"),
        payload(metrics={"rollout/bbox_AP": 0.5}),
    ],
)
def test_good_payloads_are_taken(found: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(found)
    assert PACKAGE.takes(found)


@pytest.mark.parametrize(
    "found",
    [
        {},
        payload(schema_version="1"),
        payload(schema_version=True),
        payload(schema_version=2),
        payload(mode="test"),
        payload(global_step=-1),
        payload(global_step=2**63),
        payload(metrics={"loss\n": 1.0}),
        payload(metrics={"loss": True}),
        payload(metrics={"loss": "1"}),
        payload(metrics={"loss/ce": 1.0}),
        payload(metrics={"eval_loss/ce": 1.0}),
        payload(metrics={"obj/anything": 1.0}),
        payload(metrics={"rollout/_samples": 1}),
        payload(mode="eval", metrics={"rollout/bbox_AP": 0.5}),
        payload(mode="eval", metrics={"eval_rollout/bbox_AP": 0.5}),
        payload(metrics={"rollout/f1": 1.5}),
        payload(metrics={"rollout/gt_objects_total": 0.5}),
        payload(metrics={"stage2_ab/channel_b/strict_drop/reason/new": -1}),
        payload(nonfinite={"loss": "NaN"}),
        payload(metrics={f"k{number}": 1 for number in range(4097)}),
    ],
)
def test_bad_payloads_are_refused_by_both(found: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(found)
    assert not PACKAGE.takes(found)
