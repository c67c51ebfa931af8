"""Weights wider than a target's: a sum of narrower ones, in several projections of the same map.

A target's weight is a mantissa of its bits and an exponent that a whole projection shares (Loihi's synapses). So
weights are as wide as what is left of them without their common power of two. A wider one is ``w = low + 2**k * high``
with both parts narrow enough. Imported sums of values on different grids and weights with a zero point need this.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...program.network import LinearMap, Population, ProductForm, Program
from ...program.ranges import largest
from ...program.weights import exponent, mantissa_top

Array = NDArray[Any]


def split_weights(program: Program, weight_bits: int) -> Program:
    """Return an equal Program in which every mantissa fits ``weight_bits``."""
    top = largest(weight_bits)
    steps = tuple(_narrow(s, top) if isinstance(s, Population) else s for s in program.steps)
    changed = any(new is not old for new, old in zip(steps, program.steps, strict=True))
    return replace(program, steps=steps) if changed else program


def _narrow(population: Population, top: int) -> Population:
    if all(mantissa_top(m) <= top for m in _forms(population)):
        return population
    maps = tuple(replace(p, map=replace(p.map, weight=w))
                 for p in population.projections for w in parts(p.map.weight, top))  # fmt: skip
    products = tuple(replace(p, form=replace(p.form, weight=w))
                     for p in population.products for w in parts(p.form.weight, top))  # fmt: skip
    return replace(population, projections=maps, products=products)


def _forms(population: Population) -> tuple[LinearMap | ProductForm, ...]:
    return (*(p.map for p in population.projections), *(p.form for p in population.products))


def parts(weight: Array, top: int) -> list[Array]:
    """Return weights that add up to ``weight``, each with a mantissa of at most ``top`` (one below a power of two).

    >>> [w.tolist() for w in parts(np.array([1000, -3]), 127)]
    [[104, -3], [896, 0]]
    """
    weight = np.asarray(weight, np.int64)
    shift = exponent(weight)
    mantissa = weight >> shift
    peak = int(np.abs(mantissa).max(initial=0))
    if peak <= top:
        return [weight]
    if peak <= 2 * top:
        near = np.clip(mantissa, -top, top)
        return [np.asarray(near << shift), np.asarray((mantissa - near) << shift)]
    high = np.sign(mantissa) * (np.abs(mantissa) // (top + 1)) * (top + 1)
    return [np.asarray((mantissa - high) << shift), *parts(high << shift, top)]
