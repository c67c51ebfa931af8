"""encode-inputs: the host subtracts an offset per channel from an input; the biases of its readers include it.

Given:  x (kelvins, 309..313) -> Dense -> Relu
Result: x - 309 -> Dense, its bias larger by W 309 -> Relu

The real numbers stay the same. Where a convolution pads with zeros, padding is code 0 as ever, the number that the host
subtracted is missing there, and the bias says so: it differs at the border. Biases that differ from place to place cost
thresholds of their own, so a padded convolution gets an offset only where rounding without it would be rough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...calibration.input_survey import InputSurvey
from ...foundation.options import Options
from ...graph.graph import Graph, GraphInput, Node
from ...graph.ops import Layer, Moved
from ...program.broadcast import ROUNDING, along, channel_vector, compress
from ...program.network import HostOp
from ..base import PassResult
from .input_codes import InputCode, grids_of, is_rough, plain_code, shifted_code

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class EncodeInputs:
    """Gives every input its channel axis, the offsets that the host subtracts, and the grid of its values.

    ``seen``: what samples look like, of the inputs whose levels the compiler chooses.
    """

    seen: Mapping[str, InputSurvey]
    options: Options

    name: ClassVar[str] = "encode-inputs"
    needs: ClassVar[frozenset[str]] = frozenset({"sites-placed"})
    makes: ClassVar[frozenset[str]] = frozenset()
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = False  # it moves the ends of the graph, so there is nothing to compare name by name

    def run(self, graph: Graph) -> PassResult:
        """Return the graph between the new encoders."""
        for source in graph.inputs:
            if source.name in self.seen:
                graph = self._encoded(graph, source, self.seen[source.name])
        return PassResult(graph)

    def _encoded(self, graph: Graph, source: GraphInput, seen: InputSurvey) -> Graph:
        grids = grids_of(seen)
        code = shifted_code(seen, grids)
        if code is not None:
            found = with_offset(graph, source.name, along(seen.axis, len(source.type.shape), code.offset))
            if found is not None and (is_even(graph, found) or is_rough(seen, self.options.most_input_levels)):
                return _with_input(found, source.name, seen, code)
        return _with_input(graph, source.name, seen, plain_code(seen, grids))


def _with_input(graph: Graph, name: str, seen: InputSurvey, code: InputCode) -> Graph:
    inputs = tuple(replace(i, axis=seen.axis, grid=code.grid) if i.name == name else i for i in graph.inputs)
    return replace(graph, inputs=inputs)


def with_offset(graph: Graph, name: str, offset: Array) -> Graph | None:
    """Return the graph whose input ``name`` is smaller by ``offset`` (broadcastable), None where it has no such form.

    Layers whose sums read the input, directly or through moves, have one; products, quotients, pools and outputs of
    the input itself do not.
    """
    shapes = {i.name: i.type.shape for i in graph.inputs}
    missing: dict[str, Array] = {name: np.broadcast_to(offset, shapes[name])}
    nodes = []
    for node in graph.nodes:
        if missing.keys().isdisjoint(node.inputs):
            nodes.append(node)
            continue
        changed = _behind(node, missing, graph)
        if changed is None:
            return None
        nodes.append(changed)
    if any(out.value in missing for out in graph.outputs):
        return None
    subtracted = HostOp("affine", (("scale", np.ones(())), ("bias", -np.asarray(offset, np.float64))))
    inputs = tuple(replace(i, host=(*i.host, subtracted)) if i.name == name else i for i in graph.inputs)
    return replace(graph, inputs=inputs, nodes=tuple(nodes))


def _behind(node: Node, missing: dict[str, Array], graph: Graph) -> Node | None:
    """Return a reader of values that miss something; a move's result misses it too. None where it has no such form."""
    op, types = node.op, graph.types()
    if isinstance(op, Moved):
        parts = [missing.get(s, np.zeros(types[s].shape)) for s in node.inputs]
        missing[node.name] = op.evaluate(*(p[None] for p in parts))[0]
        return replace(node, tap=None)  # the model's own value is not this one any more
    if not isinstance(op, Layer) or op.norm_axis is not None:
        return None
    n = len(op.terms)
    if not missing.keys().isdisjoint(node.inputs[n:]):
        return None
    added = [t.map.apply(missing[s][None], np.float64)[0]
             for t, s in zip(op.terms, node.inputs[:n], strict=True) if s in missing]  # fmt: skip
    total = compress(np.sum(added, axis=0), ROUNDING)
    bias = np.add(*np.broadcast_arrays(np.asarray(op.bias, np.float64), total)) if total.any() else op.bias
    return replace(node, op=replace(op, bias=compress(bias)), origin=node.origin.touched_by(EncodeInputs.name))


def is_even(before: Graph, after: Graph) -> bool:
    """Return whether every bias that is the same in all places of a channel still is."""
    old = before.by_name()
    return all(
        _is_per_channel(node) or not _is_per_channel(old[node.name])
        for node in after.nodes if isinstance(node.op, Layer) and node.op is not old[node.name].op
    )  # fmt: skip


def _is_per_channel(node: Node) -> bool:
    op = node.op
    return isinstance(op, Layer) and channel_vector(op.bias, node.type.shape, op.axis) is not None
