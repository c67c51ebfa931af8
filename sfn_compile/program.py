"""The integer network: populations, projections, moves and ladders. Every decision is taken; no float on any edge.

A :class:`Program` is a list of steps in execution order. Each step makes one integer tensor (a *value*) from earlier
ones; shapes are those of one sample, without a batch axis. The only floats stand outside: the encoding of the
inputs and the decoding of the outputs. Meaning of every class: ``docs/spec/program.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import arith
from .diagnostics import Origin

FORMAT = 1
Array = NDArray[Any]
Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


# -- linear maps from codes into an accumulator -------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Dense:
    """``acc[..., o] = sum_i weight[o, i] * s[..., i]``; weight ``(n_out, n_in)``."""

    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape for a source of ``shape``."""
        return (*shape[:-1], self.weight.shape[0])

    def apply(self, s: Array, bound: int, engine: arith.Engine = "fast") -> Array:
        """Return the accumulator of codes ``s`` ``(n, *shape)``."""
        return arith.dense(s, self.weight, bound, engine)


@dataclass(frozen=True, eq=False)
class Conv:
    """ONNX ``Conv`` over 1 or 2 axes: weight ``(o, c/groups, *k)``, zero padded by (before, after) per space axis."""

    weight: Array
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    groups: int = 1

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape for a source of ``shape`` ``(c, *space)``."""
        space = window_shape(shape[1:], self.weight.shape[2:], self.strides, self.pads, self.dilations)
        return (self.weight.shape[0], *space)

    def apply(self, s: Array, bound: int, engine: arith.Engine = "fast") -> Array:
        """Return the accumulator of codes ``s`` ``(n, c, *space)``."""
        return arith.conv(s, self.weight, self.strides, self.pads, self.dilations, self.groups, bound, engine)


@dataclass(frozen=True, eq=False)
class SumPool:
    """``weight * (sum of each window)``, zero padded; ``weight`` broadcasts against the output sample."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape for a source of ``shape`` ``(c, *space)``."""
        ones = (1,) * len(self.kernel)
        return (shape[0], *window_shape(shape[1:], self.kernel, self.strides, self.pads, ones))

    def apply(self, s: Array, bound: int, engine: arith.Engine = "fast") -> Array:
        """Return the accumulator of codes ``s`` ``(n, c, *space)``."""
        return arith.sum_pool(s, self.kernel, self.strides, self.pads, self.weight, engine)


@dataclass(frozen=True, eq=False)
class Identity:
    """``weight * s``, element by element; ``weight`` broadcasts against one sample. A residual is one of these."""

    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape: the source's own."""
        return shape

    def apply(self, s: Array, bound: int, engine: arith.Engine = "fast") -> Array:
        """Return the accumulator of codes ``s``."""
        return arith.identity(s, self.weight, engine)


@dataclass(frozen=True, eq=False)
class Gather:
    """``weight * s.flat[index]`` with -1 reading code 0: any move followed by Identity, as one sparse matrix."""

    index: Array
    weight: Array

    def out_shape(self, shape: Shape) -> Shape:
        """Return the accumulator's shape: that of ``index``."""
        return tuple(self.index.shape)

    def apply(self, s: Array, bound: int, engine: arith.Engine = "fast") -> Array:
        """Return the accumulator of codes ``s``."""
        return arith.gather(s, self.index, self.weight, engine)


LinearMap: TypeAlias = Dense | Conv | SumPool | Identity | Gather


@dataclass(frozen=True, eq=False)
class Projection:
    """One linear map from the value ``source`` into a population's accumulator; projections add up."""

    source: str
    map: LinearMap


