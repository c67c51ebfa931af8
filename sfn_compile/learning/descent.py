"""Descent: a network with rounding learns to compute what the float network computes, on samples without labels.

The loss is the squared error of every output and of every site, relative to the float network's signal there. Adam
(Kingma and Ba, arXiv 1412.6980) with a cosine from its first rate to zero; rates are relative to the size of what they
move. Same samples, seed and options: same numbers, on any number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph.graph import Graph
from ..simulator.run import n_cores, single_threaded_blas
from .student import Parameters, Student, Values
from .weight_grid import Grid, rounded_maps

Array = NDArray[Any]

PIECE = 16  # samples that one thread has in hand: a vector register full of each number
FINEST = 127  # largest weight of 8 bits; coarser weights are not moved once they are fitted: they swing between codes
PIECES = 2  # of one step; more cores would not change the sums


@dataclass(frozen=True)
class Recipe:
    """How long and how fast. ``sites``: what the error of all sites counts beside that of the outputs.

    Rates of weights are relative to the mean magnitude of a map's weights, those of biases to a site's step;
    ``at_levels`` makes them as small as the error that they remove.
    """

    epochs: int = 4
    weights: float = 3e-3
    biases: float = 1e-2
    sites: float = 2.0
    seed: int = 0

    def at_levels(self, levels: int) -> Recipe:
        """Return the recipe with rates for a network of so many levels: twice as high at 7 and below, falling above."""
        factor = min(2.0, 14.0 / levels)
        return replace(self, weights=factor * self.weights, biases=factor * self.biases)


class Teacher:
    """The float network: the graph before levels were chosen and anything was corrected or divided.

    Its values are computed again for every piece: to keep them would take gigabytes.
    """

    def __init__(self, graph: Graph):
        self.student = Student(graph)
        self.nodes = graph.by_name()
        self.at = self.student.parameters()
        self.maps = {n.name: self.student._maps(n, self.at) for n in self.student.layers}

    def values(self, inputs: Mapping[str, Array]) -> Values:
        """Return every value without rounding for inputs with the batch last."""
        return self.student.forward(inputs, self.at, self.maps, rounded=False)[0]


def real_inputs(x: Mapping[str, Array]) -> Values:
    """Return prepared inputs ``(n, *shape)`` with the batch last, float32."""
    return {name: np.moveaxis(v.astype(np.float32), 0, -1) for name, v in x.items()}


@dataclass
class Loss:
    """The relative squared error of outputs and sites. ``signal``: mean of each value's squared norm per sample."""

    student: Student
    teacher: Teacher
    signal: Mapping[str, float]
    sites: float

    @property
    def outputs(self) -> list[str]:
        """Names of the values that leave the network."""
        return self.student.graph.decoded()

    def shares(self) -> dict[str, float]:
        """Return what the error of each value counts."""
        rests = set(self.student.rest.values())  # of the float network nothing is left over
        sites = [n.name for n in self.student.sites if n.name not in rests]
        found = {name: self.sites / len(sites) for name in sites} if self.sites else {}
        for name in self.outputs:
            found[name] = found.get(name, 0.0) + 1.0 / len(self.outputs)
        return {name: share for name, share in found.items() if self.signal[name] > 0}

    def slopes(
        self, x: Mapping[str, Array], at: Parameters, maps: Mapping[str, list[Any]], n: int,
        rng: np.random.Generator | None = None,
    ) -> Parameters:  # fmt: skip
        """Return the slopes of the mean loss over ``n`` samples, of which ``x`` (prepared inputs) is a piece.

        With ``rng``, errors of rounding have random signs.
        """
        want = self.teacher.values(real_inputs(x))
        values, drives = self.student.forward(self.student.encoded(x), at, maps, rng=rng)
        wanted = {
            name: (self.student.whole(name, values) - want[name]) * np.float32(2 * share / (self.signal[name] * n))
            for name, share in self.shares().items()
        }
        wanted |= {self.student.rest[name]: slope for name, slope in wanted.items() if name in self.student.rest}
        return self.student.backward(values, drives, at, maps, wanted)[0]

    def of_outputs(self, x: Mapping[str, Array], at: Parameters, maps: Mapping[str, list[Any]]) -> float:
        """Return the summed relative squared error of the outputs over a piece."""
        want = self.teacher.values(real_inputs(x))
        values, _ = self.student.forward(self.student.encoded(x), at, maps)
        noise = {k: ((values[k] - want[k]).astype(np.float64) ** 2).sum() for k in self.outputs}
        return float(np.mean([noise[k] / max(self.signal[k], 1e-30) for k in self.outputs]))


