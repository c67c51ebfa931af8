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

from ..program.network import LinearMap, Population, ProductForm, Program

Array = NDArray[Any]


def exponent(weight: Array) -> int:
    """Return the largest k so that 2**k divides every weight, 0 where all are 0.

    >>> exponent(np.array([12, -8, 0])), exponent(np.array([0]))
    (2, 0)
    """
    bits = int(np.bitwise_or.reduce(np.abs(np.asarray(weight, np.int64)).reshape(-1), initial=0))
    return (bits & -bits).bit_length() - 1 if bits else 0


def mantissa_top(linear: LinearMap | ProductForm) -> int:
    """Return the largest absolute weight without the power of two that all weights share."""
    weight = np.asarray(linear.weight, np.int64)
    return int(np.abs(weight).max(initial=0)) >> exponent(weight)


def split_weights(program: Program, weight_bits: int) -> Program:
    """Return an equal Program in which every mantissa fits ``weight_bits``."""
    top = 2 ** (weight_bits - 1) - 1
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
    largest = int(np.abs(mantissa).max(initial=0))
    if largest <= top:
        return [weight]
    if largest <= 2 * top:
        near = np.clip(mantissa, -top, top)
        return [np.asarray(near << shift), np.asarray((mantissa - near) << shift)]
    high = np.sign(mantissa) * (np.abs(mantissa) // (top + 1)) * (top + 1)
    return [np.asarray((mantissa - high) << shift), *parts(high << shift, top)]
