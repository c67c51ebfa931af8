"""How far a value that is computed in floating point may lie from the exact one: a bound per number, op by op.

A bound follows from what an operator reads, not from how large its result is: a sum of terms that cancel is as far off
as its terms allow, a steep function makes an error larger, a quantiser makes it a whole step where the exact value lies
closer to a tie than its own error, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..program.functions import FUNCTIONS, FunctionName
from ..program.linear_maps import Conv, Dense, LinearMap, SumPool
from .graph import Graph, Node, Op
from .ops import (
    Activation,
    Add,
    ArgExtreme,
    Expression,
    Linear,
    MatMul,
    MaxPool,
    Moved,
    Mul,
    Normalize,
    Pointwise,
    Quantize,
    Softmax,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Precision:
    """Half a unit in the last place of a result (``unit``) and of a running sum (``sums``), both relative; ``least``
    is the smallest normal number, below which results are absolute."""

    unit: float
    sums: float
    least: float


SINGLE = Precision(2.0**-24, 2.0**-24, 2.0**-126)
HALF = Precision(2.0**-11, 2.0**-11, 2.0**-14 * 2.0**-11)  # some of its kernels add up in float16
DOUBLE = Precision(2.0**-53, 2.0**-53, 2.0**-1022)

# Kernels round a result, and constants of theirs, a few times: a scale is a quotient by a root, a bias their product.
ROUNDINGS = 4.0
# n roundings of a running sum add up to n units at worst. Their signs differ: this many standard deviations of a random
# walk are not reached (Higham and Mary 2019), and kernels sum in blocks besides.
DEVIATIONS = 4.0
# Equal terms are rounded to one side each time: half a unit of a running sum that is half its end on average, in the
# four lanes of a vector at least. It shows from thousands of terms on (a mean over a map whose values repeat).
ONE_SIDED = 1 / 16
# Polynomials around a centre: their error is relative to 1, not to the small numbers far from it.
_CENTRED = frozenset({
    "sigmoid", "tanh", "erf", "softplus", "softsign", "sin", "cos", "atan", "expm1", "log",
})  # fmt: skip
_EXACT = frozenset({
    "min", "max", "abs", "sign", "floor", "ceil", "round", "where", "greater", "greater_equal", "equal",
})  # fmt: skip


def growth(n_terms: int) -> float:
    """Return how many units a running sum of ``n_terms`` products is off, relative to the sum of their sizes."""
    return ROUNDINGS + min(float(n_terms), DEVIATIONS * math.sqrt(n_terms) + ONE_SIDED * n_terms)


def propagated(op: Op, xs: Sequence[Array], errors: Sequence[Array], y: Array, by: Precision) -> Array:
    """Return the bound of an op's result ``y``, of its shape, for inputs ``xs`` that are off by at most ``errors``.

    Infinite where nothing bounds it: a quotient by what may be 0.
    """
    with np.errstate(all="ignore"):
        found = np.broadcast_to(_bound(op, xs, errors, y, by), y.shape) + by.least
    return np.where(np.isnan(found), np.inf, found)


def bounds(graph: Graph, inputs: Mapping[str, Array], by: Precision) -> dict[str, Array]:
    """Return, by name, a bound of the rounding error of every value ``(n, *shape)``, computed from exact inputs on.

    ``by`` is the precision of the side whose errors are bounded.
    """
    values = {i.name: np.asarray(inputs[i.name], np.float64) for i in graph.inputs}
    found = {name: np.zeros_like(x) for name, x in values.items()}
    for node in graph.nodes:
        values[node.name], found[node.name] = step(node, values, found, by)
    return found


def step(node: Node, values: Mapping[str, Array], errors: Mapping[str, Array], by: Precision) -> tuple[Array, Array]:
    """Return the value of a node in float64, and its bound."""
    xs = [values[s] for s in node.inputs]
    y = node.op.evaluate(*xs)
    return y, propagated(node.op, xs, [errors[s] for s in node.inputs], y, by)


def _bound(op: Op, xs: Sequence[Array], errors: Sequence[Array], y: Array, by: Precision) -> Array:
    x, e, rounded = xs[0], errors[0], ROUNDINGS * by.unit * np.abs(y)
    if isinstance(op, Moved):
        return op.evaluate(*errors)
    if isinstance(op, MaxPool):
        return op.evaluate(e)
    if isinstance(op, Linear):
        added = np.abs(op.bias) if op.terms is None else op.terms
        return _mapped(op.map, x, e, by) + ROUNDINGS * by.unit * added + rounded + _placed_weights(op, x, by)
    if isinstance(op, MatMul):
        grown = by.sums * growth(x.shape[-1])
        terms = np.matmul(np.abs(x), errors[1] + grown * np.abs(xs[1])) + np.matmul(e, np.abs(xs[1]) + errors[1])
        return terms + rounded
    if isinstance(op, Add):
        return e + errors[1] + rounded
    if isinstance(op, Mul):
        return e * (np.abs(xs[1]) + errors[1]) + np.abs(x) * errors[1] + rounded
    if isinstance(op, Pointwise):
        pairs = list(zip(xs, errors, strict=True))
        return _called(op.function, op.operands(pairs), by)[1]
    if isinstance(op, Activation):
        return _activated(op, x, e, by)
    if isinstance(op, Quantize):
        return _quantised(op, x, e, by)
    if isinstance(op, Normalize):
        return _normalised(op, xs, errors, by)
    if isinstance(op, Softmax):
        return _softmax(op, x, e, y, by)
    assert isinstance(op, ArgExtreme)  # Layers stand for several operators of the file: theirs are the bounds
    return _placed(op, x, e, y)


def _mapped(a_map: LinearMap, x: Array, e: Array, by: Precision) -> Array:
    """Return the bound of a sum of products: each weight times its input's error, and the roundings of the sum."""
    weight = np.abs(a_map.weight)
    terms = weight.shape[1] if isinstance(a_map, Dense) else 1
    terms = math.prod(weight.shape[1:]) if isinstance(a_map, Conv) else terms
    terms = math.prod(a_map.kernel) if isinstance(a_map, SumPool) else terms
    sizes = by.sums * growth(terms) + ROUNDINGS * (by.unit - by.sums)
    return replace(a_map, weight=weight).apply(sizes * np.abs(x) + e, np.float64)