def signal_of(teacher: Teacher, pieces: list[Mapping[str, Array]]) -> dict[str, float]:
    """Return the mean over samples of every value's squared norm in the float network."""
    total, n = dict[str, float](), 0
    for found in in_threads(lambda x: {k: float((v.astype(np.float64) ** 2).sum()) for k, v in
                                        teacher.values(real_inputs(x)).items()}, pieces):  # fmt: skip
        for name, power in found.items():
            total[name] = total.get(name, 0.0) + power
    n = sum(len(next(iter(x.values()))) for x in pieces)
    return {name: power / n for name, power in total.items()}


class Adam:
    """Adam with a rate per parameter."""

    def __init__(self, at: Parameters, rates: Parameters):
        self.at, self.rates = at, rates
        self.first, self.second, self.t = at.zeros(), at.zeros(), 0

    def step(self, slopes: Parameters, factor: float) -> None:
        """Move every parameter against its slope, at ``factor`` times its rate."""
        self.t += 1
        fix1, fix2 = 1 - 0.9**self.t, 1 - 0.99**self.t
        for part in ("weights", "biases"):
            for key, g in getattr(slopes, part).items():
                m, v = getattr(self.first, part)[key], getattr(self.second, part)[key]
                m += 0.1 * (g - m)
                v += 0.01 * (g * g - v)
                rate = getattr(self.rates, part)[key] * factor
                getattr(self.at, part)[key] -= rate * (m / fix1) / (np.sqrt(v / fix2) + 1e-12)


def learn(
    student: Student, start: Parameters, loss: Loss, x: Mapping[str, Array], recipe: Recipe, grid: Grid,
    progress: Callable[[int, int], None],
) -> Parameters:  # fmt: skip
    """Return what was learnt from the samples ``x`` (prepared inputs ``(n, *shape)``), beginning at ``start``.

    Steps and integer thresholds stay. Every code is as far from its value as rounding puts it, on a side drawn at
    random: with the true sides the weights learn those of the samples, and of nothing else (ADR 0028).
    """
    at = start.copy()
    adam = Adam(at, _rates(at, recipe, grid))
    n, rng = len(next(iter(x.values()))), np.random.default_rng(recipe.seed)
    batch = min(PIECE * PIECES, n)
    rounds = max(1, n // batch)
    total, done = recipe.epochs * rounds, 0
    for _ in range(recipe.epochs):
        order = rng.permutation(n)
        for i in range(rounds):
            maps = rounded_maps(student, at, grid)
            chosen = np.sort(order[i * batch : (i + 1) * batch])
            pieces = list(_pieces({k: v[chosen] for k, v in x.items()}))
            slopes = at.zeros()
            drawn = [(one, np.random.default_rng((recipe.seed, done, k))) for k, one in enumerate(pieces)]
            for found in in_threads(lambda one: loss.slopes(one[0], at, maps, batch, one[1]), drawn):  # noqa: B023
                slopes.add(found)
            adam.step(slopes, 0.5 * (1 + np.cos(np.pi * done / total)))
            done += 1
            progress(done, total)
    return at


def error_of(loss: Loss, at: Parameters, grid: Grid, x: Mapping[str, Array]) -> float:
    """Return the relative squared error of the outputs over the samples ``x``, rounded as the integers will be."""
    maps = rounded_maps(loss.student, at, grid)
    n = len(next(iter(x.values())))
    return sum(in_threads(lambda one: loss.of_outputs(one, at, maps), list(_pieces(x)))) / n


def _rates(at: Parameters, recipe: Recipe, grid: Grid) -> Parameters:
    """Return the rate of every parameter; where nothing fires, biases move relative to their own size."""
    rates = at.zeros()
    for key, w in at.weights.items():
        rate = recipe.weights if grid.top[key[0]] >= FINEST else 0.0
        rates.weights[key] = np.full(w.shape, rate * float(np.abs(w).mean()), np.float32)
    for name, b in at.biases.items():
        step = at.steps.get(name)
        size = float(np.abs(b).mean()) if step is None else float(step.mean())
        rates.biases[name] = np.full(b.shape, recipe.biases * size, np.float32)
    return rates


def _pieces(x: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
    n = len(next(iter(x.values())))
    for i in range(0, n, PIECE):
        yield {k: v[i : i + PIECE] for k, v in x.items()}


def pieces_of(x: Mapping[str, Array]) -> list[Mapping[str, Array]]:
    """Return the samples, arrays ``(n, ...)`` by input, in consecutive pieces of at most :data:`PIECE` samples."""
    return list(_pieces(x))


def in_threads(function: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """Return ``function`` of every item, in order; matrix products run in the thread that asks for them."""
    with single_threaded_blas(), ThreadPoolExecutor(n_cores()) as pool:
        return list(pool.map(function, items))
