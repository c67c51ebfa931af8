"""What the importer of one operator sees: attributes, constants, and a place to put the ops it makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..diagnostics import Diagnostic, Origin
from ..ir import Node, Op, TensorType, make_node, unique_name
from ..ops import Linear, Moved
from ..ops.linear import affine
from ..program import MoveOp, Reshape, Shape, Transpose
from .work import MOST_NUMBERS

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

    ``merged`` does so for values whose only axis is the batch and everything else in one: a view that dynamo's
    ``as_strided`` makes and undoes at once, so nothing but the undoing is let through.

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
        self.merged: dict[str, str] = {}
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

    def retap(self, name: str, tap: str) -> None:
        """Let a value whose own ONNX value holds stored integers be compared with the real numbers in ``tap``."""
        self.nodes = [replace(n, tap=tap) if n.name == name and n.tap is None else n for n in self.nodes]


class OnnxNode:
    """One ONNX node with the questions that importers ask, each answered or refused with the rule it breaks."""

    def __init__(self, node: ir.Node, context: Context):
        self.node = node
        self.context = context

    def refuse(self, what: str, fix: str = "", code: str = "SFN202") -> Refusal:
        """Return the refusal to raise; without a ``fix`` of its own it says what can be done about any such node."""
        return Refusal(Diagnostic(code, what, node_label(self.node), fix or _FIXES.get(code, "")))

    # -- attributes ------------------------------------------------------------------------------------------------
    def attr(self, name: str, default: Any = None) -> Any:
        """Return an attribute's Python value (tuple for lists), or ``default``."""
        found = self.node.attributes.get(name)
        if found is None:
            return default
        value = found.value
        return tuple(value) if isinstance(value, list | tuple) else value

    # -- inputs ----------------------------------------------------------------------------------------------------
    def has_input(self, i: int) -> bool:
        """Return whether optional input ``i`` is there."""
        return self._input_name(i) != ""

    def _input_name(self, i: int) -> str:
        found = self.node.inputs[i] if i < len(self.node.inputs) else None
        return "" if found is None else str(found.name or "")

    def constant(self, i: int) -> Array | None:
        """Return input ``i`` as an array where it is a constant, else None."""
        if not self.has_input(i):
            return None
        found = self.context.constants.get(self._input_name(i))
        if found is not None and found.dtype.kind in "OSUc":  # text, or complex
            raise self.refuse(f"its input {i} is a constant of type {found.dtype}, not of numbers")
        return found

    def unit(self, i: int) -> Array | None:
        """Return what constant input ``i`` is integer multiples of, None where it is no such constant."""
        return self.context.units.get(self._input_name(i))

    def grid(self, i: int = 0) -> Grid | None:
        """Return the grid of input ``i`` where it is stored integers, else None."""
        return self.context.integers.get(self._input_name(i))

    def need_constant(self, i: int, what: str) -> Array:
        """Return input ``i`` as an array. Refuses an input that is computed at run time."""
        found = self.constant(i)
        if found is None:
            raise self.refuse(f"its {what} is not a constant", f"export the model with a fixed {what}")
        return found

    def value(self, i: int = 0) -> str:
        """Return the graph name of run-time input ``i``. Refuses a constant."""
        if self.constant(i) is not None:
            raise self.refuse(f"input {i} is a constant where a computed value is needed")
        if self._input_name(i) in self.context.merged:
            raise self.refuse(f"input {i} merges the batch with other axes", "keep axis 0 for the samples", "SFN203")
        return self.context.values[self._input_name(i)]

    def merged(self, i: int = 0) -> str | None:
        """Return the graph name of what input ``i`` is a flat view of, batch included; None for any other input."""
        return self.context.merged.get(self._input_name(i))

    def shape(self, i: int = 0) -> Shape:
        """Return the sample shape of run-time input ``i``."""
        return self.context.types[self.value(i)].shape

    def attr_or_input(self, name: str, i: int) -> tuple[int, ...] | None:
        """Return integers that old opsets keep in an attribute and new ones in a constant input; None where absent."""
        if name in self.node.attributes:
            found = self.attr(name)
            return tuple(int(v) for v in found) if isinstance(found, tuple) else (int(found),)
        if not self.has_input(i):
            return None
        found = self.need_constant(i, name)
        if found.ndim > 1 or not np.issubdtype(found.dtype, np.integer):
            raise self.refuse(f"its {name} of shape {list(found.shape)} and type {found.dtype} is no list of integers")
        return tuple(int(v) for v in np.atleast_1d(found))

    def sample_axis(self, axis: int, rank: int) -> int:
        """Return the axis of one sample for an ONNX axis of a batched tensor of ``rank``. Refuses the batch axis."""
        if not -rank <= axis < rank:
            raise self.refuse(f"axis {axis} is outside a tensor of rank {rank}")
        if axis % rank == 0:
            raise self.refuse("it works along axis 0, the batch", "keep axis 0 for the samples", "SFN203")
        return axis % rank - 1

    def sample_constant(self, array: Array, shape: Shape, what: str) -> Array:
        """Return a constant that broadcasts against one sample of ``shape`` without enlarging it, in float64."""
        found = np.asarray(array, np.float64)
        if found.ndim == len(shape) + 1:
            if found.shape[0] not in (1, self.context.batch) or (found != found[:1]).any():
                raise self.refuse(f"its constant {what} of shape {found.shape} differs along the batch", code="SFN203")
            found = found[0]
        try:
            fits = np.broadcast_shapes(found.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise self.refuse(f"its constant {what} of shape {found.shape} does not broadcast into {shape}")
        return found.reshape((1,) * (len(shape) - found.ndim) + found.shape)

    def check_size(self, shape: Sequence[int]) -> None:
        """Refuse an output shape that no network has (SFN202, SFN108); for importers whose op allocates by shape."""
        check_size(shape, self.node)

    # -- results ---------------------------------------------------------------------------------------------------
    def emit(self, op: Op, *inputs: str) -> str:
        """Add an intermediate op and return its name."""
        return self.context.emit(op, inputs, self.node)

    def result(self, op: Op, *inputs: str, output: int = 0) -> None:
        """Add the op that computes an output of the node, the first unless said otherwise.

        An operator on stored integers that moves or compares them keeps their grid; nothing in the file then holds
        the real numbers, so there is no tap.
        """
        out = str(self.node.outputs[output].name)
        grid = self._kept_grid()
        if grid is not None:
            self.context.integers[out] = grid
        self.context.values[out] = self.context.emit(op, inputs, self.node, tap=None if grid else out)

    def alias(self, value: str) -> None:
        """Let the node's output be an existing value."""
        out = str(self.node.outputs[0].name)
        grid = self._kept_grid()
        if grid is not None:
            self.context.integers[out] = grid
        self.context.values[out] = value

    def real_result(self, op: Op, *inputs: str) -> None:
        """Add the op that computes the node's real output from stored integers."""
        out = str(self.node.outputs[0].name)
        self.context.values[out] = self.context.emit(op, inputs, self.node, tap=out)

    def real_alias(self, value: str) -> None:
        """Let the node's real output be an existing value, and that value be compared with it."""
        out = str(self.node.outputs[0].name)
        self.context.values[out] = value
        self.context.retap(value, out)

    def store(self, value: str, grid: Grid) -> None:
        """Let the node's output be the stored integers of a real value on ``grid``."""
        out = str(self.node.outputs[0].name)
        self.context.values[out] = value
        self.context.integers[out] = grid

    def _kept_grid(self) -> Grid | None:
        """Return the one grid of the stored integers that the node reads, None where it reads real numbers."""
        grids = [g for i in range(len(self.node.inputs)) if (g := self.grid(i)) is not None]
        if not grids:
            return None
        if self.node.op_type not in KEEP_INTEGERS or not all(g.same(grids[0]) for g in grids):
            what = "it works on stored integers of different or unclear meaning"
            raise self.refuse(what, "put a DequantizeLinear in front of it")
        if any(g.scale.size > 1 for g in grids):
            raise self.refuse("it moves stored integers with a scale per channel", "quantise activations per tensor")
        return grids[0]

    def move(self, op: MoveOp, *inputs: str) -> None:
        """Let the node's output be a move of values."""
        self.result(Moved(op), *inputs)

    def merge_batch(self) -> None:
        """Let the node's output be a flat view of its input, batch included."""
        self.context.merged[str(self.node.outputs[0].name)] = self.value()

    def reshape(self, shape: Shape) -> None:
        """Let the node's output be its input under another sample shape."""
        self.move(Reshape(tuple(int(d) for d in shape)), self.value())

    def transpose(self, value: str, perm: Sequence[int]) -> str:
        """Return the value with its sample axes permuted (itself where nothing moves)."""
        order = tuple(int(p) for p in perm)
        return value if order == tuple(range(len(order))) else self.emit(Moved(Transpose(order)), value)

    def affine(self, value: str, scale: Array, bias: Array) -> Linear:
        """Return ``scale * x + bias`` for a value, scale broadcast to its rank."""
        rank = len(self.context.types[value].shape)
        widen = [np.asarray(a, np.float64) for a in (scale, bias)]
        return affine(*(a.reshape((1,) * (rank - a.ndim) + a.shape) for a in widen))
