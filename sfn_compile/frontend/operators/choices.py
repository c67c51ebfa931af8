"""Pow, extremes, comparisons and choices: scalar functions where all operands are functions of one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...graph.ops import Activation, Add, Pointwise
from ...graph.ops.activation import scalar
from ...graph.ops.expression import IDENTITY as X
from ...graph.ops.expression import Expression, call
from ...program.functions import FunctionName
from ..onnx_node import OnnxNode
from . import branches
from .picks import expanded

Array = NDArray[Any]
Importer = Callable[[OnnxNode], None]


def _pointwise(node: OnnxNode, function: FunctionName, operands: Sequence[int]) -> None:
    """Let the output be ``function`` of the operands, constants among them."""
    computed = [i for i in operands if node.constant(i) is None]
    values = branches.aligned(node, *(node.value(i) for i in computed))
    shape = tuple(int(n) for n in np.broadcast_shapes(*(node.context.types[v].shape for v in values)))
    found = [node.constant(i) for i in operands]
    constants = tuple(None if c is None else node.sample_constant(c, shape, "operand") for c in found)
    if len(computed) == 1:
        body = call(function, *(X if c is None else c for c in constants))
        return node.result(scalar(body), values[0])
    return node.result(Pointwise(function, constants), *values)


def power(node: OnnxNode) -> None:
    """With a constant exponent or base: a table ladder, over the range that calibration reaches where it has gaps."""
    exponent = node.constant(1)
    number = None if exponent is None or exponent.size != 1 else float(exponent.reshape(-1)[0])
    if number == 1.0:
        return node.alias(node.value())
    if number == 0.5:
        return node.result(scalar(call("sqrt", X)), node.value())
    if number not in (2.0, 3.0, 4.0):
        return _pointwise(node, "pow", (0, 1))
    body = X
    for _ in range(int(number) - 1):  # products are defined everywhere, powers are not
        body = call("mul", body, X)
    return node.result(scalar(body), node.value())


def maximum(node: OnnxNode) -> None:
    """Of branches, as `b + relu(a - b)`, and of constants."""
    _extreme(node, "max")


def minimum(node: OnnxNode) -> None:
    """Of branches, as `b - relu(b - a)`, and of constants."""
    _extreme(node, "min")


def _extreme(node: OnnxNode, function: Literal["max", "min"]) -> None:
    """A clip where one bound holds everywhere."""
    n = len(node.node.inputs)
    computed = [i for i in range(n) if node.constant(i) is None]
    if n == 1:
        return node.alias(node.value())
    if len(computed) > 1:  # fuse-scalars puts it together again where both are functions of one value
        return branches.maximum(node) if function == "max" else branches.minimum(node)
    bounds = {float(v) for i in range(n) if (c := node.constant(i)) is not None for v in np.unique(c)}
    if len(bounds) != 1:
        return _pointwise(node, function, range(n))
    bound = bounds.pop()
    clip = Activation("clip", bound, np.inf) if function == "max" else Activation("clip", -np.inf, bound)
    return node.result(Activation("relu") if (function, bound) == ("max", 0.0) else clip, node.value(computed[0]))


def greater(node: OnnxNode) -> None:
    """0 or 1, part of a scalar function."""
    _pointwise(node, "greater", (0, 1))


def less(node: OnnxNode) -> None:
    """0 or 1, part of a scalar function."""
    _pointwise(node, "greater", (1, 0))


def greater_or_equal(node: OnnxNode) -> None:
    """0 or 1, part of a scalar function."""
    _pointwise(node, "greater_equal", (0, 1))


def less_or_equal(node: OnnxNode) -> None:
    """0 or 1, part of a scalar function."""
    _pointwise(node, "greater_equal", (1, 0))


def equal(node: OnnxNode) -> None:
    """0 or 1, part of a scalar function."""
    _pointwise(node, "equal", (0, 1))


def both(node: OnnxNode) -> None:
    """1 where two truth values are: a neuron that fires from two spikes on."""
    _logical(node, lambda c: (c, np.zeros(())), call("greater", X, 1.5))


def either(node: OnnxNode) -> None:
    """1 where one of two truth values is: a neuron that fires from one spike on."""
    _logical(node, lambda c: (1 - c, c), call("greater", X, 0.5))


def unlike(node: OnnxNode) -> None:
    """1 where one of two truth values is, and not the other."""
    _logical(node, lambda c: (1 - 2 * c, c), call("equal", X, 1.0))


def _logical(node: OnnxNode, by_constant: Callable[[Array], tuple[Array, Array]], of_sum: Expression) -> None:
    """Let the output be a function of the sum of two numbers 0 or 1, with a constant one a straight line of the other.

    ``by_constant`` returns its slope and shift. What decides by one value alone, fuse-scalars makes one step function.
    """
    computed = [i for i in (0, 1) if node.constant(i) is None]
    if len(computed) == 2:
        total = node.emit(Add(), *branches.aligned(node, node.value(0), node.value(1)))
        return node.result(scalar(of_sum), total)
    (value,) = branches.aligned(node, *(node.value(i) for i in computed))
    known = np.asarray(node.constant(1 - computed[0]))
    shape = tuple(int(n) for n in np.broadcast_shapes(node.context.types[value].shape, known.shape))
    slope, shift = by_constant(node.sample_constant(known, shape, "operand"))
    wide = expanded(node, value, shape)
    return node.result(node.affine(wide, slope, shift), wide)


def negation(node: OnnxNode) -> None:
    """1 - x of a comparison."""
    node.result(node.affine(node.value(), np.asarray(-1.0), np.ones(())), node.value())


def where(node: OnnxNode) -> None:
    """By a constant, a mask; by a comparison, between constants and functions of one value."""
    chosen = node.constant(0)
    if chosen is not None and chosen.dtype.kind not in "biuf":
        raise node.refuse("its condition is a constant that holds no truth values", "export it as booleans")
    if chosen is None or not any(node.constant(i) is None for i in (1, 2)):
        return _pointwise(node, "where", (0, 1, 2))
    computed = [i for i in (1, 2) if node.constant(i) is None]
    if any(node.value(i) in node.context.masked for i in computed):
        raise node.refuse("it reads scores that a mask has set to minus infinity", "join the two masks into one")
    values = branches.aligned(node, *(node.value(i) for i in computed))
    shape = tuple(int(n) for n in np.broadcast_shapes(*(node.context.types[v].shape for v in values)))
    keep = node.sample_constant(chosen != 0, shape, "condition")
    parts = [expanded(node, v, shape) for v in values]
    if len(parts) == 2:
        kept = [node.emit(node.affine(v, s, np.zeros(())), v) for v, s in zip(parts, (keep, 1 - keep), strict=True)]
        return node.result(Add(), *kept)
    scale = keep if computed == [1] else 1 - keep
    other = node.sample_constant(np.asarray(node.constant(3 - computed[0])), shape, "operand")
    offset = np.where(scale != 0, 0.0, other)
    if scale.all() and not offset.any():
        return node.alias(parts[0])
    return node.result(node.affine(parts[0], scale, offset), parts[0])


def is_no_number(node: OnnxNode) -> None:
    """Nowhere: a network that computes NaN or an infinity is refused where it does."""
    if node.value() in node.context.masked:
        raise node.refuse("it asks which scores a mask has set to minus infinity", "read the mask itself")
    node.context.constants[str(node.node.outputs[0].name)] = np.zeros((1,) * node.rank(), bool)


IMPORTERS: dict[str, Importer] = {
    "Pow": power,
    "Max": maximum,
    "Min": minimum,
    "Greater": greater,
    "GreaterOrEqual": greater_or_equal,
    "Less": less,
    "LessOrEqual": less_or_equal,
    "Equal": equal,
    "Not": negation,
    "And": both,
    "Or": either,
    "Xor": unlike,
    "Where": where,
    "IsNaN": is_no_number,
    "IsInf": is_no_number,
}
