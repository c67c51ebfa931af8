"""The integers of what follows a row of neurons: the exponential of a softmax, and normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import fail
from ...foundation.options import Options
from ...graph.ops import IntegerNormal, IntegerSite, NormalForm, NormalSite
from ...graph.ops.layer import Terms
from ...graph.ops.stages import normal_with_integers
from ...graph.steps import top_code
from ...program.arithmetic import ISQRT_LIMIT
from ...program.broadcast import compress
from ...program.network import Ratio, RowTable, ValueInfo
from ...program.ranges import driven_range, largest

Array = NDArray[Any]

# What is not representable: weights of 2**-11 of the largest, roots to 2**-8 of a deviation's unit, biases and rounding
# to 1/64 of a code. Fewer where numbers are so many that a radicand would not fit.
WEIGHT_TOP = 2**11 - 1
ROOT_BITS, FEWEST_ROOT_BITS = 8, 4
THETA = 64
# A score that lies further below its row's maximum than any threshold is silent, however far.
_NEVER = 1 << 40


def row_table(layer: IntegerSite, bias: Array) -> RowTable:
    """Return the neuron of ``round(hi * exp(x - max(x)))`` for ``x = alpha * acc + bias``.

    Code j is due where ``x - max(x) >= ln((j - 1/2) / hi)``. A bias of minus infinity is a mask: cut to where the code
    is 0 beside any unmasked score. Raises SFN202 where a whole row is masked.
    """
    levels, form = layer.levels, layer.integer
    logs = np.log((np.arange(1, levels.hi + 1) - 0.5) / levels.hi)
    alpha = compress(np.asarray(form.alpha, np.float64))
    thresholds = np.ceil(logs / alpha[..., None]).astype(np.int64)
    reach = form.acc_max - form.acc_min - int(thresholds.min()) + 1
    units = np.where(np.isfinite(bias), bias, 0.0) / alpha
    offset = np.floor(units + 0.5).clip(-_NEVER, _NEVER).astype(np.int64)
    masked = np.broadcast_to(np.isneginf(bias), offset.shape)
    rows = np.moveaxis(masked, layer.activation.axis % masked.ndim, -1)
    if rows.all(axis=-1).any():
        raise fail("SFN202", "a mask leaves a row of the softmax nothing to choose from")
    floor = offset.min(where=~masked, initial=np.iinfo(np.int64).max) - reach
    offset = np.where(masked, floor, offset)
    return RowTable(thresholds, np.arange(levels.hi + 1), compress(offset), layer.activation.axis)


def ratio_weight(terms: Terms, infos: Mapping[str, ValueInfo], options: Options) -> int:
    """Return the integer weight of the only term of a quotient, a power of two: the largest whose accumulators fit."""
    projections = tuple(replace(p, map=replace(p.map, weight=_ones(p.map.weight))) for p in terms[0])
    products = tuple(replace(p, form=replace(p.form, weight=_ones(p.form.weight))) for p in terms[1])
    low, high = driven_range(projections, products, infos)
    most = largest(options.acc_bits) // max(int(high.max()), -int(low.min()), 1)
    return 1 << (max(min(most, largest(options.weight_bits)), 1).bit_length() - 1)


def ratio_step(step: Array, unit: Array, weight: int) -> Array:
    """Return the steps, like ``step``, nearest to it that are integer thresholds: ``theta * unit / weight``.

    ``unit`` is the real value of one code of the term. Steps are ours to choose, so that no weight has to be rounded.
    """
    theta = np.maximum(np.rint(step * weight / np.where(unit > 0, unit, step)), 1)
    return np.where(unit > 0, theta * unit / weight, step)


def _ones(weight: Array) -> Array:
    return np.ones_like(weight, np.int64)


def normalized(op: NormalSite, steps: Sequence[Array], sources: Sequence[ValueInfo]) -> IntegerNormal:
    """Return the normalisation with integers for codes of its sources of real value ``steps`` each. Raises SFN401.

    With u the real value of one unit of ``x = sum(weight * code)``, deviations d are worth u/n and the root r is worth
    u / (n * 2**bits), so ``scale * deviation / root + bias`` in codes of the site's step D is ``(scale * 2**bits / D) *
    d / r + bias / D``. All of it times theta is integer.
    """
    levels, shape = op.levels, sources[0].shape
    rank, n = len(shape), math.prod(shape[a] for a in op.axes)
    steps = [compress(np.broadcast_to(s, shape)) for s in steps]
    code = sum(top_code(s) for s in sources)
    top, bits = _precision(n, code, len(steps) > 1 or steps[0].size > 1)
    unit = max(float(s.max()) for s in steps) / top
    weights = tuple(np.rint(s / unit).astype(np.int64) for s in steps)
    squares, added = (n * code * top) ** 2, Fraction(op.epsilon) * (n / Fraction(unit)) ** 2
    while bits > 0 and squares + added >= Fraction(ISQRT_LIMIT, 4**bits) and added > squares:
        bits -= 1  # an epsilon above every variance: so long a root needs no fraction
    epsilon = round(added * 4**bits)
    if (squares << (2 * bits)) + epsilon >= ISQRT_LIMIT:
        what = f"the variance of {n} numbers of {code} levels needs more than 62 bits"
        raise fail("SFN401", what, fix="lower --levels")
    scale, bias, size = (_ranked(a, rank) for a in (op.scale, op.bias, levels.step))
    gain = np.rint(THETA * 2.0**bits * scale / size).astype(np.int64)
    offset = np.floor(THETA / 2 + THETA * bias / size).astype(np.int64)
    theta = np.full((1,) * rank, THETA, np.int64)
    ladder = Ratio(theta, compress(offset), levels.lo, levels.hi)
    return normal_with_integers(op, NormalForm(weights, compress(gain), epsilon, bits, ladder))


def _precision(n: int, code: int, weighted: bool) -> tuple[int, int]:
    """Return the largest weight of a code, and the fractional bits of the root, whose radicand fits."""
    for bits in range(ROOT_BITS, FEWEST_ROOT_BITS - 1, -1):
        most = math.isqrt((ISQRT_LIMIT - 1) >> (2 * bits + 1)) // (n * code)
        if most >= (WEIGHT_TOP if weighted else 1):
            return (WEIGHT_TOP if weighted else 1), bits
    return (max(most, 1) if weighted else 1), FEWEST_ROOT_BITS


def _ranked(a: Array, rank: int) -> Array:
    return np.asarray(a, np.float64).reshape((1,) * (rank - np.ndim(a)) + np.shape(a))
