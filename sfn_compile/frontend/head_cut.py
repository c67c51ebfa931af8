"""The host head: the start of a graph that is no neural layer, cut off as an ONNX model of its own.

Spectrograms, normalisation by a sample's own minimum and maximum, decoding of bytes. It is left to the host where the
network cannot be mapped as a whole, never silently and never a layer with trained weights.
``docs/adr/0049-host-head.md`` says why these rules.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from ..foundation.diagnostics import fail
from ..foundation.samples import ModelInput
from .context import node_label
from .cut_file import Dims, before, behind, constant, cut_file, dims_of, standard
from .fixed_maps import is_fixed
from .head_cost import Cost, cost_of
from .inputs import TYPES
from .tail_cut import ALLOWED

SIGNALS = "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix MeanVarianceNormalization Pad STFT"
NUMBERS = (
    "Acos Acosh Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CastLike Cos Cosh IsInf "
    "IsNaN Mean Sin Sinh Softplus Tan Xor"
)
MORE = "DepthToSpace ReduceMean ReduceProd Resize SpaceToDepth Trilu"
START = frozenset((ALLOWED | set(f"{SIGNALS} {NUMBERS} {MORE}".split())) - {"NonMaxSuppression"})
# What the encoder computes itself, exactly, need not be in the head.
ENCODED = frozenset(("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"))
SCALED = frozenset(("Add", "Div", "Mul", "Sub"))
# Whatever is behind a head is a network only where one of these is there.
LAYERS = frozenset((
    "Conv", "ConvInteger", "ConvTranspose", "QLinearConv", "MatMul", "MatMulInteger", "QLinearMatMul", "Gemm", "QGemm",
    "Einsum", "Attention", "MultiHeadAttention",
))  # fmt: skip


@dataclass(frozen=True, eq=False)
class HostHead:
    """The start of a model that the host computes with onnxruntime.

    ``nodes`` are its ONNX nodes as messages name them, ``made`` the names of the values that they compute; ``cuts`` the
    values that it hands to the network (and to the tail), each as one more input; ``inputs`` the model inputs that it
    reads. ``model`` is the ONNX file, ``batch`` the number of samples that it takes at a time.
    """

    nodes: tuple[str, ...]
    made: frozenset[str]
    cuts: tuple[ModelInput, ...]
    inputs: tuple[str, ...]
    model: bytes
    batch: int
    cost: Cost


def head_nodes(model: ir.Model, labels: Collection[str], batch: int | None) -> list[ir.Node]:
    """Return, in order, the nodes of the head for those named in ``labels`` that may be left to the host.

    It is what hangs together with them inside the largest start of the graph that is made of allowed kinds only,
    without what the encoder computes itself behind the last of them. Empty where no layer would be left behind it, or
    where a layer would read from it what no network takes as an input.
    """
    start = _start(model)
    asked = {n for n in start if node_label(n) in labels}
    if not any(n.op_type in LAYERS and n not in start for n in model.graph):
        return []
    while True:
        kept = _without_encoded(model, _together(asked, start), asked, batch or 1)
        more = _odd_readers(kept, batch or 1)
        if not more <= start.keys():
            return []
        if more <= asked:
            return [n for n in model.graph if n in kept]
        asked |= more


def _together(asked: Collection[ir.Node], start: Collection[ir.Node]) -> set[ir.Node]:
    """Return what hangs together with some nodes inside the start."""
    found: set[ir.Node] = set()
    waiting = list(asked)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n in (*before(node), *behind(node)) if n in start]
    return found


def _odd_readers(inside: Collection[ir.Node], batch: int) -> set[ir.Node]:
    """Return the nodes behind a head that read from it what no network takes as an input: truth values, shapes."""
    ends = [v for n in inside for v in n.outputs if _leaves(v, inside)]
    odd = [v for v in ends if (v.dtype is not None and v.dtype not in TYPES) or _is_shared(v, batch)]
    return {user for v in odd for user, _ in v.uses() if user not in inside}


def _is_shared(value: ir.Value, batch: int) -> bool:
    """Whether a value of known shape has no axis in front that can count the samples."""
    return value.shape is not None and not _has_batch(_dims(value), batch)


def make_head(
    model: ir.Model, nodes: Sequence[ir.Node], inputs: Sequence[ModelInput], batch: int | None
) -> HostHead | None:
    """Return the head of these nodes, None where a value that it hands over is no input of a network.

    Raises SFN101 where the graph cannot be cut there.
    """
    inside, known = set(nodes), {i.name for i in inputs}
    ends = [v for n in nodes for v in n.outputs if _leaves(v, inside)]
    read = dict.fromkeys(v for n in nodes for v in n.inputs if v is not None and v.producer() not in inside)
    fed = [v for v in read if not constant(v)]
    if not ends or not {str(v.name) for v in fed} <= known:
        return None
    proto, inferred = cut_file(model, fed, ends, nodes[0], "start")
    shapes, types = dims_of(inferred), {o.name: o.type.tensor_type.elem_type for o in inferred.graph.output}
    cuts = [_as_input(str(v.name), shapes[str(v.name)], types[str(v.name)], batch or 1) for v in ends]
    if any(c is None for c in cuts):
        return None
    made = frozenset(str(v.name) for n in nodes for v in n.outputs)
    return HostHead(
        tuple(node_label(n) for n in nodes), made, tuple(c for c in cuts if c is not None),
        tuple(str(v.name) for v in fed), bytes(proto.SerializeToString()), batch or 1,
        cost_of(inferred.graph.node, shapes, batch or 1),
    )  # fmt: skip


def head_blockers(model: ir.Model) -> dict[str, str]:
    """Return for the label of every node that of one at or before it that no head may hold, empty for none."""
    found: dict[ir.Node, str] = {}
    for node in model.graph:
        ahead = (found[n] for n in before(node) if found.get(n))
        found[node] = next(ahead, "") if _allowed(node) else node_label(node)
    return {node_label(n): other for n, other in found.items()}


def _start(model: ir.Model) -> dict[ir.Node, None]:
    """Return the largest set of nodes of allowed kinds in front of which there are no others."""
    start: dict[ir.Node, None] = {}
    for node in model.graph:
        if node.op_type == "Constant" or (_allowed(node) and all(n in start for n in before(node))):
            start[node] = None
    return {n: None for n in start if n.op_type != "Constant"}


def _allowed(node: ir.Node) -> bool:
    inner = any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values())
    return standard(node) and not inner and (node.op_type in START or is_fixed(node) or node.op_type == "Constant")


def _without_encoded(model: ir.Model, found: set[ir.Node], asked: set[ir.Node], batch: int) -> set[ir.Node]:
    """Return a head without the moves, factors and offsets behind everything else, which the encoder has anyway."""
    kept = set(found)
    for node in reversed(list(model.graph)):
        if node in kept and node not in asked and _encoded(node, batch) and not any(n in kept for n in behind(node)):
            kept.discard(node)
    return kept


def _encoded(node: ir.Node, batch: int) -> bool:
    if any(v.is_graph_output() for v in node.outputs):
        return False
    source = node.inputs[0] if node.inputs else None
    if source is None or source.producer() is None or not _has_batch(_dims(source), batch):
        return False
    if node.op_type in ENCODED:
        return True
    return node.op_type in SCALED and len(node.inputs) == 2 and node.inputs[1] is not None and constant(node.inputs[1])


def _leaves(value: ir.Value, inside: Collection[ir.Node]) -> bool:
    return value.is_graph_output() or any(user not in inside for user, _ in value.uses())


def _dims(value: ir.Value) -> Dims:
    """Return the shape of a value, 0 for a length that is unknown; of a value of unknown rank no axis."""
    return () if value.shape is None else tuple(d if isinstance(d, int) else 0 for d in value.shape)


def _has_batch(dims: Dims, batch: int) -> bool:
    """Whether axis 0 can count the samples."""
    return len(dims) > 1 and dims[0] == batch and all(d > 0 for d in dims)


def _as_input(name: str, dims: Dims, kind: int, batch: int) -> ModelInput | None:
    """Return a value at the cut as an input of the network, None where it can be none."""
    dtype = TYPES.get(ir.DataType(kind)) if kind else None
    return ModelInput(name, dims[1:], dtype) if dtype is not None and _has_batch(dims, batch) else None


def require_head(head: HostHead | None, names: Sequence[str]) -> HostHead:
    """Return a head that was asked for by --from. Raises SFN605 where its values are no inputs of a network."""
    if head is not None:
        return head
    what = f"--from {','.join(names)}: a network's input needs a numeric type, a known shape and the batch in axis 0"
    raise fail("SFN605", what, fix="name values that are computed sample by sample, or pin axes with --input-shape")
