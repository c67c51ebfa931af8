"""fuse-quantizers: an imported quantiser takes the activation before it, and goes where it changes nothing.

Given:  Conv -> Relu -> Quantize -> MaxPool -> Quantize (the same grid) -> Conv
Result: Conv -> Quantize(relu) -> MaxPool -> Conv

A quantiser is what decides the levels of a site, so the activation before it belongs to the same population. Exporters
put a second quantiser behind everything that only moves or compares codes; codes on its grid already stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..diagnostics import Origin
from ..ir import Graph, Node, rebuild
from ..ops import Activation, MaxPool, Moved, Quantize
from ..ops.quantize import same_grid
from .base import only_user


@dataclass(frozen=True)
class FuseQuantizers:
    """Removes quantisers that change nothing and activations that a quantiser can compute."""

    name: ClassVar[str] = "fuse-quantizers"
    needs: ClassVar[frozenset[str]] = frozenset({"host-split"})
    makes: ClassVar[frozenset[str]] = frozenset({"quantizers-fused"})
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> Graph:
        """Return the graph with nothing left to fuse."""
        while (found := next(iter(fusible(graph)), None)) is not None:
            graph = _fuse(graph, found)
        return graph


def fusible(graph: Graph) -> list[Node]:
    """Return the quantisers that can be fused (the checker of ``quantizers-fused``)."""
    users, nodes = graph.users(), graph.by_name()
    return [
        n for n in graph.nodes
        if isinstance(n.op, Quantize) and (_idle(n, graph, nodes) or _activation(n, graph, users, nodes) is not None)
    ]  # fmt: skip


def _fuse(graph: Graph, node: Node) -> Graph:
    nodes = graph.by_name()
    if _idle(node, graph, nodes):
        return rebuild(graph, [n for n in graph.nodes if n is not node], {node.name: node.inputs[0]})
    before = nodes[node.inputs[0]]
    assert isinstance(node.op, Quantize)
    assert isinstance(before.op, Activation)
    origin = Origin.merge(before.origin, node.origin).touched_by("fuse-quantizers")
    fused = replace(node, op=replace(node.op, activation=before.op), inputs=before.inputs, origin=origin)
    return rebuild(graph, [fused if n is node else n for n in graph.nodes if n is not before])


def _activation(node: Node, graph: Graph, users: dict[str, list[Node]], nodes: dict[str, Node]) -> Node | None:
    """Return the activation that the quantiser alone reads."""
    before = nodes.get(node.inputs[0])
    if before is None or not isinstance(before.op, Activation) or only_user(users, graph, before.name) is not node:
        return None
    assert isinstance(node.op, Quantize)
    return before if node.op.activation.kind == "identity" else None


def _idle(node: Node, graph: Graph, nodes: dict[str, Node]) -> bool:
    """Return whether everything that reaches the quantiser through moves and max pools is on its grid already."""
    assert isinstance(node.op, Quantize)
    if node.op.activation.kind != "identity":
        return False
    levels = node.op.levels
    queue = list(node.inputs)
    while queue:
        value = queue.pop()
        source = nodes.get(value)
        if source is None:
            found = next(i.levels for i in graph.inputs if i.name == value)
            if found is None or not same_grid(found, levels):
                return False
        elif isinstance(source.op, Moved | MaxPool):
            queue.extend(source.inputs)
        elif not isinstance(source.op, Quantize) or not same_grid(source.op.levels, levels):
            return False
    return True
