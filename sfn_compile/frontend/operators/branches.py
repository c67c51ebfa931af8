"""Max, Min, Sum, Mean, and what all operators on several computed values share: samples brought to one rank."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph.graph import Op
from ...graph.ops import Activation, Add, MaxPool, Moved
from ...program.network import Reshape
from ..batch_layout import FRONT
from ..onnx_node import OnnxNode

Array = NDArray[Any]
Joined = tuple[Op, tuple[str, ...]]  # the op that computes a value, and what it reads
Step = Callable[[str], Joined]


def aligned(node: OnnxNode, *values: str) -> tuple[str, ...]:
    """Return names of the values with samples of one rank that broadcast. Refuses those that do not (SFN202, SFN203).

    ONNX aligns axes from the last one, batch included; so samples of different rank make sense for a batch of one only.
    """
    if not values:
        raise node.refuse("all of its operands are constants", "store its result in the model as a constant")
    shapes = [node.context.types[v].shape for v in values]
    rank, listed = max(map(len, shapes)), " and ".join(map(str, shapes))
    if any(len(s) != rank for s in shapes) and node.layout == FRONT and node.context.batch != 1:
        what = f"its operands have samples of shapes {listed}, so the batch of one is combined with another axis"
        raise node.refuse(what, "give them the same number of axes, or export with a batch of 1", "SFN203")
    wide = [(1,) * (rank - len(s)) + s for s in shapes]
    try:
        np.broadcast_shapes(*wide)
    except ValueError:
        raise node.refuse(f"its operands have samples of shapes {listed}, which do not broadcast") from None
    pairs = zip(values, shapes, wide, strict=True)
    return tuple(v if s == w else node.emit(Moved(Reshape(w)), v) for v, s, w in pairs)


def difference(node: OnnxNode, left: str, right: str) -> Joined:
    """Return ``left - right``."""
    minus = node.emit(node.affine(right, -np.ones(()), np.zeros(())), right)
    return Add(), aligned(node, left, minus)


def maximum(node: OnnxNode) -> None:
    """Import the maximum of branches, as ``b + relu(a - b)``, and of constants."""
    _fold(node, _larger, np.maximum, partial(_beyond, sign=1.0))


def minimum(node: OnnxNode) -> None:
    """Import the minimum of branches, as ``b - relu(b - a)``, and of constants."""
    _fold(node, _smaller, np.minimum, partial(_beyond, sign=-1.0))


def total(node: OnnxNode) -> None:
    """Of branches and constants."""
    _fold(node, _sum, np.add, _shifted)


def mean(node: OnnxNode) -> None:
    """Of branches and constants: a scaled sum."""
    _fold(node, _sum, np.add, _shifted, 1.0 / len(node.node.inputs))


def _sum(node: OnnxNode, left: str, right: str) -> Joined:
    return Add(), aligned(node, left, right)


def _shifted(node: OnnxNode, value: str, constant: Array) -> Joined:
    return node.affine(value, np.ones(()), constant), (value,)


def _larger(node: OnnxNode, left: str, right: str) -> Joined:
    base, other = _base(node, left, right)
    return Add(), aligned(node, base, _relu(node, difference(node, other, base)))


def _smaller(node: OnnxNode, left: str, right: str) -> Joined:
    base, other = _base(node, left, right)
    return difference(node, base, _relu(node, difference(node, base, other)))


def _base(node: OnnxNode, left: str, right: str) -> tuple[str, str]:
    """Return both values, first the one to read twice: better codes than a linear value that has yet to be fired."""
    fired = {n.name for n in node.context.nodes if isinstance(n.op, Activation | MaxPool | Moved)}
    return (left, right) if left in fired and right not in fired else (right, left)


def _relu(node: OnnxNode, joined: Joined) -> str:
    return node.emit(Activation("relu"), _emit(node, joined))


def _beyond(node: OnnxNode, value: str, constant: Array, sign: float) -> Joined:
    """Return the larger (sign 1) or smaller (-1) of a value and a constant: ``c + sign * relu(sign * (x - c))``."""
    if constant.size == 1:
        bound = float(constant.reshape(-1)[0])
        return Activation("clip", *((bound, np.inf) if sign > 0 else (-np.inf, bound))), (value,)
    line = node.emit(node.affine(value, np.full((), sign), -sign * constant), value)
    excess = node.emit(Activation("relu"), line)
    return node.affine(excess, np.full((), sign), constant), (excess,)


def _emit(node: OnnxNode, joined: Joined) -> str:
    return node.emit(joined[0], *joined[1])


def _fold(
    node: OnnxNode, join: Callable[[OnnxNode, str, str], Joined], combine: Callable[[Array, Array], Array],
    with_constant: Callable[[OnnxNode, str, Array], Joined], scale: float = 1.0,
) -> None:  # fmt: skip
    """Let the node's output be its operands joined one after the other, the constants (combined) last."""
    inputs = range(len(node.node.inputs))
    first, *others = [node.value(i) for i in inputs if node.constant(i) is None] or [node.value(0)]
    constants = [c for c in map(node.constant, inputs) if c is not None]

    def constant_of(value: str) -> Array:
        shape = node.context.types[value].shape
        return reduce(combine, [node.sample_constant(c, shape, "operand") for c in constants])

    steps: list[Step] = [lambda value, other=other: join(node, value, other) for other in others]  # type: ignore[misc]
    if constants:
        steps.append(lambda value: with_constant(node, value, constant_of(value)))
    if scale != 1.0:
        steps.append(lambda value: (node.affine(value, np.full((), scale), np.zeros(())), (value,)))
    _chain(node, first, steps)


def _chain(node: OnnxNode, value: str, steps: list[Step]) -> None:
    """Let the node's output be the value after all steps, one behind the other."""
    for step in steps[:-1]:
        value = _emit(node, step(value))
    if not steps:
        return node.alias(value)
    op, read = steps[-1](value)
    return node.result(op, *read)


IMPORTERS = {"Sum": total, "Mean": mean}
