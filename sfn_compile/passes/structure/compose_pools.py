"""compose-pools: merges a convolution and an adjacent averaging pool, which saves the population between them.

Given:  y = mean over windows (W * x + b)    (Conv, AveragePool: DenseNet's transition, a head of 1x1 Conv and mean)
Result: y = W' * x + b'    with W' the sum of W at every place of the window, stride multiplied, 1/n inside

Given:  y = W * mean(x) + b, the mean of whole channels    (GlobalAveragePool, Conv 1x1: a fully connected head)
Result: y = W' * x + b'    with W' the weight W / n at every place
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import Origin
from ...graph.graph import Graph, Node, rebuild
from ...graph.ops import Linear
from ...program.broadcast import ROUNDING, channel_vector, compress
from ...program.network import Conv, Shape, SumPool
from ..base import PassResult, only_user
from .compose_linear import MAX_WEIGHTS

Array = NDArray[Any]


@dataclass(frozen=True)
class ComposePools:
    """Merges a convolution with the unpadded averaging pool behind it, or with the global one in front of it."""

    name: ClassVar[str] = "compose-pools"
    needs: ClassVar[frozenset[str]] = frozenset({"linear-composed"})
    makes: ClassVar[frozenset[str]] = frozenset({"pools-composed"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with every small enough pair composed."""
        while (found := next(iter(pairs(graph)), None)) is not None:
            inner, outer, merged = found
            graph = _merge(graph, inner, outer, merged)
        return PassResult(graph)


def pairs(graph: Graph) -> list[tuple[Node, Node, Conv]]:
    """Return what can be composed: (first node, second node, the convolution that does both)."""
    users, nodes = graph.users(), graph.by_name()
    found = []
    for outer in graph.nodes:
        inner = nodes.get(outer.inputs[0])
        if inner is None or not isinstance(outer.op, Linear) or not isinstance(inner.op, Linear):
            continue
        if outer.op.unit is not None or inner.op.unit is not None:
            continue  # a product with stored weights would have to be rounded
        if only_user(users, graph, inner.name) is not outer:
            continue
        merged = _composed(inner.op, outer.op, inner.type.shape)
        if merged is not None:
            found.append((inner, outer, merged))
    return found


def _composed(inner: Linear, outer: Linear, between: Shape) -> Conv | None:
    if isinstance(inner.map, Conv) and isinstance(outer.map, SumPool):
        return _conv_pool(inner.map, outer.map, between)
    if isinstance(inner.map, SumPool) and isinstance(outer.map, Conv):
        return _pool_conv(inner.map, outer.map, between)
    return None


def _conv_pool(conv: Conv, pool: SumPool, between: Shape) -> Conv | None:
    """Return the convolution of a pool behind ``conv``; None where padding, borders or its cost stand against it."""
    scale = channel_vector(pool.weight, pool.out_shape(between), 0)
    kernel = conv.weight.shape[2:]
    axes = list(zip(pool.kernel, conv.strides, kernel, conv.dilations, strict=True))
    span = [(p - 1) * s + (k - 1) * d + 1 for p, s, k, d in axes]
    dear = np.prod(span) > np.prod(kernel) * np.prod(pool.kernel)
    if scale is None or _padded(pool) or dear or not _small(conv, span):
        return None
    weight = np.zeros((*conv.weight.shape[:2], *span))
    for at in np.ndindex(*pool.kernel):
        reach = tuple(slice(a * s, a * s + (k - 1) * d + 1, d) for a, (_, s, k, d) in zip(at, axes, strict=True))
        weight[(slice(None), slice(None), *reach)] += conv.weight
    weight *= scale.reshape(-1, *(1,) * (weight.ndim - 1))
    strides = tuple(a * b for a, b in zip(conv.strides, pool.strides, strict=True))
    return Conv(weight, strides, conv.pads, (1,) * len(span), conv.groups)


def _pool_conv(pool: SumPool, conv: Conv, between: Shape) -> Conv | None:
    """Return the convolution of a global pool in front of a 1x1 ``conv``; None for any other pair."""
    single = all(d == 1 for d in (*between[1:], *conv.weight.shape[2:]))
    if not single or _padded(pool) or _padded(conv) or pool.weight.size != 1 or not _small(conv, pool.kernel):
        return None
    weight = np.broadcast_to(conv.weight * pool.weight.item(), (*conv.weight.shape[:2], *pool.kernel))
    return Conv(np.ascontiguousarray(weight), pool.strides, pool.pads, (1,) * len(pool.kernel), conv.groups)


def _small(conv: Conv, kernel: Sequence[int]) -> bool:
    return int(np.prod((*conv.weight.shape[:2], *kernel))) <= MAX_WEIGHTS


def _padded(linear: Conv | SumPool) -> bool:
    return any(b or e for b, e in linear.pads)


def _merge(graph: Graph, inner: Node, outer: Node, merged: Conv) -> Graph:
    assert isinstance(inner.op, Linear)
    bias = compress(outer.op.evaluate(np.broadcast_to(inner.op.bias, inner.type.shape)[None])[0], ROUNDING)
    origin = Origin.merge(inner.origin, outer.origin).touched_by("compose-pools")
    made = Node(outer.name, Linear(merged, bias), inner.inputs, outer.type, origin, outer.tap)
    changed: dict[str, tuple[Node, ...]] = {inner.name: (), outer.name: (made,)}
    return rebuild(graph, [new for node in graph.nodes for new in changed.get(node.name, (node,))])
