"""Every host operation, function and rounding rule of ``docs/spec/host.md`` against the host's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from sfn_compile.host import codec
from sfn_compile.program import rounding
from sfn_compile.program.functions import FUNCTIONS
from sfn_compile.program.network import Dense, Encoding, HostKind, HostOp, Transpose

from . import host_side

PAGE = (Path(__file__).parents[2] / "docs" / "spec" / "host.md").read_text(encoding="utf-8")
STEP = np.array([0.25, 0.5, 1.0])
X = (
    np.concatenate([np.linspace(-4, 4, 33), [0.0, -0.125, 0.375, 1e-300, 1e30, -1e30]])
    .repeat(3)[:117]
    .reshape(13, 3, 3)
)
ARGUMENTS = {
    "affine": {"scale": STEP, "bias": np.array(0.3)},
    "move": {"op": Transpose((1, 0))},
    "clip": {"lo": None, "hi": 1.5},
    "leaky_relu": {"slope": 0.1},
    "scalar": {"steps": (("sigmoid", (0,)), ("mul", (0, 1)), ("sub", (2, STEP)))},
    "softmax": {"axes": (1,)},
    "log_softmax": {"axes": (0, 1)},
    "arg_extreme": {"axis": 1, "keepdims": False, "smallest": True, "last": True},
    "grid": {"step": STEP, "lo": -3, "hi": 7, "rounding": "half_even"},
    "max_pool": {"kernel": (2,), "strides": (1,), "pads": ((1, 0),), "dilations": (1,)},
    "linear": {"map": Dense(np.array([[0.5, -1.0, 2.0], [1.0, 0.25, 0.0]]))},
    "integer": {"scale": STEP, "zero": np.array(3), "dtype": "int64"},
}
OPERANDS = {"where": 3} | dict.fromkeys(
    ("add", "sub", "mul", "div", "pow", "min", "max", "greater", "greater_equal", "equal"), 2
)


@pytest.mark.parametrize("kind", get_args(HostKind))
def test_host_operations(kind):
    args = ARGUMENTS.get(kind, {})
    x = np.clip(X, -1e6, 1e6)
    xs = (x, x[::-1]) if kind in ("add", "mul") else (x,)
    want = codec.apply_host(HostOp(kind, tuple(args.items())), *xs)
    written = dict(args)
    if kind == "move":
        written["op"] = {"class": "Transpose", "perm": [1, 0]}
    if kind == "linear":
        written["map"] = {"class": "Dense", "weight": args["map"].weight}
    got = host_side.apply({"kind": kind, "args": list(written.items())}, *xs)
    np.testing.assert_allclose(got, want, rtol=2.0**-50, atol=2.0**-50)
    assert f"`{kind}`" in PAGE


@pytest.mark.parametrize("function", list(FUNCTIONS))
def test_functions_of_one_number(function):
    n = OPERANDS.get(function, 1)
    other = np.where(np.arange(X.size).reshape(X.shape) % 3 == 0, 0.0, X[::-1])
    operands = (0, other, 1.5)[:n] if function != "where" else (other, 0, STEP)
    steps = ((function, tuple(o if isinstance(o, int) else np.asarray(o, np.float64) for o in operands)),)
    want = codec.apply_host(HostOp("scalar", (("steps", steps),)), X)
    got = host_side.apply({"kind": "scalar", "args": [["steps", [list(s) for s in steps]]]}, X)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, rtol=2.0**-48, atol=2.0**-50)
    assert re.search(rf"`{function}`", PAGE)


@pytest.mark.parametrize("rule", list(rounding.ROUNDINGS))
def test_rounding_of_inputs(rule):
    e = Encoding("x", "x", (3, 3), "float64", (), STEP, (3, 3), -3, 7, rule)
    tree = {"host": [], "step": STEP, "lo": -3, "hi": 7, "rounding": rule}
    assert np.array_equal(host_side.encode(tree, X), codec.encode(e, X))
    assert f"`{rule}`" in PAGE


def test_no_answer_depends_on_how_an_array_lies_in_memory():
    op = (HostOp("softmax", (("axes", (0, 1)),)),)
    integers = np.random.default_rng(0).integers(-99, 99, (16, 8, 96))
    from sfn_compile.program.network import Decoding

    d = Decoding("y", "y", np.array(0.013), op, (8, 96))
    e = Encoding("x", "x", (8, 96), "float32", op, np.array(2.0**-40), (8, 96), -(2**30), 2**30)
    turned = np.asfortranarray(integers)
    assert np.array_equal(codec.decode(d, integers), codec.decode(d, turned))
    assert np.array_equal(codec.encode(e, integers * 0.013), codec.encode(e, turned * 0.013))
