"""A small catalogue, and headers and records made with it."""

from __future__ import annotations

import pytest

from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.declare import mean, rate, total
from coordexp_metrics.contract.family import Family
from coordexp_metrics.contract.header import Header
from coordexp_metrics.contract.identity import PipelineIdentity
from coordexp_metrics.contract.units import OBJECT, OBJECTIVE, STEP


class Objective(Family, pattern="{name}"):
    """What is minimised."""

    loss = mean("the training objective", per=STEP, unit=OBJECTIVE, better="lower", in_loss=True)
    grad_norm = mean("norm of the gradient", per=STEP, unit=OBJECTIVE)


class Matching(Family, pattern="rollout/{name}"):
    """Absent from steps that generated nothing."""

    matched = total("predictions matched and supervised", unit=OBJECT)
    predicted = total("predicted objects that parsed", unit=OBJECT)
    precision = rate("matched / predicted", matched, predicted, better="higher")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue(Objective, Matching)


@pytest.fixture
def header(catalogue: Catalogue) -> Header:
    pipeline = PipelineIdentity(("token_ce",), ("coord_diag",), {"variant": "a"})
    return Header(catalogue, run={"seed": 17, "lr": float("inf")}, pipeline=pipeline)
