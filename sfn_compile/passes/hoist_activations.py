"""hoist-activations: a non-decreasing activation moves in front of the moves and max pools before it.

``relu(maxpool(z)) = maxpool(relu(z))``, so the population fires before the pool and the pool sees codes. The same
holds for moves, for Pad where f(0) = 0, and for Concat of values that nobody else reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..ir import Graph, Node, TensorType, rebuild, unique_name
from ..ops import Activation, Add, Linear, MaxPool, Moved, Mul, Quantize
from ..program import Pad
from .base import only_user
from .fold_affine import FoldAffine


@dataclass(frozen=True)
class HoistActivations:
    """Lets every activation that can read a linear value read one."""

    name: ClassVar[str] = "hoist-activations"
    needs: ClassVar[frozenset[str]] = frozenset({"affine-folded"})
    makes: ClassVar[frozenset[str]] = frozenset({"activations-early"})
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> Graph:
        """Return the graph with activations as early as they can be."""
        while (pair := next(iter(hoistable(graph)), None)) is not None:
            # A move that stood before the activation now stands behind it, where an affine step can pass it in turn.
            graph = FoldAffine().run(_swap(graph, *pair))
        return graph


def hoistable(graph: Graph) -> list[tuple[Node, Node]]:
    """Return the pairs (activation, the move or max pool before it) that can still change places."""
    users, nodes = graph.users(), graph.by_name()
    found = []
    for node in graph.nodes:
        before = nodes.get(node.inputs[0])
        if before is None or not isinstance(node.op, Activation | Quantize) or not _commutes(node.op, before):
            continue
        sources = [nodes.get(s) for s in before.inputs]
        if only_user(users, graph, before.name) is node and all(_waits(s, users, graph) for s in sources):
            found.append((node, before))
    return found


def _commutes(activation: Activation | Quantize, before: Node) -> bool:
    if isinstance(activation, Quantize):
        if activation.levels.step.size > 1:
            return False
        activation = activation.activation
    if isinstance(before.op, Moved):
        return not isinstance(before.op.op, Pad) or activation.keeps_zero()
    return isinstance(before.op, MaxPool)


def _waits(source: Node | None, users: dict[str, list[Node]], graph: Graph) -> bool:
    """Return whether a value is not spikes yet (so firing it here is no extra population) and has one reader."""
    if source is None or only_user(users, graph, source.name) is None:
        return False
    return isinstance(source.op, Linear | Add | Mul | Moved | MaxPool)


def _swap(graph: Graph, node: Node, before: Node) -> Graph:
    types = graph.types()
    fired = []
    for source in before.inputs:
        kind = node.op.kind if isinstance(node.op, Activation) else "quantize"
        name = unique_name(f"{source}/{kind}", types.__contains__)
        types[name] = TensorType(types[source].shape)
        fired.append(Node(name, node.op, (source,), types[name], node.origin.touched_by("hoist-activations")))
    moved = Node(node.name, before.op, tuple(f.name for f in fired), node.type,
                 before.origin.touched_by("hoist-activations"), node.tap)  # fmt: skip
    changed = {before.name: (*fired, moved), node.name: ()}
    nodes = [new for old in graph.nodes for new in changed.get(old.name, (old,))]
    return rebuild(graph, nodes)
