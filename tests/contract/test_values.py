"""A value is a Python number, converted once, exactly; anything else is named and refused."""

import datetime
import math
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coordexp_metrics.contract.values import Rejected, nonfinite_name, plain_number


class Level(IntEnum):
    """An int by inheritance."""

    LOW = 3


class Shouting(float):
    """A float that prints itself wrongly."""

    def __repr__(self):
        return "LOUD"

    def __float__(self):
        raise AssertionError("never called")


class Trap:
    """An object that must not be touched."""

    def __float__(self):
        raise AssertionError("never called")

    __int__ = __index__ = __len__ = __iter__ = __eq__ = __hash__ = __float__


class Liar:
    """An object that claims to come from numpy."""

    __module__ = "numpy"

    def __float__(self):
        raise AssertionError("never called")


@pytest.mark.parametrize(
    "number", [-0.0, 5e-324, 1.7976931348623157e308, 2**53 + 1, 2**1000, 0, -7, math.pi]
)
def test_V03_plain_numbers_pass_unchanged(number):
    found = plain_number(number)
    assert type(found) is type(number)
    assert float(found).hex() == float(number).hex()
    assert found == number


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
def test_V06_numpy_floats_convert_exactly(dtype):
    value = np.dtype(dtype).type(1 / 3)
    assert plain_number(value) == float(value)
    assert type(plain_number(np.array(value))) is float


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_V06_numpy_ints_stay_ints(dtype):
    assert plain_number(np.dtype(dtype).type(7)) == 7
    assert type(plain_number(np.dtype(dtype).type(7))) is int


def test_V06_a_longdouble_beyond_float64_is_refused():
    with pytest.raises(Rejected) as caught:
        plain_number(np.longdouble("1e4000"))
    assert caught.value.code == "value.overflow"


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int32],
)
def test_V07_tensors_convert_exactly(dtype):
    tensor = torch.tensor(3.0).to(dtype)
    assert plain_number(tensor) == 3
    assert plain_number(torch.tensor(1.0078125, dtype=torch.bfloat16)) == 1.0078125


def test_V07_a_tensor_that_requires_grad_keeps_its_graph():
    leaf = torch.tensor(2.0, requires_grad=True)
    value = leaf * leaf
    assert plain_number(value) == 4.0
    value.backward()
    assert leaf.grad is not None
    assert plain_number(torch.nn.Parameter(torch.tensor(1.5))) == 1.5


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (torch.ones(1), "value.shape"),
        (torch.ones(2), "value.shape"),
        (torch.ones(0), "value.shape"),
        (torch.ones((), device="meta"), "value.shape"),
        (torch.ones((), dtype=torch.complex64), "value.type"),
        (
            torch.sparse_coo_tensor(torch.zeros(0, 1), torch.ones(1), (), check_invariants=False),
            "value.shape",
        ),
        (torch.tensor(True), "value.bool"),
        (np.ones(1), "value.shape"),
        (np.array("x"), "value.type"),
        (np.array(None), "value.type"),
        (np.complex64(1), "value.type"),
        (np.bool_(True), "value.bool"),
        (np.datetime64("2026-01-01"), "value.type"),
    ],
)
def test_V08_other_arrays_are_refused_by_type(value, code):
    with pytest.raises(Rejected) as caught:
        plain_number(value)
    assert caught.value.code == code


def test_V08_a_tensor_subclass_is_refused():
    class Distributed(torch.Tensor):
        pass

    with pytest.raises(Rejected):
        plain_number(torch.ones(()).as_subclass(Distributed))


@pytest.mark.parametrize(
    "value",
    [1j, None, Decimal(1), Fraction(1), "1.0", "nan", b"1", datetime.datetime.now(), [1], (1,), {}],
)
def test_V09_what_is_no_number_is_refused(value):
    with pytest.raises(Rejected) as caught:
        plain_number(value)
    assert caught.value.code == "value.type"


@pytest.mark.parametrize("trap", [Trap(), Liar()])
def test_V10_nothing_of_a_foreign_object_is_called(trap):
    with pytest.raises(Rejected):
        plain_number(trap)


def test_V02_an_int_beyond_float_is_refused():
    with pytest.raises(Rejected) as caught:
        plain_number(10**400)
    assert caught.value.code == "value.overflow"


@pytest.mark.parametrize("value", [True, False])
def test_V05_bools_are_refused(value):
    with pytest.raises(Rejected) as caught:
        plain_number(value)
    assert caught.value.code == "value.bool"


def test_V11_a_dict_says_how_to_flatten():
    with pytest.raises(Rejected, match="a/b"):
        plain_number({"a": 1})


def test_V13_subclasses_become_plain():
    assert type(plain_number(Shouting(1.5))) is float
    assert plain_number(Shouting(1.5)) == 1.5
    assert type(plain_number(Level.LOW)) is int


@given(st.floats() | st.integers())
def test_V01_nonfinite_numbers_have_names(number):
    name = nonfinite_name(number)
    assert (name is None) == (isinstance(number, int) or math.isfinite(number))
    if name is not None:
        assert float(name) == number or name == "nan"
