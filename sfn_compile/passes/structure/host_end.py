"""Where an output leaves the network: what is in front of it and is the decoder's, back to the layers it reads.

Given:  Conv -> h, Conv -> g, Concat(h, MaxPool(g)) -> Sigmoid -> output
Result: the output is decoded from the accumulators of h and g; then max_pool of g, move (Concat) of both, sigmoid

A move, a maximum, a mean or an interpolation of accumulators is exact on the host; inside the network it would need
their values as codes, rounded to the levels of a site.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...graph.graph import Graph, GraphOutput, Node, live_nodes
from ...graph.ops import Activation, Add, ArgExtreme, Linear, MatMul, MaxPool, Moved, Mul, Quantize, Softmax
from ...program.linear_maps import Conv, Gather, Identity, SumPool
from ...program.network import Concat, HostOp, Pad
from .compose_pools import pairs

# Fixed weights of an interpolation sum up to 1 within what float64 rounds.
SUMS_TO_ONE = 2.0**-40


def split_outputs(graph: Graph) -> Graph:
    """Return the graph that ends where its outputs are read; what stood behind is in their ``host`` operations."""
    ends = _Ends(graph)
    changed = replace(graph, outputs=tuple(map(ends.output, graph.outputs)))
    return replace(changed, nodes=live_nodes(graph.nodes, changed.decoded()))


class _Ends:
    """Which values the host makes where an output needs them: ``hosted``, with its operation in ``ops``."""

    def __init__(self, graph: Graph):
        self.graph, self.nodes, self.users = graph, graph.by_name(), graph.users()
        self.composed = {outer.name for _, outer, _ in pairs(graph)}
        self.behind_softmax = _behind_softmax(graph)
        self.raw: set[str] = set()  # no codes by themselves: sums, and moves, maxima and means of them
        self.functions: set[str] = set()  # functions, maxima, means, and what is scaled, moved and added behind them
        self.gathered: set[str] = set()  # maxima and means, and what is made of them
        self.ops: dict[str, HostOp] = {}
        for node in graph.nodes:
            self._note(node)
        self.tails: set[str] = set()  # what the host can make and nothing in the network reads
        for node in reversed(graph.nodes):
            if node.name in self.ops and all(u.name in self.tails for u in self.users[node.name]):
                self.tails.add(node.name)
        self.hosted: set[str] = set()
        for node in graph.nodes:
            if node.name in self.ops and self._is_hosted(node):
                self.hosted.add(node.name)

    def output(self, out: GraphOutput) -> GraphOutput:
        """Return the output, decoded from values of the network."""
        needed, found = {out.value}, _Found()
        for node in reversed(self.graph.nodes):
            if node.name in needed and node.name in self.hosted:
                needed.update(node.inputs)
        for value in self.graph.types():
            if value in needed:
                hosted = value in self.hosted
                found.add(value, self.ops[value] if hosted else None, self.nodes[value].inputs if hosted else ())
        return found.output(out)

    def _note(self, node: Node) -> None:
        op = self._host_op(node)
        through = isinstance(node.op, Moved | MaxPool) and not self.raw.isdisjoint(node.inputs)
        if through or isinstance(node.op, Linear | Add | Mul | MatMul):
            self.raw.add(node.name)
        if op is not None and any(s in self.nodes for s in node.inputs):
            self.ops[node.name] = op
        if self._is_function(node, op):
            self.functions.add(node.name)
            means = op is not None and op.kind in ("max_pool", "linear")
            if means or not self.gathered.isdisjoint(node.inputs):
                self.gathered.add(node.name)

    def _is_function(self, node: Node, op: HostOp | None) -> bool:
        """Return whether a scale behind this node is the host's, not that of the layer before it."""
        if isinstance(node.op, Softmax | Activation | MaxPool) or (op is not None and op.kind == "linear"):
            return True
        if isinstance(node.op, Moved) and isinstance(node.op.op, Concat | Pad):
            return True
        scaled = isinstance(node.op, Moved) or _is_affine(node) or (op is not None and op.kind in ("add", "mul"))
        return scaled and not self.functions.isdisjoint(node.inputs)

    def _is_hosted(self, node: Node) -> bool:
        """Return whether the host makes a value that an output needs.

        A function is its own only where its source has no reader in the network: else one population serves both. A sum
        or product is where the host makes all its terms, or the maximum or mean that is one of them; a residual behind
        a ReLU is the network's. What only moves numbers, or takes their maximum or mean, always is the host's: the
        network would read them rounded.
        """
        if isinstance(node.op, Add | Mul):
            made = [s in self.hosted and s in self.functions for s in node.inputs]
            return all(made) or any(m and s in self.gathered for m, s in zip(made, node.inputs, strict=True))
        if isinstance(node.op, Moved | MaxPool | Linear):
            return True
        if isinstance(node.op, Softmax | ArgExtreme | Quantize):
            return node.name in self.tails
        return node.name in self.tails and all(u.name in self.tails for s in node.inputs for u in self.users[s])

    def _host_op(self, node: Node) -> HostOp | None:
        op = node.op
        if isinstance(op, Softmax | ArgExtreme | Activation | MaxPool):
            return op.as_host()
        if isinstance(op, Quantize):
            return op.as_host() if node.name in self.behind_softmax else None
        if isinstance(op, Moved):
            return HostOp("move", (("op", op.op),))
        if isinstance(op, Add | Mul):
            known = not self.functions.isdisjoint(node.inputs)
            return HostOp("add" if isinstance(op, Add) else "mul") if known else None
        if not isinstance(op, Linear):
            return None
        if isinstance(op.map, Identity):
            # Behind a function the host scales, behind a layer the scale is the layer's.
            scaled = HostOp("affine", (("scale", op.map.weight), ("bias", op.bias)))
            return scaled if node.inputs[0] in self.functions else None
        # Of accumulators, moved or pooled, that would have to be fired for it.
        read = node.inputs[0] in self.raw and node.name not in self.composed
        return HostOp("linear", (("map", op.map),)) if read and _is_mean(op) else None


