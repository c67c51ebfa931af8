"""The integer network: populations, what drives them, moves and ladders. Every decision is taken; no float on any edge.

A :class:`Program` is a list of steps in execution order. Each step makes one integer tensor (a *value*) from earlier
ones; shapes are those of one sample, without a batch axis. The only floats are outside: the encoding of the
inputs and the decoding of the outputs. Meaning of every class: ``docs/spec/program.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ..foundation.diagnostics import Origin
from . import arithmetic
from .clock import Clock, Pace, Presents
from .linear_maps import Conv, Dense, Gather, Identity, LinearMap, MapName, Pads, Shape, SumPool, window_shape
from .moves import MOVES, Concat, MoveName, MoveOp, Pad, Reshape, Slice, Take, Transpose
from .neurons import Ladder, Ratio, Readout, RowSum, RowTable, Table, Uniform
from .products import Elementwise, FormName, Matmul, Product, ProductForm
from .relations import Carries, CopyOf, Exponentials, Relation, RelayOf, Role, SecondDigit
from .rounding import Rounding

__all__ = [
    "ADAPTIVE", "MOVES", "AdaptiveName", "Carries", "Clock", "Concat", "Conv", "CopyOf", "Decoding", "Dense",
    "Elementwise", "Encoding", "Exponentials", "FormName", "Gather", "HostKind", "HostOp", "Identity", "Ladder",
    "LinearMap", "MapName", "Matmul", "MaxPool", "Move", "MoveName", "MoveOp", "Normalization", "Pace", "Pad", "Pads",
    "Part", "Population", "Presents", "Product", "ProductForm", "Program", "Projection", "Ratio", "Readout",
    "Relation", "RelayOf", "Reshape", "Role", "RowSum", "RowTable", "SecondDigit", "Shape", "Slice", "Step",
    "SumPool", "Table", "Take", "Transpose", "Uniform", "ValueInfo", "stands_for", "window_shape",
]  # fmt: skip

FORMAT = 4
CLOCKED_FORMAT = 5  # of a Program with a clock
OMITTED = "omitted where None"  # of a field that a file leaves out then, so that older files read the same
# Names of the classes whose thresholds follow a row of neurons: what a target says it can do, or not.
AdaptiveName: TypeAlias = Literal["RowTable", "Ratio", "Normalization"]
ADAPTIVE: frozenset[AdaptiveName] = frozenset({"RowTable", "Ratio", "Normalization"})
Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Projection:
    """One linear map from the value ``source`` into a population's accumulator; projections add up.

    ``role``: what it is there for. No integer depends on it.
    """

    source: str
    map: LinearMap
    role: Role = "main"


# -- steps ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Population:
    """Neurons driven by projections and products, all added up.

    ``acc_min``/``acc_max`` are proved for all inputs (before the offset). ``norm`` is there with a :class:`Ratio`
    ladder, and only there: what the threshold is scaled by. ``relation``: what it is to another value, None where it
    stands for itself; no integer depends on it.
    """

    name: str
    projections: tuple[Projection, ...]
    ladder: Ladder
    shape: Shape
    acc_min: int
    acc_max: int
    origin: Origin
    products: tuple[Product, ...] = ()
    norm: RowSum | None = None
    relation: Relation | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the values it reads: of the projections, left and right of every product, of the norm."""
        pairs = (s for p in self.products for s in (p.left, p.right))
        return (*(p.source for p in self.projections), *pairs, *(() if self.norm is None else (self.norm.source,)))


