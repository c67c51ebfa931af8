"""In a model that is made for a batch of one, any axis of length 1 may be the batch, and none need be.

One sample is the whole tensor then, in the same row-major order wherever the batch is said to be. So where operands
disagree, or an operator works along the axis that was taken for the batch, they are read another way: with the batch in
front, else as whole tensors. No choice has to hold for the whole graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir

from ..graph.ops import Moved
from ..program.network import Reshape
from .batch_layout import FRONT, WHOLE, Layout
from .context import Context


def readings(node: ir.Node, context: Context, anywhere: bool) -> Iterator[Layout]:
    """Yield the layouts that all computed operands of a node may be read in, beside the one that they have."""
    names = _computed(node, context)
    dims = [context.dims(name) for name in names]
    if context.batch != 1 or not names:
        return
    laid = [context.layouts.get(name, FRONT) for name in names]
    if len({len(d) for d in dims}) == 1 and all(d[:1] == (1,) for d in dims) and any(one != FRONT for one in laid):
        yield FRONT
    if anywhere:
        yield WHOLE


@contextmanager
def read_as(layout: Layout, node: ir.Node, context: Context) -> Iterator[None]:
    """Let the computed operands of a node have ``layout`` within the block."""
    names = _computed(node, context)
    values, layouts = ({n: table.get(n) for n in names} for table in (context.values, context.layouts))
    for name in names:
        context.values[name] = relaid(name, layout, node, context)
        context.layouts[name] = layout
    try:
        yield
    finally:
        for name in names:
            context.values[name] = str(values[name])
            before = layouts[name]
            if isinstance(before, Layout):
                context.layouts[name] = before
            else:
                del context.layouts[name]


def relaid(name: str, layout: Layout, node: ir.Node, context: Context) -> str:
    """Return the graph value of an ONNX value with its sample shaped for ``layout``."""
    value, shape = context.values[name], layout.sample_shape(context.dims(name))
    if context.types[value].shape == shape:
        return value
    made = context.emit(Moved(Reshape(shape)), (value,), node)
    if value in context.masked:
        context.masked.add(made)
    return made


def _computed(node: ir.Node, context: Context) -> list[str]:
    names = dict.fromkeys(str(v.name) for v in node.inputs if v is not None and v.name)
    return [name for name in names if name in context.values and name not in context.constants]