# -- the neuron: what becomes of an accumulator -------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Uniform:
    """``s = clip((acc + offset) floordiv theta, lo, hi)``; theta >= 1 and offset broadcast against the population."""

    theta: Array
    offset: Array
    lo: int
    hi: int

    def fire(self, acc: Array) -> Array:
        """Return the codes of accumulators ``(n, *shape)``, int32."""
        return arith.fire_uniform(acc, self.theta, self.offset, self.lo, self.hi)

    def thresholds(self) -> Array:
        """Return the same neuron as sorted thresholds ``(*theta.shape, hi - lo)``: code lo + (number reached)."""
        levels = np.arange(self.lo + 1, self.hi + 1)
        theta, offset = np.broadcast_arrays(self.theta.astype(np.int64), self.offset.astype(np.int64))
        return theta[..., None] * levels - offset[..., None]

    @property
    def code_values(self) -> Array:
        """The codes in ascending order of thresholds passed."""
        return np.arange(self.lo, self.hi + 1)


@dataclass(frozen=True, eq=False)
class Table:
    """``s = codes[number of thresholds reached]``; thresholds ``(*broadcastable, n)`` sorted, codes ``(n + 1,)``."""

    table: Array
    codes: Array

    @property
    def lo(self) -> int:
        """Smallest code."""
        return int(self.codes.min())

    @property
    def hi(self) -> int:
        """Largest code."""
        return int(self.codes.max())

    def fire(self, acc: Array) -> Array:
        """Return the codes of accumulators ``(n, *shape)``, int32."""
        return arith.fire_table(acc, self.table, self.codes)

    def thresholds(self) -> Array:
        """Return the sorted thresholds."""
        return self.table.astype(np.int64)

    @property
    def code_values(self) -> Array:
        """The codes in ascending order of thresholds passed."""
        return self.codes


@dataclass(frozen=True, eq=False)
class Readout:
    """No neuron: the value is the accumulator itself plus an integer ``offset`` (the folded bias)."""

    offset: Array

    def fire(self, acc: Array) -> Array:
        """Return ``acc + offset``, int64."""
        return acc + self.offset.astype(np.int64)


Ladder: TypeAlias = Uniform | Table | Readout


# -- order-preserving moves of codes, no arithmetic ---------------------------------------------------------------
@dataclass(frozen=True)
class Reshape:
    """The same elements in row-major order under another shape."""

    shape: Shape

    def apply(self, *xs: Array) -> Array:
        """Return the moved batch ``(n, *shape)``."""
        return xs[0].reshape(xs[0].shape[0], *self.shape)


@dataclass(frozen=True)
class Transpose:
    """Axis ``i`` of the result is axis ``perm[i]`` of the source (axes of one sample)."""

    perm: tuple[int, ...]

    def apply(self, *xs: Array) -> Array:
        """Return the moved batch."""
        return xs[0].transpose(0, *(p + 1 for p in self.perm))


@dataclass(frozen=True)
class Concat:
    """The sources joined along ``axis`` of one sample."""

    axis: int

    def apply(self, *xs: Array) -> Array:
        """Return the joined batch."""
        return np.concatenate(xs, axis=self.axis + 1)


@dataclass(frozen=True)
class Slice:
    """``x[start:stop:step]`` on every axis; ``ranges`` holds normalised (start, stop, step) with step > 0."""

    ranges: tuple[tuple[int, int, int], ...]

    def apply(self, *xs: Array) -> Array:
        """Return the cut batch."""
        return xs[0][(slice(None), *(slice(*r) for r in self.ranges))]


@dataclass(frozen=True)
class Pad:
    """Code 0 (the real number 0) added (before, after) on every axis."""

    pads: Pads

    def apply(self, *xs: Array) -> Array:
        """Return the padded batch."""
        return arith.pad(xs[0], ((0, 0), *self.pads))


MoveOp: TypeAlias = Reshape | Transpose | Concat | Slice | Pad


