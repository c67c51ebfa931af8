"""Which sites get the levels of attention and which stay uniform: what reads a site, and what it is for, says so."""

from __future__ import annotations

from collections.abc import Mapping

from ...graph.graph import Graph, Node
from ...graph.ops import Layer, Moved, Normalize
from ...program.network import Identity, Matmul


def fine_sites(graph: Graph) -> dict[str, str]:
    """Return the sites that get the levels of attention, each with its reason.

    Factors of matrix products, directly or through moves; what only normalisations read, since dividing by a small
    deviation makes rounding large; a normalisation that sums read as it is, where rounding would add up; and a signed
    site that is only read as it is, so that it is rounded again, unless another population fires its rounding error.
    """
    nodes, users, found = graph.by_name(), graph.users(), dict[str, str]()
    waiting = [
        s for n in graph.nodes if isinstance(n.op, Layer) for q in n.op.drivers(n.inputs)[1]
        if isinstance(q.form, Matmul) for s in (q.left, q.right)
    ]  # fmt: skip
    while waiting:
        name = waiting.pop()
        if name in nodes and isinstance(nodes[name].op, Moved):
            waiting += nodes[name].inputs
        else:
            found[name] = "factor of a matrix product of spikes"
    for node in graph.nodes:
        readers = users[node.name]
        if isinstance(node.op, Layer) and readers and all(isinstance(u.op, Normalize) for u in readers):
            found.setdefault(node.name, "read by a normalisation alone")
        if isinstance(node.op, Normalize) and any(_adds(u, node.name) for u in readers):
            found.setdefault(node.name, "a normalisation that a sum reads as it is")
        if isinstance(node.op, Layer) and _is_signed(node.op, users[node.name]) and _only_added(node.name, users):
            found.setdefault(node.name, "only read as it is, and rounded again there")
    return found


def plain_sites(graph: Graph) -> dict[str, str]:
    """Return the Layers whose ladder is uniform and rounds to nearest whatever the method, each with its reason."""
    found = dict[str, str]()
    for node in graph.nodes:
        if isinstance(node.op, Layer) and node.op.norm_axis is not None:
            found[node.name] = "its threshold follows the sum of a row"
        if isinstance(node.op, Layer) and node.op.rounding_of:
            found[node.op.rounding_of] = "another population fires its rounding error"
    return found


def _is_signed(layer: Layer, readers: list[Node]) -> bool:
    """Return whether a Layer fires a sum as it is, and no population fires its rounding error."""
    carried = layer.rounding_of or any(isinstance(u.op, Layer) and u.op.rounding_of for u in readers)
    return layer.activation is not None and layer.activation.kind == "identity" and not carried


def _only_added(value: str, users: Mapping[str, list[Node]]) -> bool:
    """Return whether all that reads a value, through moves, are sums of single codes."""
    readers = users[value]
    moved = all(_only_added(u.name, users) if isinstance(u.op, Moved) else _adds(u, value) for u in readers)
    return bool(readers) and moved


def _adds(reader: Node, value: str) -> bool:
    """Return whether a Layer reads a value as it is, element by element."""
    if not isinstance(reader.op, Layer):
        return False
    return any(p.source == value and isinstance(p.map, Identity) for p in reader.op.drivers(reader.inputs)[0])
