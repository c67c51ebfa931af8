"""Multiply-accumulates of one sample."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from typing_extensions import assert_never

from ..program.network import Conv, Dense, Gather, Identity, LinearMap, Product, SumPool, ValueInfo
from .graph import Graph
from .ops import Layer


def macs(linear: LinearMap, source: ValueInfo) -> int:
    """Return the multiply-accumulates of one sample, positions in the padding included."""
    size = int(np.prod(linear.out_shape(source.shape)))
    if isinstance(linear, Dense):
        return size * linear.weight.shape[1]
    if isinstance(linear, Conv):
        return size * int(np.prod(linear.weight.shape[1:]))
    if isinstance(linear, SumPool):
        return size * int(np.prod(linear.kernel))
    if isinstance(linear, Identity | Gather):
        return size
    assert_never(linear)


def product_macs(product: Product, info: Mapping[str, ValueInfo]) -> int:
    """Return the multiplications of two codes of one sample."""
    left, right = info[product.left].shape, info[product.right].shape
    return product.form.summed(left) * int(np.prod(product.form.out_shape(left, right)))


def macs_of(graph: Graph) -> int:
    """Return the multiply-accumulates of all linear maps of a graph, products and normalisations aside."""
    types = graph.types()
    read = (p for n in graph.nodes if isinstance(n.op, Layer) for p in n.op.drivers(n.inputs)[0])
    return sum(macs(p.map, ValueInfo(types[p.source].shape, 0, 0)) for p in read)
