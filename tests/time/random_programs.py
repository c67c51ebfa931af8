"""Random small Programs, clocked at random, by number: every kind of step, inputs that are read again further down."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.passes.mapping.clock import clocked, proved_settling, settled
from sfn_compile.program import network as p
from sfn_compile.testing.builder import Builder

from .clocked_programs import frames_of

Array = NDArray[Any]
EVEN = ("conv", "skip", "pool", "concat", "input again", "sum pool")  # what single spikes can say, too
ANY = (*EVEN, "table", "signed", "gate", "softmax", "norm")


def conv(b: Builder, source: str, out: int, pad: int = 1) -> p.Projection:
    """A 3x3 or 1x1 convolution to ``out`` channels."""
    c = b.info(source).shape[0]
    kernel = 3 if pad else 1
    return p.Projection(source, p.Conv(b.weights(out, c, kernel, kernel, top=9), (1, 1), ((pad, pad),) * 2, (1, 1)))


class Grown:
    """A network of maps that grows by one layer at a time; ``last`` is its newest value of codes."""

    def __init__(self, rng: np.random.Generator, most: int):
        self.rng, self.most = rng, most
        lo = 0 if rng.integers(2) else -int(rng.integers(1, 6))
        self.b = Builder((2, 3, 3), lo, int(rng.integers(1, 9)), int(rng.integers(1 << 30)))
        self.last = "x"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the newest value."""
        return tuple(self.b.info(self.last).shape)

    def hi(self) -> int:
        """A highest code."""
        return int(self.rng.integers(1, self.most + 1))

    def add(self, kind: str, name: str) -> None:
        """Append a layer of a kind, or a convolution where the last value does not take it."""
        b, c, source = self.b, self.shape[0], self.last
        one = np.ones((), np.int64)
        if kind == "skip":
            b.fire(name, conv(b, source, c), p.Projection(source, p.Identity(3 * one)), hi=self.hi())
        elif kind == "pool" and min(self.shape[1:]) > 1:
            b.max_pool(name, source, (2, 2), (1, 1))
        elif kind == "table":
            b.fire(name, conv(b, source, 2, 0), kind="table", lo=-int(self.rng.integers(0, 3)), hi=self.hi())
        elif kind == "signed":
            b.fire(name, conv(b, source, 2), lo=-self.hi(), hi=self.hi())
        elif kind == "gate":
            gate = b.fire(f"{name}.gate", conv(b, source, c, 0), hi=self.hi())
            b.fire(name, p.Product(source, gate, p.Elementwise(2 * one)), conv(b, source, c, 0), hi=self.hi())
        elif kind == "concat" and c <= 4:
            b.move(name, p.Concat(0), source, b.fire(f"{name}.side", conv(b, source, 1), hi=self.hi()))
        elif kind == "input again" and self.shape[1:] == (3, 3):
            b.fire(name, conv(b, source, 2), conv(b, "x", 2, 0), hi=self.hi())
        elif kind == "softmax":
            e = b.follow(f"{name}.exp", conv(b, source, 2, 0), axis=0, hi=self.hi())
            b.share(name, p.Projection(e, p.Identity(64 * one)), norm=e, axis=0, hi=self.hi())
        elif kind == "norm":
            b.normalize(name, source, (0, 1), gain=np.array([[[64 << 4]]] * c), bits=4, lo=-self.hi(), hi=self.hi())
        elif kind == "sum pool" and min(self.shape[1:]) > 1:
            b.fire(name, p.Projection(source, p.SumPool((2, 2), (1, 1), ((0, 0),) * 2, 5 * one)), hi=self.hi())
        else:
            b.fire(name, conv(b, source, 2), hi=self.hi())
        self.last = name

    def built(self) -> p.Program:
        """The network with what it ends in: a readout of all, or its last codes."""
        if self.rng.integers(4) == 0 and not isinstance(self.b.steps[-1], p.Move):  # not the input itself beside spikes
            return self.b.build(self.last)
        flat = self.b.move("flat", p.Reshape((int(np.prod(self.shape)),)), self.last)
        weights = self.b.weights(3, self.b.info(flat).shape[0], top=9)
        return self.b.build(self.b.fire("y", p.Projection(flat, p.Dense(weights)), kind="readout"))


def random_program(number: int) -> tuple[p.Program, p.Program, dict[str, Array]]:
    """Return (a Program, the same clocked, one sample for it) of a number, always the same."""
    rng = np.random.default_rng((17, number))
    even = bool(rng.integers(3) == 0)
    steps = int(rng.integers(2, 17))
    grown = Grown(rng, min(8, steps) if even and rng.integers(3) else 12)
    for i in range(int(rng.integers(1, 5))):
        grown.add(str(rng.choice(EVEN if even else ANY)), f"s{i}")
    program = grown.built()
    made = _over_time(program, rng, steps, even)
    x = {e.value: rng.integers(e.lo, e.hi + 1, (1, *e.shape)).astype(np.int32) for e in program.inputs}
    return program, made, x


def _over_time(program: p.Program, rng: np.random.Generator, steps: int, even: bool) -> p.Program:
    neuron = str(rng.choice(("signed", "burst", "if", "window") if even else ("signed", "unit")))
    burst = [None, "1", "2", "none"][rng.integers(4)] if neuron == "signed" else None
    coding = str(rng.choice(("constant", "frames")))
    potential = "zero" if neuron in ("if", "burst") and rng.integers(4) == 0 else "half"
    said: dict[str, Any] = {"timesteps": steps, "neuron": neuron, "burst": burst, "input_coding": coding}
    try:
        made = clocked(program, Options(**said, initial_potential=potential))
    except CompileError:  # its signed input needs a neuron that takes back
        made = clocked(program, Options(**{**said, "neuron": "signed"}))
    assert made.clock is not None
    return settled(made, min(proved_settling(made), 60)) if made.clock.certifies else made


def shown(made: p.Program, x: dict[str, Array], number: int) -> dict[str, Array]:
    """The sample as the clock takes it."""
    return x if made.frames is None else {k: frames_of(v, made.frames, number) for k, v in x.items()}
