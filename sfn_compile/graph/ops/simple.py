"""The remaining float ops, a few lines each: Add, Mul, Pointwise, MaxPool, Moved (any move), Softmax and ArgMax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program.arithmetic import windows
from ...program.functions import FUNCTIONS, FunctionName
from ...program.network import HostOp, MoveOp, Pads, Shape, window_shape

Array = NDArray[Any]


@dataclass(frozen=True)
class Add:
    """The sum of two values: a residual. Samples of the same rank broadcast (NumPy's rule)."""

    def infer(self, *shapes: Shape) -> Shape:
        """Return the common shape."""
        return _broadcast(*shapes)

    def evaluate(self, *xs: Array) -> Array:
        """Return the element-wise sum ``(n, *shape)``."""
        return xs[0] + xs[1]


@dataclass(frozen=True)
class Mul:
    """The product of two values, element by element: a gate. Samples of the same rank broadcast (NumPy's rule)."""

    def infer(self, *shapes: Shape) -> Shape:
        """Return the common shape."""
        return _broadcast(*shapes)

    def evaluate(self, *xs: Array) -> Array:
        """Return the element-wise product ``(n, *shape)``."""
        return xs[0] * xs[1]


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Any other function of several computed values of one rank: a name of :data:`~.functions.FUNCTIONS`.

    ``constants`` has one entry per operand, None for a computed one; empty where all are computed. It has no integer
    form of its own: fuse-scalars makes it part of a scalar function or refuses it.
    """

    function: FunctionName
    constants: tuple[Array | None, ...] = ()

    def infer(self, *shapes: Shape) -> Shape:
        """Return the broadcast shape."""
        return tuple(np.broadcast_shapes(*shapes))

    def evaluate(self, *xs: Array) -> Array:
        """Return the function element by element, in float64."""
        with np.errstate(all="ignore"):
            return np.asarray(FUNCTIONS[self.function](*self.operands(xs)), np.float64)

    def operands(self, computed: Sequence[Any]) -> list[Any]:
        """Return all operands in order, the computed ones as given."""
        rest = iter(computed)
        return [next(rest) if c is None else c for c in self.constants] if self.constants else list(computed)


def _broadcast(left: Shape, right: Shape) -> Shape:
    assert len(left) == len(right)
    return tuple(int(n) for n in np.broadcast_shapes(left, right))


@dataclass(frozen=True)
class MaxPool:
    """Maximum per window; padding never wins."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]

    def as_host(self) -> HostOp:
        """Return the same maxima as a host operation after decoding."""
        args = (("kernel", self.kernel), ("strides", self.strides), ("pads", self.pads), ("dilations", self.dilations))
        return HostOp("max_pool", args)

    def infer(self, *shapes: Shape) -> Shape:
        """Return ``(c, *windows)``."""
        return (shapes[0][0], *window_shape(shapes[0][1:], self.kernel, self.strides, self.pads, self.dilations))

    def evaluate(self, *xs: Array) -> Array:
        """Return the maxima ``(n, c, *windows)``; padding is minus infinity."""
        lowest: Any = -np.inf
        view = windows(xs[0], self.kernel, self.strides, self.dilations, self.pads, fill=lowest)
        return view.max(axis=tuple(range(-len(self.kernel), 0)))


@dataclass(frozen=True)
class Moved:
    """One of the Program's moves, on real numbers."""

    op: MoveOp

    def infer(self, *shapes: Shape) -> Shape:
        """Return the moved shape."""
        empty = (np.broadcast_to(np.zeros((), np.int8), (1, *s)) for s in shapes)
        return tuple(self.op.apply(*empty).shape[1:])

    def evaluate(self, *xs: Array) -> Array:
        """Return the moved values ``(n, *shape)``."""
        return self.op.apply(*xs)


@dataclass(frozen=True)
class Softmax:
    """Softmax (or its logarithm) over ``axes`` of one sample. Only at the end of a network: the decoder computes it."""

    axes: tuple[int, ...]
    log: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        """Return the input's shape."""
        return shapes[0]

    def evaluate(self, *xs: Array) -> Array:
        """Return the probabilities, or their logarithms, in the shape of the input ``(n, *shape)``."""
        axes = tuple(a + 1 for a in self.axes)
        shifted = xs[0] - xs[0].max(axis=axes, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(axis=axes, keepdims=True))
        return log if self.log else np.exp(log)

    def as_host(self) -> HostOp:
        """Return the same function as a host operation after decoding."""
        return HostOp("log_softmax" if self.log else "softmax", (("axes", self.axes),))


@dataclass(frozen=True)
class ArgExtreme:
    """The place of the largest (or ``smallest``) number along ``axis`` of one sample, of equals the first or ``last``.

    Only at the end of a network: the decoder computes it.
    """

    axis: int
    keepdims: bool
    smallest: bool = False
    last: bool = False

    def infer(self, *shapes: Shape) -> Shape:
        """Return the shape without ``axis``, or with 1 in its place."""
        before, after = shapes[0][: self.axis], shapes[0][self.axis + 1 :]
        return (*before, *(1,) * self.keepdims, *after)

    def evaluate(self, *xs: Array) -> Array:
        """Return the places as float64, like every value of the graph."""
        axis = self.axis + 1
        x = -xs[0] if self.smallest else xs[0]
        found = np.flip(x, axis).argmax(axis) if self.last else x.argmax(axis)
        found = x.shape[axis] - 1 - found if self.last else found
        return (np.expand_dims(found, axis) if self.keepdims else found).astype(np.float64)

    def as_host(self) -> HostOp:
        """Return the same function as a host operation after decoding."""
        args = (("axis", self.axis), ("keepdims", self.keepdims), ("smallest", self.smallest), ("last", self.last))
        return HostOp("arg_extreme", args)
