"""compose-linear: merges a pool and the Gemm that follows into one Dense, which saves the population between them.

Given:  y = W flatten(pool(x)) + b          (GlobalAveragePool, Flatten, Gemm)
Result: y = W' flatten(x) + b'              with W' = W P, P the pooling matrix (1/n inside), while W' stays small

The product is computed through the adjoint of the pool: every row of W is spread over the windows it averages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import Origin
from ...graph.graph import Graph, Node, TensorType, rebuild, unique_name
from ...graph.ops import Linear, Moved
from ...program.network import Dense, Reshape, Shape, SumPool, Transpose
from ..base import PassResult, only_user

Array = NDArray[Any]

MAX_WEIGHTS = 4_000_000  # beyond this a composed matrix costs more than the population that replaces it


@dataclass(frozen=True)
class ComposeLinear:
    """Merges Dense with the averaging pool, or the Dense, that feeds it through permuting moves."""

    name: ClassVar[str] = "compose-linear"
    needs: ClassVar[frozenset[str]] = frozenset({"affine-folded"})
    makes: ClassVar[frozenset[str]] = frozenset({"linear-composed"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with every small enough chain composed, in one sweep: thousands may be in a row."""
        users, types = graph.users(), graph.types()
        made: dict[str, Node] = {}
        for node in graph.nodes:
            made[node.name] = node
            while (chain := _chain(made[node.name], made, types, graph, users)) is not None:
                for old in chain:
                    del made[old.name]
                for new in _compose(chain, types):
                    made[new.name] = new
                    types[new.name] = new.type
                    users.setdefault(new.name, [node])  # of a reshape in front: the Dense alone
        return PassResult(rebuild(graph, made.values()) if len(made) < len(graph.nodes) else graph)


def chains(graph: Graph) -> Iterator[tuple[Node, ...]]:
    """Yield the composable chains (inner linear, moves ..., Dense), in the order of the graph."""
    users, nodes, types = graph.users(), graph.by_name(), graph.types()
    found = (_chain(node, nodes, types, graph, users) for node in graph.nodes)
    return (chain for chain in found if chain is not None)


def _chain(
    node: Node, nodes: Mapping[str, Node], types: Mapping[str, TensorType], graph: Graph, users: dict[str, list[Node]]
) -> tuple[Node, ...] | None:
    """Return the composable chain that ends in a node, None where there is none."""
    if (
        not isinstance(node.op, Linear)
        or node.op.unit is not None  # a product with stored weights would have to be rounded
        or not isinstance(node.op.map, Dense)
        or len(types[node.inputs[0]].shape) != 1
    ):
        return None
    chain = [node]
    while True:
        before = nodes.get(chain[-1].inputs[0])
        if before is None or only_user(users, graph, before.name) is None:
            break
        chain.append(before)
        if not (isinstance(before.op, Moved) and isinstance(before.op.op, Reshape | Transpose)):
            break
    chain.reverse()
    inner, size = chain[0].op, math.prod(types[chain[0].inputs[0]].shape)
    composable = len(chain) > 1 and isinstance(inner, Linear) and _pays(inner, node.op.map, size)
    return tuple(chain) if composable else None


def _pays(inner: Linear, outer: Dense, size: int) -> bool:
    """Return whether the composed matrix is small enough: a bottleneck of two Dense is kept as it is."""
    merged = size * outer.weight.shape[0]
    if isinstance(inner.map, Dense):
        return merged <= 2 * (inner.map.weight.size + outer.weight.size)
    return isinstance(inner.map, SumPool) and merged <= MAX_WEIGHTS


def _compose(chain: tuple[Node, ...], types: Mapping[str, TensorType]) -> tuple[Node, ...]:
    """Return the Dense that is a chain, behind the Reshape to a vector where what the chain reads is none."""
    inner, outer = chain[0], chain[-1]
    assert isinstance(inner.op, Linear)
    assert isinstance(outer.op, Linear)
    assert isinstance(outer.op.map, Dense)
    rows = outer.op.map.weight
    bias = outer.op.bias + _through(rows, chain, np.broadcast_to(inner.op.bias, inner.type.shape))
    for node in reversed(chain[1:-1]):
        rows = _adjoint_move(node, rows, types[node.inputs[0]].shape)
    shape = types[inner.inputs[0]].shape
    rows = _adjoint(inner.op, rows.reshape(-1, *inner.type.shape), shape)
    origin = Origin.merge(*(n.origin for n in chain)).touched_by("compose-linear")
    dense = Node(outer.name, Linear(Dense(rows), bias), inner.inputs, outer.type, origin, outer.tap)
    if len(shape) == 1:
        return (dense,)
    flat_name = unique_name(f"{inner.name}/flat", types.__contains__)
    flat = Node(flat_name, Moved(Reshape((rows.shape[1],))), inner.inputs, TensorType((rows.shape[1],)), origin)
    return flat, replace(dense, inputs=(flat_name,))


def _through(rows: Array, chain: tuple[Node, ...], bias: Array) -> Array:
    moved = bias[None]
    for node in chain[1:-1]:
        moved = node.op.evaluate(moved)
    return rows @ moved[0]


def _adjoint_move(node: Node, rows: Array, shape: Shape) -> Array:
    assert isinstance(node.op, Moved)
    if isinstance(node.op.op, Transpose):
        turned = rows.reshape(-1, *node.type.shape)
        return turned.transpose(0, *(int(p) + 1 for p in np.argsort(node.op.op.perm)))
    return rows.reshape(-1, *shape)


def _adjoint(inner: Linear, rows: Array, shape: Shape) -> Array:
    """Return ``rows`` (n, *out) as weights on the inner map's input, flattened: (n, prod(shape))."""
    if isinstance(inner.map, Dense):
        return (rows @ inner.map.weight).reshape(rows.shape[0], -1)
    assert isinstance(inner.map, SumPool)
    pool = inner.map
    weighted = rows * pool.weight
    padded = np.zeros((rows.shape[0], shape[0], *(x + sum(p) for x, p in zip(shape[1:], pool.pads, strict=True))))
    for tap in np.ndindex(*pool.kernel):
        reach = tuple(slice(t, t + n * s, s) for t, n, s in zip(tap, rows.shape[2:], pool.strides, strict=True))
        padded[(slice(None), slice(None), *reach)] += weighted
    inside = tuple(slice(p[0], p[0] + x) for x, p in zip(shape[1:], pool.pads, strict=True))
    return padded[(slice(None), slice(None), *inside)].reshape(rows.shape[0], -1)
