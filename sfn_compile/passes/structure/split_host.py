"""split-host: moves what is before the first layer into the encoding, what is after the last into the decoding.

Given:  input -> Transpose -> Mul(1/255) -> Conv ... Gemm -> Softmax -> output
Result: the input is encoded after (Transpose, Mul); the output is decoded from Gemm, then Softmax is applied.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...foundation.diagnostics import CompileError, Diagnostic
from ...graph.graph import Graph, GraphInput
from ...graph.ops import Activation, ArgExtreme, Linear, Moved, Quantize, Softmax
from ...program.network import Concat, HostOp, Identity, Pad
from ..base import PassResult, only_user
from .host_end import split_outputs


def host_only(op: object) -> bool:
    """Return whether an op has no integer form: the decoder computes it, or nobody."""
    return isinstance(op, ArgExtreme) or (isinstance(op, Softmax) and (op.log or len(op.axes) != 1))


@dataclass(frozen=True)
class SplitHost:
    """Moves what is before the first layer into the encoder and the functions behind the last into the decoder."""

    name: ClassVar[str] = "split-host"
    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset({"host-split"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = False  # it moves the ends of the graph, so there is nothing to compare name by name

    def run(self, graph: Graph) -> PassResult:
        """Return the graph between encoder and decoder. Raises SFN202 for what only the host can and is not there."""
        graph = split_outputs(graph)
        for i in range(len(graph.inputs)):
            graph = _split_input(graph, i)
        problems = [
            Diagnostic("SFN202", "it stands inside the network, where it has no integer form yet", n.origin.nodes[0],
                       "it is supported at the end of the network")
            for n in graph.nodes if host_only(n.op)
        ]  # fmt: skip
        if not graph.nodes or any({i.name for i in graph.inputs}.issuperset(o.values) for o in graph.outputs):
            problems.append(Diagnostic("SFN105", "an output is the input itself: there is no layer to map"))
        if problems:
            raise CompileError(problems)
        return PassResult(graph)


def _split_input(graph: Graph, i: int) -> Graph:
    """Return the graph with what is directly behind input ``i``, and behind it alone, in its encoder."""
    source, users = graph.inputs[i], graph.users()
    gone: set[str] = set()
    while True:
        node = only_user(users, graph, source.name)
        if node is not None and isinstance(node.op, Quantize) and not graph.is_output(node.name):
            source = replace(source, name=node.name, levels=node.op.levels)  # encoded as the model's own quantiser does
            return _entered(graph, i, source, {*gone, node.name})
        op = None if node is None else _encoder_op(node.op)
        if node is None or op is None or graph.is_output(node.name):
            return _entered(graph, i, source, gone)
        source = GraphInput(
            node.name, source.model_name, source.model_shape, source.dtype, node.type, (*source.host, op)
        )
        gone.add(node.name)


def _entered(graph: Graph, i: int, source: GraphInput, gone: set[str]) -> Graph:
    inputs = (*graph.inputs[:i], source, *graph.inputs[i + 1 :])
    return replace(graph, inputs=inputs, nodes=tuple(n for n in graph.nodes if n.name not in gone))


def _encoder_op(op: object) -> HostOp | None:
    # Straight lines with bends have exact ladders and stay inside the proof; other functions would be rounded twice.
    if isinstance(op, Activation) and op.kind in ("sigmoid", "tanh", "scalar"):
        return op.as_host()
    if isinstance(op, Linear) and isinstance(op.map, Identity):
        return HostOp("affine", (("scale", op.map.weight), ("bias", op.bias)))
    if isinstance(op, Moved) and not isinstance(op.op, Concat | Pad):
        return HostOp("move", (("op", op.op),))
    return None
