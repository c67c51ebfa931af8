"""Layers of an imported quantised network: its integer weights as they are, its rounding as integer thresholds.

One accumulator unit is worth ``alpha = unit * step of the input`` per channel, so the stored weights are the integers
of the projection. The quantiser that follows computes ``round(float32(acc + b) * float32(alpha / step))``: every
integer accumulator has its code, and the thresholds are where that code changes. Nothing is rounded a second time.

A sum of two values on different grids has no common unit. Its two weights are the best fraction ``p / q`` of the two
steps with at most :data:`SUM_BITS` bits, so that no code moves but at a tie; targets with narrower weights split them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir import Levels
from ..ops import IntegerForm, Layer
from ..program import Identity, LinearMap, Shape, SumPool, Table, ValueInfo
from ..ranges import accumulator_range
from ..rounding import to_codes
from .arrays import along, channel_vector
from .scale import scale_output

Array = NDArray[Any]

SUM_BITS = 15
# Weights and units come from float32 constants multiplied in float64: a quotient this close to an integer is one.
WHOLE = 2.0**-20


def integer_form(
    layer: Layer, maps: list[LinearMap], steps: list[Array], infos: list[ValueInfo], shape: Shape
) -> IntegerForm | None:
    """Return the stored integers of a layer, None where it has no such form and is to be rounded like any other.

    ``maps`` read codes; ``steps`` are those of the sources, ``infos`` their ranges, ``shape`` the population's.
    """
    if not any(u is not None for u in layer.units) and (layer.levels is None or not layer.levels.imported):
        return None
    found = [_unit(*term, shape, layer.axis) for term in zip(maps, layer.units, steps, strict=True)]
    units = [u for u in found if u is not None]
    if len(units) < len(maps):
        return None
    alpha = _common(units, [m for m, u in zip(maps, layer.units, strict=True) if u is None], maps)
    scaled = [scale_output(m, along(layer.axis, len(shape), 1.0 / alpha), shape) for m in maps]
    if any(m is None for m in scaled):
        return None
    integer = [replace(m, weight=np.rint(m.weight).astype(np.int64)) for m in scaled if m is not None]
    if len(maps) == 1 and np.abs(scaled[0].weight - integer[0].weight).max() > WHOLE:  # type: ignore[union-attr]
        return None
    low, high = accumulator_range(list(zip(integer, infos, strict=True)))
    return IntegerForm(
        tuple(integer), along(layer.axis, len(shape), alpha), None, int(low.min()), int(high.max()), ("imported",)
    )


def _unit(linear: LinearMap, unit: Array | None, step: Array, shape: Shape, axis: int) -> Array | None:
    """Return the real value of one integer of a map on codes per channel ``(c,)``, None where there is none."""
    if unit is None:
        if not isinstance(linear, Identity | SumPool):
            return None
        found = channel_vector(np.abs(linear.weight), shape, axis)
        return found if found is not None and (found > 0).all() else None
    if step.size > 1:
        return None
    return channel_vector(unit * step.item(), shape, axis)


def _common(units: list[Array], free: list[LinearMap], maps: list[LinearMap]) -> Array:
    """Return the value of one accumulator unit: that of the stored weights, or a fraction that all terms share."""
    stored = [u for u, m in zip(units, maps, strict=True) if not any(m is f for f in free)]
    if stored:
        return stored[0]
    if len(units) == 1:
        return units[0]
    rows = [np.broadcast_to(u, np.broadcast_shapes(*(v.shape for v in units))) for u in units]
    return np.array([_fraction([float(r[c]) for r in rows]) for c in range(len(rows[0]))])


def _fraction(values: list[float]) -> float:
    """Return the unit in which the values are nearest to integers of :data:`SUM_BITS` bits.

    >>> unit = _fraction([0.3, 0.2])
    >>> round(0.3 / unit, 6), round(0.2 / unit, 6)
    (3.0, 2.0)
    """
    largest = max(values)
    limit = 2 ** (SUM_BITS - 1) - 1
    best, error = largest, float("inf")
    for value in values:
        q = Fraction(value / largest).limit_denominator(limit).denominator
        for k in {1, max(limit // q, 1)}:
            unit = largest / (q * k)
            worst = max(abs(v / unit - round(v / unit)) / (v / unit) for v in values)
            if worst < error * (1 - 1e-9):
                best, error = unit, worst
    return best


def table(layer: Layer, form: IntegerForm, levels: Levels) -> Table:
    """Return the thresholds at which the imported quantiser's code changes, for every reachable accumulator."""
    bias, alpha, step = np.broadcast_arrays(layer.bias, form.alpha, levels.step)
    signs = levels.rounding == "sign"
    codes = np.array([-1, 1]) if signs else np.arange(levels.lo, levels.hi + 1)
    kinds, place = np.unique(
        np.stack([a.reshape(-1) for a in (bias, alpha, step)], axis=1), axis=0, return_inverse=True
    )
    code = _quantizer(layer, levels, *(kinds[:, i : i + 1] for i in range(3)))
    rows = first_reaching(code, codes[1:], form.acc_min, form.acc_max, len(kinds))
    return Table(rows[place.reshape(-1)].reshape(*bias.shape, len(codes) - 1), codes)


def _quantizer(layer: Layer, levels: Levels, bias: Array, alpha: Array, step: Array) -> Callable[[Array], Array]:
    """Return accumulators ``(kinds, n)`` -> codes, in the arithmetic of onnxruntime's integer kernels where it applies.

    Those add the stored bias as an integer and multiply by one float32 number; any other activation is computed in
    float64 first.
    """
    assert layer.activation is not None
    whole = np.rint(bias / alpha)
    stored = bool((np.abs(bias / alpha - whole) <= WHOLE * np.maximum(np.abs(whole), 1)).all())
    kind = layer.activation.kind
    unit = np.ones((), np.float32)
    if kind in ("identity", "relu", "clip") and stored and levels.rounding == "half_even":
        factor = (alpha.astype(np.float32) / step.astype(np.float32)).astype(np.float32)
        # Rounding never falls, so the bounds of the activation may as well be applied to the codes.
        ends = np.broadcast_to(np.array([-np.inf, np.inf]), (len(step), 2))
        lo, hi = np.split(to_codes(layer.activation.evaluate(ends), step, levels.lo, levels.hi, "half_even"), 2, axis=1)
        return lambda acc: np.clip(
            to_codes((acc + whole).astype(np.float32) * factor, unit, levels.lo, levels.hi, "half_even"), lo, hi
        )

    def general(acc: Array) -> Array:
        assert layer.activation is not None
        real = layer.activation.evaluate(alpha * acc + bias)
        return to_codes(real.astype(np.float32) / step.astype(np.float32), unit, levels.lo, levels.hi, levels.rounding)

    return general


def first_reaching(code: Callable[[Array], Array], wanted: Array, lowest: int, highest: int, n_rows: int) -> Array:
    """Return per row the smallest accumulator in [lowest, highest + 1] whose code is at least each ``wanted`` one.

    ``code`` maps accumulators ``(n_rows, n)`` to codes and never falls; the result is ``(n_rows, len(wanted))``.
    """
    low = np.full((n_rows, len(wanted)), lowest, np.int64)
    high = np.full((n_rows, len(wanted)), highest + 1, np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        reached = code(middle) >= wanted
        high = np.where(reached, middle, high)
        low = np.where(reached, low, middle + 1)
    return low
