"""fuse-scalars: element-wise parts of the network that read one value become one scalar function.

Given:  x -> Sigmoid -> s,  Mul(x, s) -> y          (SiLU as exporters write it)
Result: x -> Activation(mul(x, sigmoid(x))) -> y

A part is any directed acyclic piece of sums, products, quotients, affine steps and scalar functions between one value,
its *source*, and one result. Inner values that others read stay beside it. Affine steps at its border are left alone,
they fold into weights; only a scale behind a function that is a table anyway is included, where it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...foundation.diagnostics import CompileError, Diagnostic, Origin
from ...graph.graph import Graph, Node, rebuild, unique_name
from ...graph.ops import Activation, Add, Expression, Linear, Mul, Pointwise
from ...graph.ops.activation import scalar
from ...graph.ops.expression import IDENTITY, call
from ...graph.ops.linear import affine
from ...program.network import Identity
from ..base import PassResult, only_user

COMPARISONS = ("greater", "greater_equal", "equal")
FARTHEST = 64  # how many steps back a common source is looked for

Sources = dict[str, Expression]  # of one value, nearest first: what it is computed from by element-wise steps alone


@dataclass(frozen=True)
class FuseScalars:
    """Makes one Activation of every element-wise part that has one source and is not affine."""

    name: ClassVar[str] = "fuse-scalars"
    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset({"scalars-fused"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = True

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with fused functions. Raises SFN202 for a quotient of different values and the like."""
        graph = _fused(_compared(_fused(graph)))
        problems = [_refusal(n) for n in graph.nodes if isinstance(n.op, Pointwise)]
        if problems:
            raise CompileError(problems)
        return PassResult(graph)


def _fused(graph: Graph) -> Graph:
    while (joined := joins(graph)) or (joined := _chains(graph)):
        graph = rebuild(graph, [joined.get(n.name, n) for n in graph.nodes])
    return graph


def _compared(graph: Graph) -> Graph:
    """Return the graph with comparisons of two different values as one of their difference with 0."""
    types, nodes = graph.types(), list[Node]()
    known = set(types)
    for node in graph.nodes:
        alike = len({types[s].shape for s in node.inputs}) == 1
        if (
            not isinstance(node.op, Pointwise)
            or node.op.function not in COMPARISONS
            or len(node.inputs) < 2
            or not alike
        ):
            nodes.append(node)
            continue
        names = [unique_name(f"{node.name}/{part}", known.__contains__) for part in ("minus", "difference")]
        known.update(names)
        minus = affine(np.full((1,) * len(node.type.shape), -1.0), np.zeros(()))
        zero = scalar(call(node.op.function, IDENTITY, 0.0))
        origin = node.origin.touched_by("fuse-scalars")
        nodes.append(Node(names[0], minus, (node.inputs[1],), node.type, origin))
        nodes.append(Node(names[1], Add(), (node.inputs[0], names[0]), node.type, origin))
        nodes.append(Node(node.name, zero, (names[1],), node.type, origin, node.tap))
    return rebuild(graph, nodes)


def unfused(graph: Graph) -> list[str]:
    """Return the products and quotients that are a function of one value (the checker of ``scalars-fused``)."""
    return [name for name in joins(graph) if not isinstance(graph.by_name()[name].op, Add)]


# -- several operands: the nearest common source ------------------------------------------------------------------
def joins(graph: Graph) -> dict[str, Node]:
    """Return by name the Activations that stand for a node of several operands with one source."""
    sources: dict[str, Sources] = {i.name: {i.name: IDENTITY} for i in graph.inputs}
    found: dict[str, Node] = {}
    joined = _before_joins(graph)
    for node in graph.nodes:
        whole = _from_sources(node, sources) if node.name in joined else {}
        sources[node.name] = {node.name: IDENTITY, **dict(list(whole.items())[:FARTHEST])}
        if len(node.inputs) > 1 and whole:
            source, body = next(iter(whole.items()))
            if not body.is_affine() and _worth(node, source, graph):
                origin = Origin.merge(*(n.origin for n in _between(node, source, graph))).touched_by("fuse-scalars")
                found[node.name] = Node(node.name, scalar(body), (source,), node.type, origin, node.tap)
    return found


def _before_joins(graph: Graph) -> set[str]:
    """Return the nodes of several operands and the element-wise ones that lead to them: the rest has no say."""
    found: set[str] = set()
    for node in reversed(graph.nodes):
        if len(node.inputs) > 1 or node.name in found:
            found.add(node.name)
            if isinstance(node.op, Activation | Add | Mul | Pointwise) or _is_affine(node):
                found.update(node.inputs)
    return found


def _from_sources(node: Node, sources: dict[str, Sources]) -> Sources:
    """Return the node as a function of every value that it is computed from element by element, nearest first."""
    if isinstance(node.op, Activation):
        return {s: node.op.expression().after(e) for s, e in sources[node.inputs[0]].items()}
    if isinstance(node.op, Linear) and isinstance(node.op.map, Identity):
        step = _affine(node.op)
        return {s: step.after(e) for s, e in sources[node.inputs[0]].items()}
    if not isinstance(node.op, Add | Mul | Pointwise):
        return {}
    parts = [sources[s] for s in node.inputs]
    common = [s for s in parts[0] if all(s in p for p in parts)]
    if isinstance(node.op, Pointwise):
        return {s: call(node.op.function, *node.op.operands([p[s] for p in parts])) for s in common}
    return {s: call("add" if isinstance(node.op, Add) else "mul", *(p[s] for p in parts)) for s in common}