@dataclass(frozen=True, eq=False)
class Normalization:
    """Deviations from the row's mean, fired against a threshold that is scaled by the row's standard deviation.

    ``(d, r) = moments(sum of the projections)`` over ``axes``, then ``clip((gain * d + offset * r) floordiv (theta *
    r), lo, hi)`` with r at least 1 (:func:`.arithmetic.moments`). LayerNorm, InstanceNorm, GroupNorm; RMSNorm
    where not ``centred``. Every projection is an :class:`.linear_maps.Identity`: the same codes, weighted.
    ``gain``, and the ladder's theta and offset, broadcast against one sample.
    """

    name: str
    projections: tuple[Projection, ...]
    axes: tuple[int, ...]
    centred: bool
    epsilon: int
    bits: int
    gain: Array
    ladder: Ratio
    shape: Shape
    origin: Origin

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the values it reads."""
        return tuple(p.source for p in self.projections)

    def apply(self, *codes: Array) -> Array:
        """Return the codes for those of every source ``(n, *shape)``, int32."""
        x = sum(p.map.apply(s) for p, s in zip(self.projections, codes, strict=True))
        d, root = arithmetic.moments(np.asarray(x), self.axes, self.centred, self.epsilon, self.bits)
        return self.ladder.fire(d * self.gain.astype(np.int64), root)


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


Step: TypeAlias = Population | Normalization | MaxPool | Move


# -- the host's side: floats in, floats out -----------------------------------------------------------------------
HostKind: TypeAlias = Literal[
    "affine", "move", "relu", "clip", "leaky_relu", "sigmoid", "tanh", "scalar", "softmax", "log_softmax",
    "arg_extreme", "grid", "integer", "max_pool", "linear", "add", "mul",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class HostOp:
    """A float operation outside the integer network: before the encoding or after the decoding.

    ``kind`` is one of affine (scale, bias), move (op), relu, clip (lo, hi; None: no bound), leaky_relu (slope),
    sigmoid, tanh, scalar (steps of an :class:`~.ops.expression.Expression`), softmax (axes), log_softmax (axes),
    arg_extreme (axis, keepdims, smallest, last), grid (step, lo, hi, rounding: rounded to codes, still real), integer
    (scale, zero, dtype: the stored integers of a real value on a grid), max_pool (kernel, strides, pads, dilations),
    linear (map: a linear map with real weights), add, mul; ``args`` holds what is in the parentheses, axes counted
    in one sample.

    ``reads``: numbers of the values it is applied to. An output's parts are numbered from 0, the results of its
    operations go on from there. Empty: the one value numbered before its own result.
    """

    kind: HostKind
    args: tuple[tuple[str, Any], ...] = ()
    reads: tuple[int, ...] = ()

    def sources(self, number: int) -> tuple[int, ...]:
        """Return the numbers of the values that it is applied to, where its own result has this ``number``."""
        return self.reads or (number - 1,)


@dataclass(frozen=True, eq=False)
class Encoding:
    """``code = clip(round(x / step), lo, hi)`` after ``host`` operations on the model's input ``name``.

    ``model_shape`` is the sample the user gives, ``shape`` that of the codes; ``step`` broadcasts against ``shape``.
    ``rounding`` is a rule of :mod:`sfn_compile.program.rounding`.
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
    rounding: Rounding = "half_up"


@dataclass(frozen=True, eq=False)
class Part:
    """A value that an output is decoded from: ``real = step * integer``; ``step`` broadcasts against ``shape``."""

    value: str
    step: Array
    shape: Shape


