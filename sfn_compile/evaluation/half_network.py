"""A network of which a part is integers and the rest floats: where an error comes in, what it does at the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.decibel import varying
from ..graph.graph import Graph
from ..graph.ops import Layer, Normalize
from ..program.network import Program, Step
from . import causes
from .causes import Parts

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Piece:
    """Some samples: every value of the float network, and the integers that the spiking network has in its place."""

    real: Mapping[str, Array]
    codes: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Halves:
    """Both networks on the same samples; ``sites`` are the layers in order, the inputs first.

    ``offsets``: in steps, what layers add before they round down, where that is not a half. A population that fires the
    second digit of another is no layer of its own.
    """

    graph: Graph
    program: Program
    unit: Mapping[str, Array]
    pieces: Sequence[Piece]
    sites: Sequence[str]
    offsets: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def _digits(self) -> dict[str, tuple[str, int]]:
        """By the population of a first digit that of the second, and the radix."""
        return self.program.second_digits()

    def _last(self, name: str) -> tuple[str, int]:
        """Return the population of a site's last digit, and the radix of the one before: 1 where there is one alone."""
        return self._digits.get(name, (name, 1))

    def spiking(self, piece: Piece, name: str) -> Array:
        """Return the real values that a value's integers stand for."""
        return np.asarray(piece.codes[name] * self.unit[name])

    def outputs(self, piece: Piece, k: int) -> dict[str, Array]:
        """Return the network's output values with its first ``k`` layers spiking and the others in floats."""
        fired = [s for name in self.sites[:k] for s in (name, self._last(name)[0])]
        known = {name: self.spiking(piece, name) for name in fired}
        changed, nodes = set(known), self.graph.by_name()
        for node in self.graph.nodes:
            if changed.intersection(node.inputs):
                changed.add(node.name)

        def value(name: str) -> Array:
            if name not in changed:
                return piece.real[name]
            if name not in known:
                known[name] = nodes[name].op.evaluate(*(value(s) for s in nodes[name].inputs))
            return known[name]

        return {name: value(name) for name in self.graph.decoded()}

    @cached_property
    def signal(self) -> Mapping[str, float]:
        """The varying part of every output of the float network."""
        names = self.graph.decoded()
        return {name: varying([piece.real[name] for piece in self.pieces]) for name in names}

    def noise(self, k: int) -> float:
        """Return the largest noise of an output in units of its signal; infinite where only the signal is 0."""
        noise = dict.fromkeys(self.signal, 0.0)
        for piece in self.pieces:
            for name, got in self.outputs(piece, k).items():
                noise[name] += float(((got - piece.real[name]) ** 2).sum())
        signal = self.signal
        return max(noise[n] / signal[n] if signal[n] else float("inf") if noise[n] else 0.0 for n in noise)

    def parts(self, name: str) -> Parts:
        """Return what the error of one layer is made of."""
        total, n = Parts(), sum(len(p.codes[name]) for p in self.pieces)
        for piece in self.pieces:
            total.merge(self._parts(piece, name), len(piece.codes[name]) / n)
        return total

    def book(self, name: str) -> Array | None:
        """Return the codes of an input or layer, ascending; None of a readout."""
        step, info = self.step(name), self.program.values()[name]
        last, base = self._last(name)
        if last != name:
            return np.arange(base * info.lo, base * (info.hi + 1))
        return np.arange(info.lo, info.hi + 1) if step is None else causes.book_of(step)

    def step(self, name: str) -> Step | None:
        """Return the step that makes a value, None of an input."""
        return next((s for s in self.program.steps if s.name == name), None)

    def _parts(self, piece: Piece, name: str) -> Parts:
        node, fed, axis = self.graph.by_name().get(name), piece.real[name], causes.FIRST_AXIS
        if node is not None:
            assert isinstance(node.op, Layer | Normalize)
            fed, axis = node.op.evaluate(*(self.spiking(piece, s) for s in node.inputs)), node.op.axis
        last, base = self._last(name)
        codes, unit, offset = piece.codes[name], self.unit[last], self.offsets.get(last, 0.5)
        if last != name:
            codes = base * codes.astype(np.int64) + piece.codes[last]
        return causes.parts_of(fed, piece.real[name], codes, unit, self.book(name), axis, offset)