def _affine(op: Linear) -> Expression:
    scale, bias = np.asarray(op.map.weight), np.asarray(op.bias)
    body = IDENTITY if (scale == 1).all() else call("mul", IDENTITY, scale)
    return call("add", body, bias) if bias.any() else body


def _between(node: Node, source: str, graph: Graph) -> list[Node]:
    """Return the nodes from behind ``source`` up to ``node``, in order."""
    nodes, wanted, queue = graph.by_name(), {node.name}, [node]
    while queue:
        for name in queue.pop().inputs:
            if name != source and name not in wanted:
                wanted.add(name)
                queue.append(nodes[name])
    return [n for n in graph.nodes if n.name in wanted]


def _worth(node: Node, source: str, graph: Graph) -> bool:
    """Return whether fusing pays: a sum is a residual already, so only where no inner value is read elsewhere."""
    if not isinstance(node.op, Add):
        return True
    region, users = _between(node, source, graph), graph.users()
    inner = {n.name for n in region}
    return not any(graph.is_output(n.name) or any(u.name not in inner for u in users[n.name]) for n in region[:-1])


# -- one operand: functions of functions -------------------------------------------------------------------------
def _chains(graph: Graph) -> dict[str, Node]:
    """Return by name every Activation that can take in the function before it, but none twice in a chain."""
    users, nodes = graph.users(), graph.by_name()
    found: dict[str, Node] = {}
    touched: set[str] = set()
    for node in graph.nodes:
        path = _path(node, nodes, users, graph)
        if path is not None and touched.isdisjoint(n.name for n in path):
            touched.update(n.name for n in path)
            origin = Origin.merge(*(n.origin for n in reversed(path))).touched_by("fuse-scalars")
            found[node.name] = Node(node.name, _composed(path), path[-1].inputs, node.type, origin, node.tap)
    return found


def _path(node: Node, nodes: dict[str, Node], users: dict[str, list[Node]], graph: Graph) -> list[Node] | None:
    """Return the nodes that become one function, the last of them first, None where there is nothing to take in."""
    if not isinstance(node.op, Activation) and not _absorbable(node, users, graph):
        return None
    path = [node]
    while (before := nodes.get(path[-1].inputs[0])) is not None and only_user(users, graph, before.name) is not None:
        path.append(before)
        if not _is_affine(before) or not (len(path) < 3 or isinstance(node.op, Activation)):
            break
    inner = path[-1]
    if len(path) == 1 or not isinstance(inner.op, Activation):
        return None
    if not isinstance(node.op, Activation) and (inner.op.kind != "scalar" or len(path) > 2):
        return None
    return path


def _absorbable(node: Node, users: dict[str, list[Node]], graph: Graph) -> bool:
    """Return whether an affine step is merged into the function before it: a plain scale, or one that several read."""
    if not _is_affine(node):
        return False
    op = node.op
    assert isinstance(op, Linear)
    plain = np.asarray(op.map.weight).size == 1 and not np.any(op.bias)
    return plain or (only_user(users, graph, node.name) is None and not graph.is_output(node.name))


def _is_affine(node: Node) -> bool:
    return isinstance(node.op, Linear) and isinstance(node.op.map, Identity)


def _composed(path: list[Node]) -> Activation:
    """Return the function of the whole path, outermost first; a clip of a clip stays a clip."""
    outer, inner = path[0].op, path[-1].op
    if len(path) == 2 and isinstance(outer, Activation) and isinstance(inner, Activation):
        bounds = _bounds(outer), _bounds(inner)
        if bounds[0] is not None and bounds[1] is not None:
            lo, hi = (float(np.clip(b, *bounds[0])) for b in bounds[1])
            return Activation("relu") if (lo, hi) == (0.0, np.inf) else Activation("clip", lo, hi)
    body = IDENTITY
    for node in reversed(path):
        op = node.op
        body = (op.expression() if isinstance(op, Activation) else _affine(op)).after(body)  # type: ignore[arg-type]
    return scalar(body)


def _bounds(op: Activation) -> tuple[float, float] | None:
    return {"relu": (0.0, np.inf), "clip": (op.a, op.b)}.get(op.kind)


def _refusal(node: Node) -> Diagnostic:
    assert isinstance(node.op, Pointwise)
    if node.op.function == "div":
        what = "its divisor is computed from another value than the dividend: spikes add and multiply only"
        fix = "divide by a constant; or compute 1 / divisor in its own branch from one value, and multiply"
    else:
        what = f"it takes {node.op.function} of two different computed values"
        fix = "only what is a function of one value can be mapped"
    return Diagnostic("SFN202", what, node.origin.nodes[0], fix)
