"""fuse-quantizers: merges the preceding activation into an imported quantiser; removes those that change no value.

Given:  Conv -> Relu -> Quantize -> MaxPool -> Quantize (the same grid) -> Conv
Result: Conv -> Quantize(relu) -> MaxPool -> Conv

A quantiser is what decides the levels of a site, so the activation before it belongs to the same population. Exporters
put a second quantiser behind everything that only moves or compares codes; codes on its grid already stay as they are.
A ReLU that reads codes of a grid gives codes of that grid, without a quantiser of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...foundation.diagnostics import Origin
from ...graph.graph import Graph, Levels, Node, rebuild
from ...graph.ops import Activation, MaxPool, Moved, Quantize
from ...graph.ops.quantize import same_grid
from ..base import PassResult, only_user


@dataclass(frozen=True)
class FuseQuantizers:
    """Removes quantisers that change nothing and activations that a quantiser can compute."""

    name: ClassVar[str] = "fuse-quantizers"
    needs: ClassVar[frozenset[str]] = frozenset({"host-split"})
    makes: ClassVar[frozenset[str]] = frozenset({"quantizers-fused"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with nothing left to fuse."""
        while (found := next(iter(fusible(graph)), None)) is not None:
            graph = _fuse(graph, found)
        return PassResult(graph)


def fusible(graph: Graph) -> list[Node]:
    """Return the nodes that can be fused (the checker of ``quantizers-fused``)."""
    users, nodes = graph.users(), graph.by_name()
    found = []
    for node in graph.nodes:
        if isinstance(node.op, Quantize):
            if _idle(node, graph, nodes) or _activation(node, graph, users, nodes) is not None:
                found.append(node)
        elif isinstance(node.op, Activation) and node.op.kind == "relu" and _grid(node, graph, nodes) is not None:
            found.append(node)
    return found


def _fuse(graph: Graph, node: Node) -> Graph:
    nodes = graph.by_name()
    if isinstance(node.op, Activation):
        return rebuild(graph, [_rectified(n, graph, nodes) if n is node else n for n in graph.nodes])
    if _idle(node, graph, nodes):
        return rebuild(graph, [n for n in graph.nodes if n is not node], {node.name: node.inputs[0]})
    before = nodes[node.inputs[0]]
    assert isinstance(node.op, Quantize)
    assert isinstance(before.op, Activation)
    origin = Origin.merge(before.origin, node.origin).touched_by("fuse-quantizers")
    fused = replace(node, op=replace(node.op, activation=before.op), inputs=before.inputs, origin=origin)
    return rebuild(graph, [fused if n is node else n for n in graph.nodes if n is not before])


def _rectified(node: Node, graph: Graph, nodes: dict[str, Node]) -> Node:
    levels = _grid(node, graph, nodes)
    assert isinstance(node.op, Activation)
    assert levels is not None
    op = Quantize(replace(levels, lo=max(levels.lo, 0)), node.op)
    return replace(node, op=op, origin=node.origin.touched_by("fuse-quantizers"))


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
    found = None if node.op.activation.kind != "identity" else _grid(node, graph, nodes)
    return found is not None and same_grid(found, node.op.levels)


def _grid(node: Node, graph: Graph, nodes: dict[str, Node]) -> Levels | None:
    """Return the one grid of everything that reaches a node through moves and max pools, None where there is none."""
    stated = {i.name: i.levels for i in graph.inputs}
    found: Levels | None = None
    queue = list(node.inputs)
    while queue:
        value = queue.pop()
        source = nodes.get(value)
        if source is not None and isinstance(source.op, Moved | MaxPool):
            queue.extend(source.inputs)
            continue
        levels = stated.get(value) if source is None else getattr(source.op, "levels", None)
        if levels is None or (found is not None and not (same_grid(found, levels) or same_grid(levels, found))):
            return None
        found = levels if found is None or same_grid(found, levels) else found
    return found
