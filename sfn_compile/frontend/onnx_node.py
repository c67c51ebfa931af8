"""One ONNX node as an importer sees it: its attributes, its inputs as constants or values, and what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..foundation.diagnostics import Diagnostic
from ..graph.graph import Op
from ..graph.ops import Linear, Moved, Softmax
from ..graph.ops.linear import affine
from ..program.network import MoveOp, Reshape, Shape, Transpose
from .batch_layout import FRONT, Layout, apart, common, placements
from .context import _FIXES, KEEP_INTEGERS, Context, Grid, Refusal, check_size, node_label

Array = NDArray[Any]


class OnnxNode:
    """One ONNX node with the questions that importers ask, each answered or refused with the rule it breaks.

    ``batch`` says where its importer takes the batch: alone in ``front``; ``anywhere``, on one and the same axis of all
    operands; or wherever each operand has it, which is the ``own`` affair of the importer.
    """

    def __init__(self, node: ir.Node, context: Context, batch: Literal["front", "anywhere", "own"] = "front"):
        self.node = node
        self.context = context
        self.layout = self._layout() if batch == "anywhere" else FRONT
        if batch == "front":
            self._need_front()

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
        return self.context.values[self._input_name(i)]

    def shape(self, i: int = 0) -> Shape:
        """Return the sample shape of run-time input ``i``."""
        return self.context.types[self.value(i)].shape

    # -- where the batch is ----------------------------------------------------------------------------------------
    def layout_of(self, i: int) -> Layout:
        """Return where the batch is in input ``i``."""
        return self.context.layouts.get(self._input_name(i), FRONT)

    def rank(self, i: int = 0) -> int:
        """Return the rank of run-time input ``i`` as a tensor of the file."""
        return self.layout_of(i).rank(self.shape(i))

    @property
    def movable(self) -> bool:
        """Whether shapes are those of a batch of one, which may be taken to be in a neighbouring axis."""
        return self.context.batch in (None, 1)

    def _computed(self) -> list[int]:
        return [i for i in range(len(self.node.inputs)) if self._input_name(i) in self.context.values]

    def _layout(self) -> Layout:
        """Return where the batch is in the result of an operator that keeps it in place. Refuses a mixture."""
        inputs = self._computed()
        layouts = [self.layout_of(i) for i in inputs]
        if all(layout == FRONT for layout in layouts):
            return FRONT
        found = common(layouts, [self.shape(i) for i in inputs], self.movable)
        if found is None:
            raise self.refuse("its operands have the batch on different axes", code="SFN203")
        return found

    def _need_front(self) -> None:
        """Refuse an input that has the batch elsewhere than in front."""
        for i in self._computed():
            layout = self.layout_of(i)
            options = placements(layout.dims(self.shape(i)), layout.before(self.shape(i)), 1) if self.movable else []
            if layout != FRONT and (layout.merged or FRONT not in options):
                what = f"its input {i} {layout.says()}, where {self.node.op_type} needs it in front"
                raise self.refuse(what, "keep axis 0 for the samples", "SFN203")

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
        (found,) = self.sample_axes((axis,), rank)
        return found

    def sample_axes(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """Return the axes of one sample for ONNX axes of a batched tensor of ``rank``. Refuses the batch axis.

        A batch of one that was taken to be part of one of them is moved to its neighbour.
        """
        wrong = [a for a in axes if not -rank <= a < rank]
        if wrong:
            raise self.refuse(f"axis {wrong[0]} is outside a tensor of rank {rank}")
        own = [a % rank for a in axes]
        if self.layout.axis in own and self.layout.merged and self.movable:
            shape = next((self.shape(i) for i in self._computed() if self.rank(i) == rank), ())
            self.layout = (apart(self.layout, shape, own) if shape else None) or self.layout
        if self.layout.axis in own:
            holds = ", which merges the batch with others" if self.layout.merged else ", the batch"
            what = f"it works along axis {self.layout.axis}{holds}"
            raise self.refuse(what, "keep axis 0 for the samples", "SFN203")
        return tuple(found for a in own if (found := self.layout.sample_axis(a)) is not None)

    def sample_constant(self, array: Array, shape: Shape, what: str) -> Array:
        """Return a constant that broadcasts against one sample of ``shape`` without enlarging it, in float64."""
        found = self.one_sample(np.asarray(array, np.float64), self.layout.rank(shape), what)
        try:
            fits = np.broadcast_shapes(found.shape, shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise self.refuse(f"its constant {what} of shape {found.shape} does not broadcast into {shape}")
        return found.reshape((1,) * (len(shape) - found.ndim) + found.shape)

    def one_sample(self, array: Array, rank: int, what: str) -> Array:
        """Return the part of a constant that belongs to one sample. Refuses one that differs from sample to sample."""
        axis = self.layout.axis - (rank - array.ndim)
        if axis < 0 or array.ndim > rank:
            return array
        batch, outer, length = self.context.batch or 1, self.layout.outer, array.shape[axis]
        whole = outer * batch * self.layout.inner
        if length != 1 and length != whole:
            text = "differs along the batch" if not self.layout.merged else "does not fit the axis of the batch"
            raise self.refuse(f"its constant {what} of shape {array.shape} {text}", code="SFN203")
        if length == 1:
            return array if self.layout.merged else np.squeeze(array, axis)
        pieces = array.reshape(*array.shape[:axis], outer, batch, self.layout.inner, *array.shape[axis + 1 :])
        one = np.take(pieces, 0, axis + 1)
        if (pieces != np.expand_dims(one, axis + 1)).any():
            raise self.refuse(f"its constant {what} of shape {array.shape} differs along the batch", code="SFN203")
        merged = (outer * self.layout.inner,) if self.layout.merged else ()
        return one.reshape(*array.shape[:axis], *merged, *array.shape[axis + 1 :])

    def check_size(self, shape: Sequence[int]) -> None:
        """Refuse an output shape that no network has (SFN202, SFN108); for importers whose op allocates by shape."""
        check_size(shape, self.node)

    # -- results ---------------------------------------------------------------------------------------------------
    def emit(self, op: Op, *inputs: str) -> str:
        """Add an intermediate op and return its name."""
        masked = self._masked(op, inputs)
        name = self.context.emit(op, inputs, self.node)
        if masked:
            self.context.masked.add(name)
        return name

    def result(self, op: Op, *inputs: str, output: int = 0, layout: Layout | None = None) -> None:
        """Add the op that computes an output of the node, the first unless said otherwise.

        An operator on stored integers that moves or compares them keeps their grid; nothing in the file then holds
        the real numbers, so there is no tap. ``layout`` says where the batch is, if not where it was.
        """
        out = str(self.node.outputs[output].name)
        grid = self._kept_grid()
        if grid is not None:
            self.context.integers[out] = grid
        masked = self._masked(op, inputs)
        value = self.context.emit(op, inputs, self.node, tap=None if grid or masked else out)
        if masked:
            self.context.masked.add(value)
        self._name(out, value, layout)

    def alias(self, value: str, layout: Layout | None = None) -> None:
        """Let the node's output be an existing value."""
        out = str(self.node.outputs[0].name)
        grid = self._kept_grid()
        if grid is not None:
            self.context.integers[out] = grid
        self._name(out, value, layout)

    def _name(self, out: str, value: str, layout: Layout | None) -> None:
        """Let the ONNX value ``out`` be a value of the graph, with the batch where ``layout`` says."""
        layout = self.layout if layout is None else layout
        self.context.values[out] = value
        if layout != FRONT:
            self.context.layouts[out] = layout
            self.context.before[out] = layout.before(self.context.types[value].shape)

    def _masked(self, op: Op, inputs: Sequence[str]) -> bool:
        """Return whether an op gives minus infinity, which a Softmax alone makes finite again."""
        added = isinstance(op, Linear) and not np.isfinite(op.bias).all()
        return not isinstance(op, Softmax) and (added or any(name in self.context.masked for name in inputs))

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

    def move(self, op: MoveOp, *inputs: str, layout: Layout | None = None) -> None:
        """Let the node's output be a move of values."""
        self.result(Moved(op), *inputs, layout=layout)

    def reshape(self, shape: Shape, layout: Layout | None = None) -> None:
        """Let the node's output be its input under another sample shape."""
        self.move(Reshape(tuple(int(d) for d in shape)), self.value(), layout=layout)

    def transpose(self, value: str, perm: Sequence[int]) -> str:
        """Return the value with its sample axes permuted (itself where nothing moves)."""
        order = tuple(int(p) for p in perm)
        return value if order == tuple(range(len(order))) else self.emit(Moved(Transpose(order)), value)

    def affine(self, value: str, scale: Array, bias: Array) -> Linear:
        """Return ``scale * x + bias`` for a value, scale broadcast to its rank."""
        rank = len(self.context.types[value].shape)
        widen = [np.asarray(a, np.float64) for a in (scale, bias)]
        return affine(*(a.reshape((1,) * (rank - a.ndim) + a.shape) for a in widen))
