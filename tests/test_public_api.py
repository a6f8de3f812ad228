"""The public names exist, are listed, and say what they are."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import coordexp_metrics

PROMISED = {"CATALOGUE", "MetricsRegistry", "Payload", "Record", "read"}
MODULES = [
    info.name
    for info in pkgutil.walk_packages(coordexp_metrics.__path__, "coordexp_metrics.")
    if not info.name.endswith("__main__")
]


def imported(name):
    if name.startswith("coordexp_metrics.reducers.kernels."):
        pytest.importorskip("triton", reason="the extra gpu is not installed")
    return importlib.import_module(name)


def test_the_promised_names_are_public():
    assert set(coordexp_metrics.__all__) >= PROMISED
    for name in coordexp_metrics.__all__:
        assert getattr(coordexp_metrics, name) is not None
        assert name in dir(coordexp_metrics)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = coordexp_metrics.nonsense


@pytest.mark.parametrize("name", MODULES)
def test_exported_names_exist_and_are_documented(name):
    module = imported(name)
    for exported in getattr(module, "__all__", ()):
        value = getattr(module, exported)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name}.{exported} needs a docstring"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    failures, _ = doctest.testmod(imported(name))
    assert failures == 0


def test_every_error_is_also_a_builtin():
    from coordexp_metrics.contract import errors

    builtins = {
        "DeclarationError": ValueError,
        "UnknownKeyError": KeyError,
        "RemovedKeyError": KeyError,
        "ObservationError": ValueError,
        "PayloadError": ValueError,
        "SchemaVersionError": ValueError,
        "RankError": RuntimeError,
        "SinkError": RuntimeError,
        "MissingExtraError": ImportError,
    }
    for name, builtin in builtins.items():
        error = getattr(errors, name)
        assert issubclass(error, builtin)
        assert issubclass(error, errors.MetricsError)


def test_errors_carry_their_parts():
    from coordexp_metrics import MissingExtraError, RankError

    missing = MissingExtraError("wandb", "WandbSink")
    assert (missing.extra, missing.sink) == ("wandb", "WandbSink")
    assert "pip install 'coordexp-metrics[wandb]'" in str(missing)
    rank = RankError("rank 3 differs", rank=3, world_size=8)
    assert (rank.rank, rank.world_size) == (3, 8)
