"""One importer per ONNX operator, as data: operator name -> function. ``sfnc ops`` prints this table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx_ir as ir

from ...diagnostics import Diagnostic
from ..context import OnnxNode, node_label
from . import (
    activations,
    arithmetic,
    branches,
    choices,
    linear,
    moves,
    picks,
    pools,
    qonnx,
    qoperator,
    quantized,
    resize,
    scalars,
    transposed,
)

Importer = Callable[[OnnxNode], None]

IMPORTERS: dict[str, Importer] = {
    **linear.IMPORTERS,
    **arithmetic.IMPORTERS,
    **branches.IMPORTERS,
    **choices.IMPORTERS,
    **activations.IMPORTERS,
    **scalars.IMPORTERS,
    **pools.IMPORTERS,
    **moves.IMPORTERS,
    **quantized.IMPORTERS,
    **qoperator.IMPORTERS,
    **qonnx.IMPORTERS,
    **picks.IMPORTERS,
    **resize.IMPORTERS,
    **transposed.IMPORTERS,
}

# Operators that import constants as well as computed values: quantisers remember what a weight is a multiple of.
TAKE_CONSTANTS = frozenset({*quantized.IMPORTERS, *qonnx.IMPORTERS})

# Operators whose outputs all count; of any other only the first may be used.
SEVERAL_OUTPUTS = frozenset({"Split"})

_STATE = "it keeps state from step to step, which a one-timestep network does not have"
_BRANCH = "the graph itself depends on values that are known only at run time"
_DYNAMIC = "its range is known only at run time"

_NORM = "it takes powers and roots of sums of computed values"
_CHOICE = "which elements it keeps depends on values that are known only at run time"

# Operators with a reason worth telling: name -> (reason, what to do).
REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (_STATE, "replace it by a convolution or attention over a fixed window")),
    **dict.fromkeys(("If", "Loop", "Scan"), (_BRANCH, "export the branch or the unrolled loop that you use")),
    **dict.fromkeys(
        ("DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
        (_DYNAMIC, "quantise the model statically, or pass the float model"),
    ),
    **dict.fromkeys(("LpPool", "GlobalLpPool", "LpNormalization"), (_NORM, "pool averages or maxima instead")),
    **dict.fromkeys(
        ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare"),
        (_NORM, "reduce by sum, mean, maximum or minimum instead"),
    ),
    **dict.fromkeys(("Compress", "NonZero", "Unique"), (_CHOICE, "pick with constant indices")),
    "MaxUnpool": ("it needs the places of the maxima at run time", "upsample with Resize or ConvTranspose"),
    "Einsum": ("its equation can be any product", "write it as MatMul by a constant matrix, with Transpose around it"),
    "CumSum": ("every element needs all before it", "write it as MatMul by a constant triangular matrix"),
}

# Operators that stand between a Shape and a Reshape: folded away where everything before them can be imported.
_SHAPE_ARITHMETIC = {"Shape", "Size", "Gather", "ConstantOfShape", "Range", "Expand", "Where", "Equal", "Floor", "Ceil"}


def importer_of(node: ir.Node) -> Importer | None:
    """Return the importer of a node, None where its operator has none."""
    return IMPORTERS.get(node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}")


def unsupported(node: ir.Node, folded: bool = True) -> Diagnostic | None:
    """Return SFN201 for a node whose operator has no importer, else None.

    ``folded`` False: constants around the node are not folded (yet), so shape arithmetic says nothing.
    """
    constant = node.domain in ("", "ai.onnx") and node.op_type == "Constant"
    if constant or importer_of(node) is not None or (not folded and node.op_type in _SHAPE_ARITHMETIC):
        return None
    domain = f"{node.domain}::" if node.domain else ""
    inside = sorted({n.op_type for n in _inner_nodes(node) if n.op_type in REFUSED})
    within = f" (with {', '.join(inside)} inside)" if inside else ""
    what = f"operator {domain}{node.op_type}{within} is not supported"
    reason, fix = REFUSED.get(node.op_type, ("", "see `sfnc ops` for what is; replace the operator or cut the model"))
    return Diagnostic("SFN201", f"{what}{': ' + reason if reason else ''}", node_label(node), fix)


def _inner_nodes(node: ir.Node) -> Iterator[ir.Node]:
    """Yield the nodes of a control-flow operator's branches, those of branches within them included."""
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.value:
                yield inner
                yield from _inner_nodes(inner)


def describe() -> list[tuple[str, str]]:
    """Return (operator, first line of its importer's docstring), sorted: the table of ``sfnc ops``."""
    rows = [(name, (f.__doc__ or "").strip().splitlines()[0]) for name, f in IMPORTERS.items()]
    return sorted([*rows, ("Constant", "Any dense constant.")])