@dataclass
class _Found:
    """What an output is decoded from, in the order of the graph: names of values, and operations on others of them."""

    parts: list[str] = field(default_factory=list)
    ops: dict[str, tuple[HostOp, tuple[str, ...]]] = field(default_factory=dict)

    def add(self, value: str, op: HostOp | None, read: tuple[str, ...]) -> None:
        """Note a value that is decoded (``op`` is None), or made by an operation on values noted before."""
        if op is None:
            self.parts.append(value)
        else:
            self.ops[value] = (op, read)

    def output(self, out: GraphOutput) -> GraphOutput:
        """Return the output; its parts are numbered first, then the operations."""
        numbers = {value: i for i, value in enumerate((*self.parts, *self.ops))}
        host = []
        for value, (op, read) in self.ops.items():
            reads = tuple(numbers[r] for r in read)
            host.append(replace(op, reads=() if reads == (numbers[value] - 1,) else reads))
        first, *joined = self.parts
        return replace(out, value=first, joined=tuple(joined), host=(*host, *out.host))


def _is_affine(node: Node) -> bool:
    return isinstance(node.op, Linear) and isinstance(node.op.map, Identity)


def _is_mean(op: Linear) -> bool:
    """Return whether a map has the fixed weights of a mean or an interpolation: of every channel alone, adding up to 1.

    A single tap of an interpolation (Gather), which a sum completes, has no more than a part of that.
    """
    if np.any(op.bias) or op.unit is not None:
        return False
    if isinstance(op.map, SumPool):
        return True
    if isinstance(op.map, Conv) and op.map.groups > 1:
        weight = op.map.weight
        each = weight.reshape(op.map.groups, -1, int(np.prod(weight.shape[1:])))
        return weight.shape[1] == 1 and bool((each == each[:1]).all() and (abs(each.sum(-1) - 1) < SUMS_TO_ONE).all())
    return isinstance(op.map, Gather)


def _behind_softmax(graph: Graph) -> set[str]:
    """Return the values that a Softmax reaches without a layer in between: a quantiser there is the decoder's."""
    found: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, Softmax) or (isinstance(node.op, Moved | Quantize) and found.issuperset(node.inputs)):
            found.add(node.name)
    return found
