"""One importer per ONNX operator, as data: operator name -> function. ``sfnc ops`` prints this table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import onnx_ir as ir

from ...foundation.diagnostics import Diagnostic
from ..context import node_label
from ..onnx_node import OnnxNode
from . import (
    activations,
    arithmetic,
    branches,
    choices,
    linear,
    moves,
    norms,
    picks,
    places,
    pools,
    products,
    qonnx,
    qoperator,
    quantized,
    reductions,
    resize,
    scalars,
    transposed,
)
from .refused import RECURRENT_OR_BRANCH, reason

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
    **places.IMPORTERS,
    **reductions.IMPORTERS,
    **resize.IMPORTERS,
    **transposed.IMPORTERS,
    **norms.IMPORTERS,
    **products.IMPORTERS,
}

# Operators that find the batch themselves, wherever each of their operands has it.
_OWN = frozenset({"Einsum", "GatherND", "ScatterND"})

# Operators that leave the batch where it is in the tensor: computed number by number, along axes that they name, or
# stating its new axis themselves. Any other needs it alone in front.
ANYWHERE = frozenset({
    *arithmetic.IMPORTERS, *branches.IMPORTERS, *choices.IMPORTERS, *scalars.IMPORTERS, *moves.IMPORTERS,
    *linear.IMPORTERS, *reductions.IMPORTERS, *places.IMPORTERS,
    "Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Gather", "Slice",
    "Tile", "Expand", "Pad", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "LayerNormalization",
    "RMSNormalization", "SimplifiedLayerNormalization",
}) - {"Conv", *_OWN}  # fmt: skip

# Operators that import constants as well as computed values: quantisers remember what a weight is a multiple of.
TAKE_CONSTANTS = frozenset({*quantized.IMPORTERS, *qonnx.IMPORTERS})

# Operators whose outputs all count; of any other only the first may be used.
SEVERAL_OUTPUTS = frozenset({"Split"})

# Operators that are between a Shape and a Reshape: folded away where everything before them can be imported.
_SHAPE_ARITHMETIC = {"Shape", "Size", "Gather", "ConstantOfShape", "Range", "Expand", "Where", "Equal", "Floor", "Ceil"}


def batch_of(operator: str) -> Literal["front", "anywhere", "own"]:
    """Return where the importer of an operator takes the batch of its operands."""
    if operator in _OWN:
        return "own"
    return "anywhere" if operator in ANYWHERE else "front"


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
    inside = sorted({n.op_type for n in _inner_nodes(node) if n.op_type in RECURRENT_OR_BRANCH})
    within = f" (with {', '.join(inside)} inside)" if inside else ""
    what = f"operator {domain}{node.op_type}{within} is not supported"
    why, fix = reason(node.domain, node.op_type)
    fix = fix or "see `sfnc ops` for what is; replace the operator or cut the model"
    return Diagnostic("SFN201", f"{what}{': ' + why if why else ''}", node_label(node), fix)


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
