"""Along which axes of an input steps may differ: where no reader sums up or compares codes of two channels."""

from __future__ import annotations

import numpy as np

from ...graph.graph import Graph, GraphInput
from ...graph.ops import Layer, MaxPool, Moved, Normalize
from ...graph.steps import Array, contracted, effective, moved_step
from ...program.broadcast import along, channel_vector
from ...program.network import Shape


def separate_axes(graph: Graph, source: GraphInput) -> tuple[int, ...]:
    """Return the axes of one sample along which every channel of the input may have a step of its own."""
    return tuple(a for a in range(len(source.type.shape)) if _is_separate(graph, source, a))


def _is_separate(graph: Graph, source: GraphInput, axis: int) -> bool:
    """Return whether steps that all differ along ``axis`` reach every reader of the input in a form that it takes."""
    rank, shapes = len(source.type.shape), {name: t.shape for name, t in graph.types().items()}
    one = {name: np.ones((1,) * len(shape)) for name, shape in shapes.items()}
    steps = {**one, source.name: along(axis, rank, np.arange(1.0, source.type.shape[axis] + 1))}
    changed = {source.name}
    for node in graph.nodes:
        if not changed.intersection(node.inputs):
            continue
        if isinstance(node.op, Layer) and not _takes(node.op, node.inputs, steps, shapes):
            return False
        if isinstance(node.op, Normalize) and any(steps[s].size > 1 for s in node.inputs):
            return False
        if isinstance(node.op, MaxPool) and channel_vector(steps[node.inputs[0]], shapes[node.inputs[0]], 0) is None:
            return False
        if isinstance(node.op, MaxPool | Moved):
            steps[node.name] = moved_step(node, steps, shapes)
            changed.add(node.name)
    return True


def _takes(layer: Layer, inputs: tuple[str, ...], steps: dict[str, Array], shapes: dict[str, Shape]) -> bool:
    """Return whether a Layer's maps and products have a form on codes of these steps."""
    projections, products = layer.drivers(inputs)
    if any(effective(p.map, steps[p.source], shapes[p.source]) is None for p in projections):
        return False
    return not any(
        contracted(q.form, side, steps[factor], shapes[factor])
        for q in products for side, factor in enumerate((q.left, q.right))
    )  # fmt: skip
