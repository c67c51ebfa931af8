"""Encoding and decoding, written from ``docs/spec/host.md`` alone; nothing of sfnc is imported."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .interpreter import MAPS, move, taps

Array = NDArray[Any]
Tree = dict[str, Any]


def encode(encoding: Tree, x: Array) -> Array:
    """The codes ``(n, *shape)`` of a model input ``(n, *model_shape)``."""
    for op in encoding["host"]:
        x = apply(op, x)
    return _codes(x.astype(np.float64), encoding["step"], encoding["lo"], encoding["hi"], encoding["rounding"])


def decode(decoding: Tree, integers: dict[str, Array]) -> Array:
    """The model's output ``(n, ...)`` in its own type, from integers by the names of their values."""
    parts = (decoding, *decoding["joined"])
    values = [np.ascontiguousarray(integers[p["value"]] * p["step"].astype(np.float64)) for p in parts]
    for op in decoding["host"]:
        values.append(apply(op, *(values[i] for i in op["reads"] or [len(values) - 1])))
    x = values[-1]
    return (np.rint(x) if "int" in decoding["dtype"] else x).astype(decoding["dtype"])


def apply(op: Tree, *xs: Array) -> Array:
    """A host operation on a batch, or on several."""
    kind, args = op["kind"], dict(op["args"])
    if kind == "move":
        return move(args["op"], *xs)
    if kind in ("add", "mul"):
        return np.asarray(xs[0] + xs[1] if kind == "add" else xs[0] * xs[1])
    (x,) = xs
    return OPERATIONS[kind](x.astype(np.float64), args)


def _affine(x: Array, args: Tree) -> Array:
    return np.asarray(x * args["scale"] + args["bias"])


def _clip(x: Array, args: Tree) -> Array:
    lo, hi = (v if v is not None else w * math.inf for v, w in ((args["lo"], -1), (args["hi"], 1)))
    return np.minimum(np.maximum(x, lo), hi)


def _sigmoid(x: Array) -> Array:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _log_softmax(x: Array, args: Tree) -> Array:
    axes = tuple(a + 1 for a in args["axes"])
    x = x - x.max(axis=axes, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=axes, keepdims=True)))


def _arg_extreme(x: Array, args: Tree) -> Array:
    axis = args["axis"] + 1
    x = -x if args["smallest"] else x
    best = x == x.max(axis=axis, keepdims=True)
    place = x.shape[axis] - 1 - np.flip(best, axis).argmax(axis) if args["last"] else best.argmax(axis)
    return (np.expand_dims(place, axis) if args["keepdims"] else place).astype(np.float64)


def _grid(x: Array, args: Tree) -> Array:
    return np.asarray(_codes(x, args["step"], args["lo"], args["hi"], args["rounding"]) * args["step"])


def _integer(x: Array, args: Tree) -> Array:
    return (np.rint(x / args["scale"]) + args["zero"]).astype(args["dtype"])


def _max_pool(x: Array, args: Tree) -> Array:
    given = (args[k] for k in ("kernel", "strides", "pads", "dilations"))
    return np.asarray(np.max([read for _, read in taps(x, *given, fill=-np.inf)], axis=0))


def _linear(x: Array, args: Tree) -> Array:
    return np.asarray(MAPS[args["map"]["class"]](args["map"], x))


OPERATIONS = {
    "max_pool": _max_pool,
    "linear": _linear,
    "affine": _affine,
    "relu": lambda x, args: np.maximum(x, 0.0),
    "clip": _clip,
    "leaky_relu": lambda x, args: np.where(x >= 0, x, args["slope"] * x),
    "sigmoid": lambda x, args: _sigmoid(x),
    "tanh": lambda x, args: np.tanh(x),
    "scalar": lambda x, args: _expression(x, args["steps"]),
    "softmax": lambda x, args: np.exp(_log_softmax(x, args)),
    "log_softmax": _log_softmax,
    "arg_extreme": _arg_extreme,
    "grid": _grid,
    "integer": _integer,
}


# -- rounding ---------------------------------------------------------------------------------------------------
ROUNDINGS = {
    "half_up": lambda x: np.floor(x + x.dtype.type(0.5)),
    "half_even": np.rint,
    "half_away": lambda x: np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5)),
    "half_down": lambda x: np.sign(x) * np.ceil(np.abs(x) - x.dtype.type(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
    "to_zero": np.trunc,
    "away": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "sign": lambda x: np.where(x >= 0, 1.0, -1.0),
}


def _codes(x: Array, step: Array, lo: int, hi: int, rounding: str) -> Array:
    number = np.float64 if rounding == "half_up" else np.float32
    with np.errstate(over="ignore"):
        scaled = np.asarray(x.astype(number) / np.asarray(step).astype(number))
    return np.clip(ROUNDINGS[rounding](scaled), lo, hi).astype(np.int64)


# -- functions of the kind scalar -------------------------------------------------------------------------------
TINY, LARGE = 2.0**-1000, 700.0


def _expression(x: Array, steps: list[Any]) -> Array:
    values = [x]
    with np.errstate(all="ignore"):
        for name, operands in steps:
            values.append(FUNCTIONS[name](*(values[o] if isinstance(o, int) else o for o in operands)))
    return np.nan_to_num(np.asarray(values[-1], np.float64))


def _not_zero(x: Array) -> Array:
    return np.where(np.abs(x) < TINY, TINY, x)


def _pow(x: Array, y: Array) -> Array:
    whole = np.where(y < 0, _not_zero(x), x)
    return np.power(np.where(y == np.rint(y), whole, np.maximum(x, 0.0)), y)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


FUNCTIONS: dict[str, Any] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": lambda x, y: x / _not_zero(y), "pow": _pow,
    "min": lambda *xs: np.min(np.broadcast_arrays(*xs), axis=0),
    "max": lambda *xs: np.max(np.broadcast_arrays(*xs), axis=0),
    "abs": np.abs, "sign": np.sign, "floor": np.floor, "ceil": np.ceil, "round": np.rint,
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0.0)), "exp": lambda x: np.exp(np.minimum(x, LARGE)),
    "expm1": lambda x: np.expm1(np.minimum(x, LARGE)), "log": lambda x: np.log(np.maximum(x, TINY)),
    "erf": np.vectorize(math.erf, otypes=[np.float64]), "sigmoid": _sigmoid, "tanh": np.tanh, "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)), "sin": np.sin, "cos": np.cos, "atan": np.arctan,
    "greater": lambda x, y: (x > y) * 1.0, "greater_equal": lambda x, y: (x >= y) * 1.0,
    "equal": lambda x, y: (x == y) * 1.0, "where": lambda c, x, y: np.where(c != 0, x, y),
}  # fmt: skip
