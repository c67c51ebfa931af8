"""Levels that nobody has to choose: those of step functions, and of sums of few codes.

A function with m values has m codes, integers on one step where its values lie on a grid. A sum or an averaging pool of
codes on one grid has as many values as its integers reach; where these are few it is fired exactly too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph.graph import Graph, Levels, Node
from ...graph.ops import Activation, Add, Layer, Linear, MaxPool, Moved
from ...graph.ops.stages import levels_of
from ...graph.ops.step_rows import step_rows
from ...program.broadcast import Axis, channel_vector
from ...program.network import Gather, Identity, LinearMap, Shape, SumPool, ValueInfo
from ...program.ranges import accumulator_range

Array = NDArray[Any]

WHOLE = 2.0**-20  # a quotient of products of float32 constants that is this near to an integer is one


def is_step(op: object) -> bool:
    """Return whether an op is a function of finitely many values."""
    return isinstance(op, Activation) and op.body is not None and step_rows(op.body) is not None


def step_levels(activation: Activation, shape: Shape, axis: Axis) -> Levels | None:
    """Return the levels of a step function, None of any other, or where its step does not follow the channels."""
    found = None if activation.body is None else step_rows(activation.body)
    if found is None:
        return None
    step = found.step.reshape((1,) * (len(shape) - found.step.ndim) + found.step.shape)
    if channel_vector(step, shape, axis) is None:
        return None
    lo, hi = found.codes[0], found.codes[-1]
    book = None if len(found.codes) == hi - lo + 1 else found.codes
    many = f"its function has {len(found.codes)} values"
    reason = many if found.exact else f"{many}, on no common grid"
    return Levels(step, lo, hi, np.zeros(step.shape, bool), reason, book=book, stated=True)


def membranes(graph: Graph) -> set[str]:
    """Return the linear values that step functions alone read, through sums and scales: these read the accumulator.

    Each of them computes the value for itself, so that nothing is rounded before it is compared: the membrane of a
    neuron that is unrolled over its steps.
    """
    users, steps = graph.users(), {n.name for n in graph.nodes if is_step(n.op)}
    found: set[str] = set()
    for node in reversed(graph.nodes):
        readers = users[node.name]
        linear = isinstance(node.op, Linear | Add)
        if linear and readers and all(u.name in steps or (u.name in found and _is_plain(u)) for u in readers):
            found.add(node.name)
    return found


def _is_plain(node: Node) -> bool:
    """Return whether a node processes its input element by element."""
    return isinstance(node.op, Add) or (isinstance(node.op, Linear) and isinstance(node.op.map, Identity))


def summed_levels(
    layer: Layer, sources: Sequence[str], made: Mapping[str, Node], shape: Shape, most: int
) -> Levels | None:  # fmt: skip
    """Return the levels of a sum of codes on one grid, None where it has more than ``most`` codes or anything else.

    ``made``: the nodes before it.
    """
    if layer.products or layer.norm_axis is not None or layer.bias.any():
        return None
    read = [_levels_behind(s, made) for s in sources]
    units = [_unit(t.map, r) for t, r in zip(layer.terms, read, strict=True)]
    known = [(u, r) for u, r in zip(units, read, strict=True) if u is not None and r is not None]
    if len(known) < len(layer.terms):
        return None
    step = min(abs(u) for u, _ in known)
    whole = [round(u / step) for u, _ in known]
    if any(abs(u / step - n) > WHOLE * abs(n) for (u, _), n in zip(known, whole, strict=True)):
        return None
    each = zip(layer.terms, whole, known, sources, strict=True)
    ends = [_reach(t.map, n, r, made[s].type.shape) for t, n, (_, r), s in each]
    lo, hi = sum(e[0] for e in ends), sum(e[1] for e in ends)
    if hi - lo + 1 > most:
        return None
    one = np.ones((1,) * len(shape))
    return Levels(one * step, lo, hi, one == 0, f"a sum of codes has {hi - lo + 1} values", stated=True)


def _levels_behind(value: str, made: Mapping[str, Node]) -> Levels | None:
    """Return the levels that the network itself states of a value, also behind moves and pools of it alone."""
    node = made.get(value)
    while node is not None and isinstance(node.op, Moved | MaxPool) and len(node.inputs) == 1:
        node = made.get(node.inputs[0])
    levels = None if node is None else levels_of(node.op)
    return levels if levels is not None and levels.imported and levels.step.size == 1 else None


def _unit(linear: LinearMap, read: Levels | None) -> float | None:
    """Return the real value of one code through a map, None where it is not the same everywhere."""
    kinds = np.unique(linear.weight)
    if read is None or not isinstance(linear, Identity | SumPool | Gather) or len(kinds) != 1 or kinds[0] == 0:
        return None
    return float(kinds[0] * read.step.item())


def _reach(linear: LinearMap, factor: int, read: Levels, shape: Shape) -> tuple[int, int]:
    """Return the lowest and highest sum of codes times an integer."""
    whole = replace(linear, weight=np.full((1,) * len(shape), factor, np.int64))
    low, high = accumulator_range([(whole, ValueInfo(shape, read.lo, read.hi))])
    return int(low.min()), int(high.max())