@dataclass(frozen=True, eq=False)
class Decoding:
    """``real = step * integer``, then ``host`` operations, is the model's output ``name`` of type ``dtype``.

    ``joined``: further values that the operations read, each with a step of its own (a Concat of several heads). The
    output is the result of the last operation.
    """

    name: str
    value: str
    step: Array
    host: tuple[HostOp, ...]
    shape: Shape
    dtype: str = "float32"
    joined: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """All values that it is decoded from, as operations number them."""
        return (Part(self.value, self.step, self.shape), *self.joined)

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values of its parts."""
        return (self.value, *(p.value for p in self.joined))

    def renamed(self, name: Callable[[str], str]) -> Decoding:
        """Return the output with other names of the values that it is decoded from."""
        joined = tuple(replace(p, value=name(p.value)) for p in self.joined)
        return replace(self, value=name(self.value), joined=joined)

    @property
    def is_integer(self) -> bool:
        """Whether the output holds whole numbers: places, or the stored integers of real ones."""
        return "int" in self.dtype

    @property
    def is_place(self) -> bool:
        """Whether the output holds places (ArgMax), of which two are the same or not, and nothing in between."""
        return self.is_integer and not any(op.kind == "integer" for op in self.host)


@dataclass(frozen=True)
class ValueInfo:
    """What is known of a value: shape of one sample and the closed range of its integers."""

    shape: Shape
    lo: int
    hi: int


@dataclass(frozen=True, eq=False)
class Program:
    """The integer network. Steps are in execution order; every name is unique.

    ``clock``: how it runs over several timesteps; None where it answers at once.
    """

    inputs: tuple[Encoding, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Decoding, ...]
    format: int = FORMAT
    clock: Clock | None = field(default=None, metadata={OMITTED: True})

    @property
    def timesteps(self) -> int:
        """The steps in which input arrives: 1 without a clock."""
        return 1 if self.clock is None else self.clock.timesteps

    @property
    def settle(self) -> int:
        """The steps behind them: 0 without a clock."""
        return 0 if self.clock is None else self.clock.settle

    @property
    def frames(self) -> int | None:
        """How many frames a sample has, None where it is no frames."""
        return self.timesteps if self.clock is not None and self.clock.presents == "frames" else None

    def clocked(self, clock: Clock) -> Program:
        """Return the same network, run by a clock."""
        return replace(self, clock=clock, format=CLOCKED_FORMAT)

    def at_once(self) -> Program:
        """Return the same network at one timestep: without its clock."""
        return self if self.clock is None else replace(self, clock=None, format=FORMAT)

    def values(self) -> dict[str, ValueInfo]:
        """Return shape and integer range of every value, inputs first, then in step order."""
        known = {e.value: ValueInfo(e.shape, e.lo, e.hi) for e in self.inputs}
        for step in self.steps:
            known[step.name] = value_info(step, known)
        return known

    def decoded(self) -> list[str]:
        """Return the names of the values that outputs are decoded from, each once."""
        return list(dict.fromkeys(v for o in self.outputs for v in o.values))

    def populations(self) -> Iterator[Population]:
        """Yield the populations in execution order."""
        return (s for s in self.steps if isinstance(s, Population))

    def second_digits(self) -> dict[str, tuple[str, int]]:
        """Return, by the name of the population of a first digit, that of the second and the radix."""
        related = ((p.name, p.relation) for p in self.populations())
        return {r.of: (name, r.radix) for name, r in related if isinstance(r, SecondDigit)}

    def consumers(self) -> dict[str, list[str]]:
        """Return, for every value, the names of the steps that read it (once per step)."""
        users: dict[str, list[str]] = {v: [] for v in self.values()}
        for step in self.steps:
            for source in dict.fromkeys(step.sources):
                users[source].append(step.name)
        return users


def stands_for(step: Step) -> str:
    """Return the value of the Program before it was legalised that a step holds: its own, or that of a relay."""
    relation = step.relation if isinstance(step, Population) else None
    return relation.of if isinstance(relation, RelayOf) else step.name


def value_info(step: Step, known: Mapping[str, ValueInfo]) -> ValueInfo:
    """Return shape and integer range of the value that a step makes, from those of its sources."""
    if isinstance(step, Population | Normalization):
        return ValueInfo(step.shape, *_fired_range(step))
    if isinstance(step, MaxPool | Move):
        infos = [known[s] for s in step.sources]
        lo, hi = min(i.lo for i in infos), max(i.hi for i in infos)
        if isinstance(step, Move) and isinstance(step.op, Pad):
            lo, hi = min(lo, 0), max(hi, 0)
        return ValueInfo(step.shape, lo, hi)
    assert_never(step)


def _fired_range(step: Population | Normalization) -> tuple[int, int]:
    """Return the smallest and the largest integer that a step's ladder makes."""
    ladder = step.ladder
    if isinstance(ladder, Readout):
        assert isinstance(step, Population)
        return step.acc_min + int(ladder.offset.min()), step.acc_max + int(ladder.offset.max())
    if isinstance(ladder, Uniform | Table | RowTable | Ratio):
        return ladder.lo, ladder.hi
    assert_never(ladder)