# -- steps ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Population:
    """Neurons driven by projections. ``acc_min``/``acc_max`` are proved for all inputs (before the offset)."""

    name: str
    projections: tuple[Projection, ...]
    ladder: Ladder
    shape: Shape
    acc_min: int
    acc_max: int
    origin: Origin

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the values it reads."""
        return tuple(p.source for p in self.projections)


@dataclass(frozen=True)
class MaxPool:
    """Maximum of codes per window; padding reads the source's smallest code."""

    name: str
    source: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    shape: Shape
    origin: Origin

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the values it reads."""
        return (self.source,)


@dataclass(frozen=True)
class Move:
    """Codes in another place: one :data:`MoveOp` on one source (several for Concat)."""

    name: str
    sources: tuple[str, ...]
    op: MoveOp
    shape: Shape
    origin: Origin


Step: TypeAlias = Population | MaxPool | Move


# -- the host's side: floats in, floats out -----------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class HostOp:
    """A float operation outside the integer network: before the encoding or after the decoding.

    ``kind`` is one of affine (scale, bias), move (op), relu, clip (lo, hi; None: no bound), leaky_relu (slope),
    sigmoid, tanh, softmax (axes), log_softmax (axes); ``args`` holds what stands in the parentheses, axes counted in
    one sample.
    """

    kind: str
    args: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Encoding:
    """``code = clip(floor(x / step + 1/2), lo, hi)`` after ``host`` operations on the model's input ``name``.

    ``model_shape`` is the sample the user gives, ``shape`` that of the codes; ``step`` broadcasts against ``shape``.
    """

    name: str
    value: str
    model_shape: Shape
    dtype: str
    host: tuple[HostOp, ...]
    step: Array
    shape: Shape
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Decoding:
    """``real = step * integer``, then ``host`` operations, is the model's output ``name``."""

    name: str
    value: str
    step: Array
    host: tuple[HostOp, ...]
    shape: Shape


@dataclass(frozen=True)
class ValueInfo:
    """What is known of a value: shape of one sample and the closed range of its integers."""

    shape: Shape
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Program:
    """The integer network. Steps stand in execution order; every name is unique."""

    inputs: tuple[Encoding, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Decoding, ...]
    format: int = FORMAT

    def values(self) -> dict[str, ValueInfo]:
        """Return shape and integer range of every value, inputs first, then in step order."""
        known = {e.value: ValueInfo(e.shape, e.lo, e.hi) for e in self.inputs}
        for step in self.steps:
            known[step.name] = _value_info(step, known)
        return known

    def populations(self) -> Iterator[Population]:
        """Yield the populations in execution order."""
        return (s for s in self.steps if isinstance(s, Population))

    def consumers(self) -> dict[str, list[str]]:
        """Return, for every value, the names of the steps that read it (once per step)."""
        users: dict[str, list[str]] = {v: [] for v in self.values()}
        for step in self.steps:
            for source in dict.fromkeys(step.sources):
                users[source].append(step.name)
        return users


def window_shape(space: Shape, kernel: Shape, strides: Shape, pads: Pads, dilations: Shape) -> Shape:
    """Return the number of windows per axis: ``(x + before + after - ((k - 1) d + 1)) // stride + 1``."""
    return tuple(
        (x + sum(p) - ((k - 1) * d + 1)) // st + 1
        for x, k, st, p, d in zip(space, kernel, strides, pads, dilations, strict=True)
    )


def _value_info(step: Step, known: dict[str, ValueInfo]) -> ValueInfo:
    if isinstance(step, Population):
        if isinstance(step.ladder, Readout):
            offset = step.ladder.offset
            return ValueInfo(step.shape, step.acc_min + int(offset.min()), step.acc_max + int(offset.max()))
        return ValueInfo(step.shape, step.ladder.lo, step.ladder.hi)
    infos = [known[s] for s in step.sources]
    lo, hi = min(i.lo for i in infos), max(i.hi for i in infos)
    if isinstance(step, Move) and isinstance(step.op, Pad):
        lo, hi = min(lo, 0), max(hi, 0)
    return ValueInfo(step.shape, lo, hi)
