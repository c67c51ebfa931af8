"""Small integer Programs written by hand: what the conformance suite and the tests of back ends are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import Origin
from ..program.network import (
    Decoding,
    Encoding,
    Identity,
    Ladder,
    MaxPool,
    Move,
    MoveOp,
    Normalization,
    Population,
    Product,
    Program,
    Projection,
    Ratio,
    Readout,
    Relation,
    RowSum,
    RowTable,
    Shape,
    Step,
    SumPool,
    Table,
    Uniform,
)
from ..program.ranges import driven_range, norm_top, normalization_reach

Array = NDArray[Any]


class Builder:
    """Writes small integer Programs by hand: seeded weights, proved ranges, thresholds in the reachable range."""

    def __init__(self, shape: Shape, lo: int = 0, hi: int = 15, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.inputs: tuple[Encoding, ...] = ()
        self.steps: list[Step] = []
        self.input("x", shape, lo, hi)

    def input(self, name: str, shape: Shape, lo: int = 0, hi: int = 15) -> str:
        """Add an input beside ``x``."""
        one = np.ones((1,) * len(shape))
        self.inputs += (Encoding(name, name, shape, "float32", (), one, shape, lo, hi),)
        return name

    def _program(self, out: str | None = None) -> Program:
        return Program(self.inputs, tuple(self.steps), ())

    def info(self, value: str) -> Any:
        """Return shape and range of a value made so far."""
        return self._program().values()[value]

    def weights(self, *shape: int, top: int = 127) -> Array:
        """Return random int8 weights in [-top, top]."""
        return self.rng.integers(-top, top + 1, shape)

    def fire(self, name: str, *terms: Projection | Product, kind: str = "uniform", lo: int = 0, hi: int = 7) -> str:
        """Add a population. ``kind``: uniform, pow2 (theta a power of two), table, readout."""
        shape = self._shape(terms[0])
        projections = tuple(t for t in terms if isinstance(t, Projection))
        products = tuple(t for t in terms if isinstance(t, Product))
        low, high = driven_range(projections, products, self._program().values())
        span = int(max(-low.min(), high.max(), 1))
        column = (shape[0], *(1,) * (len(shape) - 1))
        ladder: Ladder
        if kind == "readout":
            ladder = Readout(self.rng.integers(-span, span + 1, column))
        elif kind == "table":
            taus = np.sort(self.rng.integers(-span // 3, span // 3 + 1, (*column, hi - lo)), axis=-1)
            ladder = Table(taus, np.arange(lo, hi + 1))
        else:
            top = max(1, span // (3 * max(hi - lo, 1)))
            theta = self.rng.integers(1, top + 1, column)
            theta = 2 ** np.floor(np.log2(theta)).astype(np.int64) if kind == "pow2" else theta | 1
            ladder = Uniform(theta, self.rng.integers(-top, top + 1, column), lo, hi)
        self.steps.append(
            Population(name, projections, ladder, shape, int(low.min()), int(high.max()), Origin((name,)), products)
        )
        return name

    def follow(self, name: str, *terms: Projection | Product, axis: int, hi: int = 255, rows: Shape = ()) -> str:
        """Add a population whose thresholds follow the maximum over ``axis``: codes of an exponential up to ``hi``.

        Its thresholds have the shape ``rows``, which broadcasts against the population (default: all share them).
        """
        self.fire(name, *terms, kind="readout")
        made = self._last()
        width = self.rng.uniform(0.1, 0.3, (*rows, 1)) * (made.acc_max - made.acc_min)
        taus = np.floor(width * np.log((np.arange(1, hi + 1) - 0.5) / hi)).astype(np.int64)
        offset = self.rng.integers(-9, 10, made.ladder.offset.shape)  # type: ignore[union-attr]
        self.steps[-1] = replace(made, ladder=RowTable(np.minimum(taus, 0), np.arange(hi + 1), offset, axis))
        return name

    def share(self, name: str, *terms: Projection | Product, norm: str, axis: int, lo: int = 0, hi: int = 15) -> str:
        """Add a population whose thresholds are scaled by the sum of ``norm`` over ``axis``."""
        self.fire(name, *terms, kind="readout")
        made = replace(self._last(), norm=RowSum(norm, axis))
        column = made.ladder.offset.shape  # type: ignore[union-attr]
        span, top = max(-made.acc_min, made.acc_max, 1), norm_top(made, self._program().values())
        theta = self.rng.integers(1, max(2, 2 * span // (top * max(hi - lo, 1)) + 1), column)
        self.steps[-1] = replace(made, ladder=Ratio(theta, self.rng.integers(-theta, theta + 1), lo, hi))
        return name

    def normalize(
        self, name: str, source: str, axes: Shape, gain: Array, centred: bool = True, epsilon: int = 1, bits: int = 8,
        weight: Array | None = None, lo: int = -16, hi: int = 15, carry: str | None = None,
    ) -> str:  # fmt: skip
        """Add a normalisation over ``axes``; thresholds so that three standard deviations pass all of them.

        ``carry`` names a second value that is added, with weight 1.
        """
        info = self.info(source)
        weight = np.ones((), np.int64) if weight is None else weight
        theta = np.maximum(np.abs(gain) * 3 // (max(hi, -lo) << bits), 1)
        ladder = Ratio(theta, self.rng.integers(-4 * theta, 4 * theta + 1), lo, hi)
        read: tuple[Projection, ...] = (Projection(source, Identity(weight)),)
        if carry is not None:
            read += (Projection(carry, Identity(np.ones((), np.int64))),)
        step = Normalization(name, read, axes, centred, epsilon, bits, gain, ladder, info.shape, Origin((name,)))
        assert normalization_reach(step, self._program().values())["radicand"][1] < 2**62
        self.steps.append(step)
        return name

    def relate(self, relation: Relation) -> None:
        """Say what the population that was added last is to another value."""
        self.steps[-1] = replace(self._last(), relation=relation)

    def _last(self) -> Population:
        made = self.steps[-1]
        assert isinstance(made, Population)
        return made

    def _shape(self, term: Projection | Product) -> Shape:
        if isinstance(term, Product):
            return term.form.out_shape(self.info(term.left).shape, self.info(term.right).shape)
        return term.map.out_shape(self.info(term.source).shape)

    def unsorted(self, name: str, *projections: Projection) -> str:
        """Add a population whose codes fall and rise; every second channel passes three of them at one accumulator."""
        self.fire(name, *projections, kind="table", hi=9)
        taus = self.steps[-1].ladder.table  # type: ignore[union-attr]
        taus[::2, ..., 1:4] = taus[::2, ..., 3:4]
        ladder = Table(taus, np.array([1, 0, -1, -2, -1, 0, 1, 2, 5, 4]))
        self.steps[-1] = replace(self.steps[-1], ladder=ladder)  # type: ignore[arg-type]
        return name

    def move(self, name: str, op: MoveOp, *sources: str) -> str:
        """Add a move."""
        shape = op.apply(*(np.zeros((1, *self.info(s).shape)) for s in sources)).shape[1:]
        self.steps.append(Move(name, sources, op, shape, Origin((name,))))
        return name

    def max_pool(self, name: str, source: str, kernel: Shape, strides: Shape, pads: Any = None) -> str:
        """Add a max pooling."""
        pads = pads or ((0, 0),) * len(kernel)
        pool = MaxPool(name, source, kernel, strides, pads, (1,) * len(kernel), (), Origin((name,)))
        out = SumPool(kernel, strides, pads, np.ones(1)).out_shape(self.info(source).shape)
        self.steps.append(replace(pool, shape=out))
        return name

    def build(self, out: str) -> Program:
        """Return the Program with one output."""
        shape = self.info(out).shape
        return Program(self.inputs, tuple(self.steps), (Decoding("y", out, np.ones(()), (), shape),))
