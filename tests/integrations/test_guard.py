"""Diagnostics are best effort, objectives fail fast, and an old library is refused by name."""

from __future__ import annotations

import logging
import math

import pytest

from coordexp_metrics import MetricsRegistry
from coordexp_metrics.contract.errors import MetricsError, MissingExtraError
from coordexp_metrics.integrations import Guard, TrainerMetrics, versions
from coordexp_metrics.integrations.versions import Supported, require
from coordexp_metrics.sinks import MemorySink


def fail(guard: Guard, times: int) -> None:
    for _ in range(times):
        with guard.diagnostic("a reducer"):
            raise RuntimeError("shapes differ")


def test_a_diagnostic_is_tried_again_and_every_fault_counts() -> None:
    """It is never given up: what one rank stops, the others would wait for."""
    guard = Guard()
    fail(guard, 7)
    assert (guard.faults["a reducer"].count, guard.taken(), guard.taken()) == (7, 7, 0)
    assert guard.faults["a reducer"].error == "RuntimeError: shapes differ"


def test_faults_are_said_at_1_10_and_100(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "coordexp_metrics"):
        fail(Guard(), 120)
    assert [record.args[1] for record in caplog.records] == [1, 10, 100]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_is_not_swallowed(error: type[BaseException]) -> None:
    with pytest.raises(error), Guard().diagnostic("a reducer"):
        raise error


def test_a_strict_guard_lets_errors_out() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        fail(Guard(strict=True), 1)


def test_an_objective_that_fails_ends_the_run_and_is_named() -> None:
    said = "objective 'coord_loss' failed: ValueError: no ids"
    with pytest.raises(MetricsError, match=said), Guard().objective("coord_loss"):
        raise ValueError("no ids")


def test_an_error_of_ours_in_an_objective_stays_what_it_is() -> None:
    with pytest.raises(MissingExtraError), Guard().objective("coord_loss"):
        raise MissingExtraError("torch", "the loss")


def test_one_bad_value_costs_itself_alone() -> None:
    metrics = TrainerMetrics(group="local")
    metrics.open()
    metrics.observe("token_acc", "many", 4)
    metrics.observe("rolout/f1", 1.0)
    metrics.observe("token_count", 4)
    values = metrics.close("train", 1)
    assert values == {"token_count": 4.0, "contract/diagnostics_failed_total": 2.0}
    assert "rollout/f1" in metrics.guard.faults["observing rolout/f1"].error


def test_an_old_library_is_refused_with_the_range() -> None:
    with pytest.raises(MetricsError, match=r"pytest .* is too old; install pytest>=1000,<1001"):
        require(Supported("pytest", "1000", "1001", "dev"))


def test_an_absent_library_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"coordexp-metrics\[swift\]"):
        require(Supported("no-such-library", "1", "2", "swift"))


def test_a_newer_library_is_used_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    versions._say_once.cache_clear()
    with caplog.at_level(logging.WARNING, "coordexp_metrics"):
        for _ in range(3):
            require(Supported("pytest", "1", "2", "dev"))
    assert len(caplog.records) == 1
    assert "newer than tested: pytest>=1,<2" in caplog.text


def test_a_trainers_finite_loss_does_not_hide_that_a_micro_batch_was_nan() -> None:
    metrics = TrainerMetrics(MetricsRegistry([sink := MemorySink()]), group="local")
    metrics.open()
    metrics.begin("train")
    metrics.observe("loss", math.nan, 1)
    metrics.close("train", 1, {"loss": 1.25, "learning_rate": 0.5})
    (record,) = sink.records
    assert dict(record.metrics) == {"learning_rate": 0.5}
    assert dict(record.nonfinite) == {"loss": "nan"}
    assert metrics.registry.report()["violations"] == {}
