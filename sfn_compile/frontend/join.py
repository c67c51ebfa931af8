"""What is settled when all nodes are imported: affine steps behind a normalisation, and who reads masked scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from ..foundation.diagnostics import Diagnostic, Origin
from ..graph.graph import Node
from ..graph.ops import Add, Linear, Moved, Normalize, Softmax
from ..program.network import Identity


def with_affine_norms(nodes: Sequence[Node], outputs: Collection[str]) -> tuple[Node, ...]:
    """Return the nodes with the scale and bias that are behind a normalisation inside of it.

    So a LayerNorm that was written out is the same op as one that the file names.
    """
    uses = Counter(name for n in nodes for name in n.inputs)
    kept: dict[str, Node] = {}
    for node in nodes:
        before = kept.get(node.inputs[0]) if _is_affine(node) else None
        only = before is not None and uses[before.name] == 1 and before.name not in outputs
        if before is not None and only and isinstance(before.op, Normalize):
            node = _joined(kept.pop(before.name), node)
        kept[node.name] = node
    return tuple(kept.values())


def _is_affine(node: Node) -> bool:
    return isinstance(node.op, Linear) and isinstance(node.op.map, Identity) and node.op.unit is None


def _joined(norm: Node, step: Node) -> Node:
    assert isinstance(norm.op, Normalize)
    assert isinstance(step.op, Linear)
    assert isinstance(step.op.map, Identity)
    weight = step.op.map.weight
    op = replace(norm.op, scale=weight * norm.op.scale, bias=weight * norm.op.bias + step.op.bias)
    return replace(step, op=op, inputs=norm.inputs, origin=Origin.merge(norm.origin, step.origin))


def _passes_on(node: Node) -> bool:
    """Return whether minus infinity stays what it is, or becomes 0 in a Softmax."""
    if isinstance(node.op, Linear) and isinstance(node.op.map, Identity):
        return bool((node.op.map.weight > 0).all())
    return isinstance(node.op, Add | Moved | Softmax)


def masked_readers(nodes: Sequence[Node], masked: Collection[str], outputs: Collection[str]) -> list[Diagnostic]:
    """Return a refusal (SFN202) of every node that reads minus infinity, other than on the way to a Softmax."""
    fix = "only a Softmax takes them: export the mask with a large negative number instead"
    found = []
    for node in nodes:
        if not _passes_on(node) and any(name in masked for name in node.inputs):
            what = "it reads scores that a mask has set to minus infinity"
            found.append(Diagnostic("SFN202", what, node.origin.nodes[0], fix))
        if node.name in outputs and node.name in masked:
            found.append(Diagnostic("SFN202", "an output holds minus infinity", node.origin.nodes[0], fix))
    return found
