"""What the importer of one operator sees: attributes, constants, and a place to put the ops it makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from ..foundation.diagnostics import Diagnostic, Origin
from ..graph.graph import Node, Op, TensorType, make_node, unique_name
from ..program.network import Shape
from .batch_layout import FRONT, Layout
from .size_limits import MOST_NUMBERS

Array = NDArray[Any]


# Operators that give stored integers back as they are, elsewhere: the result lies on the grid of the source.
KEEP_INTEGERS = frozenset({
    "Identity", "Dropout", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Concat", "Split", "Gather",
    "Slice", "Pad", "MaxPool", "GlobalMaxPool", "ReduceMax", "Resize", "Upsample", "DepthToSpace", "SpaceToDepth",
    "Tile", "Expand",
})  # fmt: skip
_LONG_NAME = 400
_FIXES = {
    "SFN201": "replace the operator by one of `sfnc ops`, or cut the model before this node",
    "SFN202": "change this in the network and export it again, or cut the model before this node (`sfnc ops`)",
    "SFN203": "keep axis 0 for the samples, each computed alone",
}


class Refusal(Exception):
    """Why a node cannot be imported; collected, so that one message lists them all."""

    def __init__(self, diagnostic: Diagnostic):
        super().__init__(str(diagnostic))
        self.diagnostic = diagnostic


def node_label(node: ir.Node) -> str:
    """Return how messages name an ONNX node: its name and operator, or its first named output where it has no name.

    Characters that a terminal would act on become "?", and names longer than anyone reads are cut.
    """
    name = node.name or next((o.name for o in node.outputs if o.name), "without a name")
    return f"{_printable(name)} ({_printable(node.op_type)})"


def _printable(name: str) -> str:
    text = name if len(name) <= _LONG_NAME else name[:_LONG_NAME] + "..."
    return "".join(c if c.isprintable() else "?" for c in text)


def check_size(shape: Sequence[int], onnx: ir.Node) -> None:
    """Refuse an output shape of no number, or of more numbers than :data:`MOST_NUMBERS`, before it is allocated."""
    if min(shape, default=1) < 1:
        what = f"its output of shape {list(shape)} holds no number"
        raise Refusal(Diagnostic("SFN202", what, node_label(onnx), "remove the branch that computes nothing"))
    if math.prod(shape) > MOST_NUMBERS:
        what = f"its output of shape {list(shape)} holds more than {MOST_NUMBERS} numbers per sample"
        raise Refusal(Diagnostic("SFN108", what, node_label(onnx), "export the model for smaller inputs"))


@dataclass(frozen=True, eq=False)
class Grid:
    """Stored integers q of type ``dtype`` that mean the real numbers ``scale * (q - zero)``.

    ``scale`` and ``zero`` broadcast against one sample (against the whole array where it is a constant).
    """

    scale: Array
    zero: Array
    dtype: str

    def same(self, other: Grid) -> bool:
        """Return whether both mean the same numbers."""
        pairs = ((self.scale, other.scale), (self.zero, other.zero))
        return self.dtype == other.dtype and all(a.size == b.size and (a.ravel() == b.ravel()).all() for a, b in pairs)


class Context:
    """The graph under construction. ``values`` maps ONNX value names to graph value names.

    ``layouts`` says where the batch is in ONNX values that have it elsewhere than alone in front; ``before``, for
    those of them that are taps, how many numbers of one sample are before it.
    ``masked`` names graph values that hold minus infinity: scores on their way to a Softmax.

    ``units`` holds, for constants that come from a quantised network, the number they are integer multiples of;
    ``quantised`` names all constants that a quantiser made.
    ``integers`` holds, for ONNX values that are stored integers, how they mean real numbers.
    """

    def __init__(self, batch: int | None, opset: int):
        self.batch = batch
        self.opset = opset
        self.types: dict[str, TensorType] = {}
        self.nodes: list[Node] = []
        self.values: dict[str, str] = {}
        self.layouts: dict[str, Layout] = {}
        self.before: dict[str, int] = {}
        self.masked: set[str] = set()
        self.constants: dict[str, Array] = {}
        self.units: dict[str, Array] = {}
        self.quantised: set[str] = set()
        self.integers: dict[str, Grid] = {}

    def emit(self, op: Op, inputs: Sequence[str], onnx: ir.Node, tap: str | None = None) -> str:
        """Add a node that stands for ``onnx`` and return its name; ``tap`` names the ONNX value it equals."""
        base = tap if tap is not None else f"{onnx.outputs[0].name}/{type(op).__name__.lower()}"
        name = unique_name(base, self.types.__contains__)
        node = make_node(name, op, inputs, self.types, Origin((node_label(onnx),), ("import",)), tap)
        check_size(node.type.shape, onnx)
        self.nodes.append(node)
        self.types[name] = node.type
        return name

    def dims(self, name: str) -> Shape:
        """Return the shape of a computed ONNX value, for one sample or the number that the model fixes."""
        return self.layouts.get(name, FRONT).dims(self.types[self.values[name]].shape, self.batch or 1)

    def retap(self, name: str, tap: str) -> None:
        """Let a value whose own ONNX value holds stored integers be compared with the real numbers in ``tap``."""
        self.nodes = [replace(n, tap=tap) if n.name == name and n.tap is None else n for n in self.nodes]