def _placed_weights(op: Linear, x: Array, by: Precision) -> Array | float:
    """Return what weights that a kernel computes from places add: a place is rounded in its own last digit."""
    if op.positions is None:
        return 0.0
    off = np.full(op.map.weight.shape, ROUNDINGS * by.unit * op.positions)
    return replace(op.map, weight=off).apply(np.abs(x), np.float64)


def _called(function: FunctionName, operands: Sequence[Any], by: Precision) -> tuple[Array, Array]:
    """Return the value of a function and its bound; operands are pairs (value, bound), or constants."""
    pairs = [o if isinstance(o, tuple) else (np.asarray(o), None) for o in operands]
    arguments: list[Array] = [v for v, _ in pairs]
    y = np.asarray(FUNCTIONS[function](*arguments), np.float64)
    found = ROUNDINGS * by.unit * _size(function, arguments, y)
    for i, (value, error) in enumerate(pairs):
        if error is not None:
            moved = [FUNCTIONS[function](*arguments[:i], value + s * error, *arguments[i + 1 :]) for s in (1.0, -1.0)]
            found = found + np.maximum(*(np.abs(m - y) for m in moved))
    return y, found


def _size(function: FunctionName, arguments: Sequence[Array], y: Array) -> Any:
    """Return what the roundings of a function's own kernel are relative to."""
    if function in _EXACT:
        return 0.0
    if function in ("add", "sub"):
        return np.abs(arguments[0]) + np.abs(arguments[1])
    return np.maximum(np.abs(y), 1.0) if function in _CENTRED else np.abs(y)


