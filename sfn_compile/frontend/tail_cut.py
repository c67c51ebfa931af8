"""The host tail: the end of a graph that has no place in a spiking network, cut off as an ONNX model of its own.

Detectors end in box arithmetic, non-maximum suppression, top-k. Such an end may be left to the host, never silently and
never a layer with weights. ``docs/adr/0018-host-tail.md`` says why these rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..foundation.diagnostics import Diagnostic, fail
from ..foundation.samples import ModelInput
from .context import node_label
from .cut_file import Dims, before, behind, constant, cut_file, dims_of, standard

# Arithmetic on boxes and scores, moves, choices, and the shape arithmetic between them. What is not here stays in the
# network or is refused: everything with weights, every pooling, and Relu, which is directly behind layers.
ARITHMETIC = (
    "Abs Add And Cast Ceil Clip Div Equal Exp Floor Greater GreaterOrEqual HardSigmoid Less LessOrEqual Log LogSoftmax "
    "Max Min Mod Mul Neg Not Or Pow Reciprocal Round Sigmoid Sign Softmax Sqrt Sub Sum Tanh Where"
)
MOVES = (
    "Compress Concat Expand Flatten Gather GatherElements GatherND Identity Reshape ScatterElements ScatterND Slice "
    "Split Squeeze Tile Transpose Unsqueeze"
)
CHOICES = "ArgMax ArgMin CumSum NonMaxSuppression NonZero OneHot ReduceMax ReduceMin TopK"
SUMS = "LpNormalization ReduceL1 ReduceL2 ReduceLogSumExp ReduceSum ReduceSumSquare"  # what answers are divided by
SHAPES = "ConstantOfShape Range Shape Size"
ALLOWED = frozenset(f"{ARITHMETIC} {MOVES} {CHOICES} {SUMS} {SHAPES}".split())
# Functions of such a range that evenly spaced codes hold badly: box sizes.
WIDE = frozenset({"Exp", "Pow"})
# How long vectors are, and what divides by it: embeddings are compared by their last digits.
SIZES = frozenset({"LpNormalization", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"})
ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "Sigmoid", "Tanh"})


@dataclass(frozen=True, eq=False)
class HostTail:
    """The end of a model that the host computes with onnxruntime, one sample at a time.

    ``nodes`` are its ONNX nodes as messages name them; ``cuts`` the values that the network hands over, decoded;
    ``inputs`` the model inputs it reads itself; ``outputs`` the model outputs it makes: name -> whether every sample's
    answer has the same shape with a leading axis of 1, so that answers stack. ``model`` is the ONNX file.
    """

    nodes: tuple[str, ...]
    made: frozenset[str]
    cuts: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: Mapping[str, bool]
    model: bytes


def tail_nodes(model: ir.Model, labels: Collection[str]) -> list[ir.Node]:
    """Return, in order, the nodes of the tail for those named in ``labels`` that may be left to the host.

    It is what hangs together with them inside the largest end of the graph that is made of allowed kinds only, without
    the activations directly behind the layers before it.
    """
    end = _end(model)
    asked = [n for n in end if node_label(n) in labels]
    found: set[ir.Node] = set()
    waiting = list(asked)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [n for n in (*before(node), *behind(node)) if n in end]
    first = {n for n in found if n.op_type in ACTIVATIONS and not any(b in end for b in before(n))}
    return [n for n in model.graph if n in found and n not in first - set(asked)]


def wide_nodes(model: ir.Model) -> set[str]:
    """Return the labels of the Exp and Pow nodes in the end of the graph whose results box arithmetic reads, and
    of the reductions there that make sizes."""
    end = _end(model)
    alone: dict[ir.Node, bool] = {}  # whether everything behind a node reads a single computed value
    for node in end:  # the last of the graph first
        alone[node] = all(_alone(u) and alone[u] for u in behind(node))
    return {node_label(n) for n in end if n.op_type in SIZES or (n.op_type in WIDE and not alone[n])}


def blockers(model: ir.Model) -> dict[str, str]:
    """Return for the label of every node that of one at or behind it that the host may not take, empty for none."""
    found: dict[ir.Node, str] = {}
    for node in reversed(list(model.graph)):
        others = (found[n] for n in behind(node) if found.get(n))
        found[node] = next(others, "") if host_may(node) else node_label(node)
    return {node_label(n): other for n, other in found.items()}


def make_tail(model: ir.Model, nodes: list[ir.Node], inputs: Iterable[ModelInput], batch: int | None) -> HostTail:
    """Return the tail of these nodes, which answers for one sample. Raises SFN202 for a fixed batch above 1."""
    if batch not in (None, 1):
        what = f"it can only run on the host, one sample at a time, but the model is fixed to batches of {batch}"
        raise fail("SFN202", what, node_label(nodes[0]), "export the model with a batch of 1 or a free one")
    inside, known = set(nodes), {i.name for i in inputs}
    made = {str(v.name) for n in nodes for v in n.outputs}
    read = dict.fromkeys(v for n in nodes for v in n.inputs if v is not None and v.producer() not in inside)
    fed = [v for v in read if not constant(v)]
    outputs = [v for v in model.graph.outputs if v.producer() in inside]
    proto, inferred = cut_file(model, fed, outputs, nodes[0], "end")
    shapes = dims_of(inferred)
    stacked = {str(o.name): _stacks(shapes[str(o.name)]) for o in outputs}
    cuts = tuple(str(v.name) for v in fed if str(v.name) not in known)
    direct = tuple(str(v.name) for v in fed if str(v.name) in known)
    labels = tuple(node_label(n) for n in nodes)
    return HostTail(labels, frozenset(made), cuts, direct, stacked, bytes(proto.SerializeToString()))


def lasting(problem: Diagnostic, blocked: Mapping[str, str]) -> Diagnostic:
    """Return a refusal with what keeps its node from being left to the host, where that is another node."""
    other = blocked.get(problem.where)
    if not other or other == problem.where:
        return problem
    what = f"{problem.what}; nor can it be left to the host, because {other} stands behind it"
    return Diagnostic(problem.code, what, problem.where, problem.fix)


def _end(model: ir.Model) -> dict[ir.Node, None]:
    """Return the largest set of nodes of allowed kinds behind which there are no others."""
    end: dict[ir.Node, None] = {}
    for node in reversed(list(model.graph)):
        if host_may(node) and all(n in end for n in behind(node)):
            end[node] = None
    return end


def host_may(node: ir.Node) -> bool:
    """Return whether a node may be one of a host tail."""
    return standard(node) and (node.op_type in ALLOWED or _mean_place(node))


def _mean_place(node: ir.Node) -> bool:
    """Whether a node sums ``i * x[i]``: the mean place of a distribution (box sides of distribution focal loss).

    It has the form of a layer, but its weights 0, 1, 2, ... were never trained.
    """
    if node.op_type not in ("Conv", "MatMul", "Gemm") or len(node.inputs) != 2 or node.inputs[1] is None:
        return False
    constant = node.inputs[1].const_value
    if constant is None or constant.size > 1024:
        return False
    weight = constant.numpy()
    return weight.size == max(weight.shape, default=0) and np.array_equal(weight.reshape(-1), np.arange(weight.size))


def _alone(node: ir.Node) -> bool:
    """Whether a node reads a single computed value."""
    return sum(v is not None and not constant(v) for v in node.inputs) == 1


def _stacks(dims: Dims) -> bool:
    return len(dims) > 0 and dims[0] == 1 and all(d > 0 for d in dims)
