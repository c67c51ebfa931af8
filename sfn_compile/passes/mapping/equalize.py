"""equalize: cross-layer equalisation, expressed in steps.

Nagel et al. (ICCV 2019, arXiv 1906.04721) divide channel c of a layer by ``s_c = sqrt(r_c / q_c)`` and multiply the
weights that read it by the same number; r_c and q_c are the largest weights into and out of the channel. Functions with
``f(s x) = s f(x)`` allow that. One step D for all channels after it is the step ``D s_c`` of channel c before it, and
the integers are the same: so nothing is scaled here, the steps are. With steps chosen per channel there is nothing left
to equalise; with one step per tensor there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ...calibration.statistics import Statistics
from ...graph.graph import Graph, Node
from ...graph.ops import Layer, Site
from ...graph.steps import rows_of
from ...program.broadcast import spread
from ...program.network import Conv, Dense, Gather, Identity, LinearMap, SumPool
from ..base import INTEGERS, PassResult

Array = NDArray[Any]

EQUIVARIANT = ("relu", "leaky_relu", "identity")
TRIED = np.geomspace(2.0, 0.02, 96)  # common steps, as shares of the largest that saturates nothing seen


@dataclass(frozen=True, eq=False)
class Equalize:
    """Gives the channels of every site that only convolutions and dense maps read the steps of equalised weights."""

    statistics: Mapping[str, Statistics]

    name: ClassVar[str] = "equalize"
    needs: ClassVar[frozenset[str]] = frozenset({"ladders-chosen"})
    makes: ClassVar[frozenset[str]] = frozenset()
    breaks: ClassVar[frozenset[str]] = INTEGERS
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with other steps at these sites."""
        users = graph.users()
        nodes = tuple(self._equalized(n, users[n.name], graph.is_output(n.name)) for n in graph.nodes)
        return PassResult(replace(graph, nodes=nodes))

    def _equalized(self, node: Node, readers: list[Node], leaves: bool) -> Node:
        layer = node.op
        if not isinstance(layer, Site) or leaves or not _may(layer):
            return node
        out = _largest_read(node, readers)
        if out is None:
            return node
        into = np.max([np.abs(rows_of(m, node.type.shape, 0)).max(axis=1) for m in layer.maps], axis=0)
        alive = (into > 0) & (out > 0)
        scale = np.sqrt(np.where(alive, into, 1.0) / np.where(alive, out, 1.0))
        stats = self.statistics[node.name]
        step = _common_step(stats, scale, layer.levels.lo, layer.levels.hi) * scale
        levels = replace(layer.levels, step=spread(0, node.type.shape, step))
        return replace(node, op=replace(layer, levels=levels), origin=node.origin.touched_by(self.name))


def _may(layer: Site) -> bool:
    """Return whether a Layer's channels may be scaled, and nothing but its levels' step has to follow."""
    levels = layer.levels
    plain = not levels.imported and levels.book is None
    linear = layer.activation.kind in EQUIVARIANT
    return (
        plain and linear and layer.axis == 0 and not (layer.products or layer.rounding_of) and layer.norm_axis is None
    )


def _largest_read(node: Node, readers: list[Node]) -> Array | None:
    """Return the largest weight that reads each channel, None where something else than such maps reads the site."""
    found = []
    for reader in readers:
        if not isinstance(reader.op, Layer):
            return None
        projections, products = reader.op.drivers(reader.inputs)
        norm = reader.op.norm(reader.inputs)
        if any(node.name in (p.left, p.right) for p in products) or (norm is not None and norm.source == node.name):
            return None
        for p in projections:
            if p.source == node.name:
                columns = _columns(p.map, node.type.shape)
                if columns is None:
                    return None
                found.append(columns)
    return np.max(found, axis=0) if found else None


def _columns(linear: LinearMap, shape: tuple[int, ...]) -> Array | None:
    """Return the largest weight of every input channel."""
    if isinstance(linear, Dense):
        return np.abs(linear.weight).max(axis=0) if len(shape) == 1 else None
    if isinstance(linear, SumPool | Identity | Gather):
        return None
    if not isinstance(linear, Conv):
        assert_never(linear)
    grouped = np.abs(linear.weight).reshape(
        linear.groups, -1, linear.weight.shape[1], int(np.prod(linear.weight.shape[2:]))
    )
    return grouped.max(axis=(1, 3)).reshape(-1)


def _common_step(stats: Statistics, scale: Array, lo: int, hi: int) -> float:
    """Return the step of least squared error, summed over channels in equalised units, common to all of them."""
    top = np.maximum(stats.high / max(hi, 1), -stats.low / -lo if lo < 0 else 0.0) / scale
    largest = float(top.max())
    if largest <= 0:
        return 1.0
    tried = largest * TRIED
    moments = stats.moments()
    lost = [(moments.squared_error(d * scale[:, None], range(lo, hi + 1), 0.5)[:, 0] / scale**2).sum() for d in tried]
    return float(tried[int(np.argmin(lost))])