def _expression(body: Expression, x: Array, e: Array, by: Precision) -> Array:
    pairs: list[Any] = [(x, e)]
    for function, operands in body.steps:
        pairs.append(_called(function, [pairs[o] if isinstance(o, int) else o for o in operands], by))
    return pairs[-1][1]


def _activated(op: Activation, x: Array, e: Array, by: Precision) -> Array:
    if op.kind == "identity" or op.kind == "relu" or op.kind == "clip":
        return e
    if op.kind == "row_exp":
        top = e.max(axis=op.axis + 1, keepdims=True)
        return op.evaluate(x) * np.expm1(e + top + ROUNDINGS * by.unit * (1 + np.abs(x)))
    if op.kind in ("leaky_relu", "sigmoid", "tanh", "scalar"):
        return _expression(op.expression(), x, e, by)
    assert_never(op.kind)  # type: ignore[arg-type]


def _quantised(op: Quantize, x: Array, e: Array, by: Precision) -> Array:
    """Return a step where the exact value may lie on the other side of a tie, and the rounding of a product elsewhere.

    The quantiser divides by its scale first.
    """
    real, off = op.activation.evaluate(x), _activated(op.activation, x, e, by)
    off = off + ROUNDINGS * by.unit * np.abs(real)
    y = op.levels.real(real)
    jump = np.maximum(*(np.abs(op.levels.real(real + s * off) - y) for s in (1.0, -1.0)))
    return jump + ROUNDINGS * by.unit * np.abs(y)


def _normalised(op: Normalize, xs: Sequence[Array], errors: Sequence[Array], by: Precision) -> Array:
    """Return the bound of a normalisation; kernels may compute the variance as a difference of two means of squares."""
    axes, n = tuple(a + 1 for a in op.axes), math.prod(xs[0].shape[a + 1] for a in op.axes)
    x, e = sum(xs[1:], start=xs[0]), sum(errors[1:], start=errors[0])
    grown = by.sums * growth(n) + ROUNDINGS * by.unit

    def mean(v: Array) -> Array:
        return np.asarray(v.mean(axis=axes, keepdims=True))

    middle = mean(x) if op.centred else 0.0
    centred = x - middle
    off = e + (mean(e + grown * np.abs(x)) if op.centred else 0.0) + ROUNDINGS * by.unit * np.abs(x)
    root = np.sqrt(mean(centred**2) + op.epsilon)
    root_off = (mean(np.abs(centred) * off) + grown * mean(x**2)) / root
    steep = np.maximum(root - root_off, 0.0)
    normed = (off + np.abs(centred) * root_off / root) / steep + ROUNDINGS * by.unit * np.abs(centred) / root
    normed = np.where(root > 0, normed, np.where(off > 0, np.inf, 0.0))
    return np.abs(op.scale) * normed + ROUNDINGS * by.unit * np.abs(op.bias)


def _softmax(op: Softmax, x: Array, e: Array, y: Array, by: Precision) -> Array:
    """Return the bound of a softmax: its logarithm moves by at most twice the largest error of the row."""
    axes = tuple(a + 1 for a in op.axes)
    n, finite = math.prod(x.shape[a] for a in axes), np.isfinite(x)
    top = np.where(finite, e, 0.0).max(axis=axes, keepdims=True)
    size = np.where(finite, np.abs(x), 0.0).max(axis=axes, keepdims=True)
    moved = 2 * top + by.sums * growth(n) + ROUNDINGS * by.unit * (1 + size)
    return moved + ROUNDINGS * by.unit * np.abs(y) if op.log else y * np.expm1(moved)


def _placed(op: ArgExtreme, x: Array, e: Array, y: Array) -> Array:
    """Return how far the place moves where another number is as large as the errors of both allow."""
    axis = op.axis + 1
    x = -x if op.smallest else x
    near = x + e >= (x - e).max(axis=axis, keepdims=True)
    place = np.expand_dims(y, axis) if not op.keepdims else y
    places = np.arange(x.shape[axis]).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    far = np.where(near, np.abs(places - place), 0).max(axis=axis, keepdims=op.keepdims)
    return far.astype(np.float64)
