"""Layers of an imported quantised network: its integer weights as they are, its rounding as integer thresholds.

One accumulator unit is worth ``alpha = unit * step of the input`` per channel, so the stored weights are the integers
of the projection. The quantiser that follows computes ``round(float32(acc + b) * float32(alpha / step))``: every
integer accumulator has its code, and the thresholds are where that code changes. Nothing is rounded a second time.

A sum of values on different grids has no common unit. Its terms are multiples of a fraction of one of them, fine
enough that no code moves but next to a tie; targets with narrower weights split them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...graph.graph import Levels
from ...graph.ops import Activation, IntegerForm, IntegerSite, Layer, Site
from ...graph.ops.layer import Terms, with_maps
from ...graph.scaling import scale_output
from ...program.broadcast import along, channel_vector
from ...program.network import Elementwise, Identity, LinearMap, Matmul, Shape, SumPool, Table, ValueInfo
from ...program.ranges import accumulator_range, driven_range
from ...program.rounding import to_codes

Array = NDArray[Any]

SUM_BITS = 15
ACC_BITS = 24
READOUT_TOP = 127
# A multiple this near moves the largest of 256 codes by 2**-10 of a step.
NEAR = 2.0**-18
# Weights and units come from float32 constants multiplied in float64: a quotient this close to an integer is one.
WHOLE = 2.0**-20


def integer_form(
    layer: Layer, terms: Terms, steps: Mapping[str, Array], infos: Mapping[str, ValueInfo], shape: Shape
) -> IntegerForm | None:
    """Return the stored integers of a layer, None where it has no such form and is rounded like any other.

    ``terms`` read codes; ``steps`` and ``infos`` are those of the values they read, ``shape`` is the population's.
    """
    if not layer.has_units and (not isinstance(layer, Site) or not layer.levels.imported):
        return None
    projections, products = terms
    axis = layer.axis
    if layer.norm_axis is not None or isinstance(axis, tuple) or any(isinstance(p.form, Matmul) for p in products):
        return None
    if len(projections) + len(products) == 1 and not layer.has_units:
        return _moved_codes(layer, terms, infos)
    if products:
        return None
    maps, read = [p.map for p in projections], [infos[p.source] for p in projections]
    each = zip(projections, layer.terms, strict=True)
    units = [_unit(p.map, term.unit, steps[p.source], shape, axis) for p, term in each]
    known = [u for u in units if u is not None]
    if len(known) < len(maps):
        return None
    n, stored = shape[axis], [term.unit is not None for term in layer.terms]
    extents = _extents(maps, known, read, shape, axis)
    alpha = common_unit(np.stack([np.broadcast_to(u, n) for u in known]), stored, extents)
    integer = [_on_unit(m, along(axis, len(shape), alpha), shape) for m in maps]
    if not isinstance(layer, Site):  # nothing rounds a readout but its bias: the finer its unit, the better
        fine = max(1, READOUT_TOP // max(int(np.abs(m.weight).max(initial=0)) for m in integer))
        integer, alpha = [replace(m, weight=m.weight * fine) for m in integer], alpha / fine
    low, high = accumulator_range(list(zip(integer, read, strict=True)))
    ends = int(low.min()), int(high.max())
    return IntegerForm(with_maps(layer.terms, integer), along(axis, len(shape), alpha), *ends, ("imported",))


def _moved_codes(layer: Layer, terms: Terms, infos: Mapping[str, ValueInfo]) -> IntegerForm | None:
    """Return the form of codes, sums or products of codes, that only get another grid: weight 1, the unit beside it.

    A window cut at a border has a divisor of its own, so the unit may differ from neuron to neuron.
    """
    projections, products = terms
    term = projections[0].map if projections else products[0].form
    if not isinstance(term, Identity | SumPool | Elementwise) or not term.weight.all():
        return None
    sign = np.sign(term.weight).astype(np.int64)
    signs = tuple(replace(p, map=replace(term, weight=sign)) for p in projections)  # type: ignore[arg-type]
    gates = tuple(replace(p, form=Elementwise(sign)) for p in products)
    low, high = driven_range(signs, gates, infos)
    whole, forms = with_maps(layer.terms, [p.map for p in signs]), tuple(p.form for p in gates)
    ends = int(low.min()), int(high.max())
    return IntegerForm(whole, np.abs(term.weight), *ends, ("imported",), forms)


def _on_unit(linear: LinearMap, alpha: Array, shape: Shape) -> LinearMap:
    scaled = scale_output(linear, 1.0 / alpha, shape)
    assert scaled is not None  # alpha runs along the channels of the population
    return replace(scaled, weight=np.rint(scaled.weight).astype(np.int64))


def _unit(linear: LinearMap, unit: Array | None, step: Array, shape: Shape, axis: int) -> Array | None:
    """Return the real value of one integer of a map on codes per channel ``(c,)``, None where there is none."""
    if unit is None:
        if not isinstance(linear, Identity | SumPool):
            return None
        found = channel_vector(np.abs(linear.weight), shape, axis)
    else:
        found = channel_vector(unit * step.item(), shape, axis) if step.size == 1 else None
    return found if found is not None and (found > 0).all() else None


def _extents(
    maps: list[LinearMap], units: list[Array], infos: list[ValueInfo], shape: Shape, axis: int
) -> list[tuple[int, int]]:
    """Return for every term, written in its own unit, the largest weight and the furthest accumulator."""
    found = []
    for linear, unit, info in zip(maps, units, infos, strict=True):
        own = _on_unit(linear, along(axis, len(shape), unit), shape)
        low, high = accumulator_range([(own, info)])
        found.append((int(np.abs(own.weight).max(initial=0)), int(max(-low.min(), high.max()))))
    return found


def common_unit(units: Array, stored: list[bool], extents: list[tuple[int, int]]) -> Array:
    """Return the unit ``(c,)`` of which all terms' units ``(terms, c)`` are integer multiples, as nearly as can be.

    It is a fraction 1/k of the first stored unit, of the largest one where no term has stored weights: the smallest k
    whose multiples are within :data:`NEAR`, else the best k at which weights fit :data:`SUM_BITS` and accumulators
    :data:`ACC_BITS`.

    >>> units = np.array([[0.3], [0.2]])
    >>> (units / common_unit(units, [False, False], [(1, 255), (1, 255)])).round(6).tolist()
    [[3.0], [2.0]]
    """
    reference = units[stored.index(True)] if any(stored) else units.max(axis=0)
    tops, reaches = (np.array(column)[:, None, None] for column in zip(*extents, strict=True))
    k = np.arange(1, 2 ** (SUM_BITS - 1) // int(tops.max()) + 1)
    kinds, place = np.unique(units / reference, axis=1, return_inverse=True)
    ratio = kinds[:, :, None] * k
    multiple = np.maximum(np.rint(ratio), 1)
    error = (np.abs(ratio - multiple) / ratio).max(axis=0)
    wide = (multiple * tops >= 2 ** (SUM_BITS - 1)).any(axis=0) | (
        (multiple * reaches).sum(axis=0) >= 2 ** (ACC_BITS - 1)
    )
    wide[:, 0] = False
    error = np.where(wide, np.inf, error)
    near = error <= NEAR
    best = np.where(near.any(axis=1), near.argmax(axis=1), error.argmin(axis=1))
    return np.asarray(reference / k[best][place.reshape(-1)])


def table(layer: IntegerSite) -> Table:
    """Return the thresholds at which the imported quantiser's code changes, for every reachable accumulator."""
    levels, form = layer.levels, layer.integer
    bias, alpha, step = np.broadcast_arrays(layer.bias, form.alpha, levels.step)
    signs = levels.rounding == "sign"
    codes = np.array([-1, 1]) if signs else np.arange(levels.lo, levels.hi + 1)
    kinds, place = np.unique(
        np.stack([a.reshape(-1) for a in (bias, alpha, step)], axis=1), axis=0, return_inverse=True
    )
    code = _quantizer(layer.activation, levels, *(kinds[:, i : i + 1] for i in range(3)))
    rows = first_reaching(code, codes[1:], form.acc_min, form.acc_max, len(kinds))
    return Table(rows[place.reshape(-1)].reshape(*bias.shape, len(codes) - 1), codes)


def _quantizer(
    activation: Activation, levels: Levels, bias: Array, alpha: Array, step: Array
) -> Callable[[Array], Array]:
    """Return accumulators ``(kinds, n)`` -> codes, in the arithmetic of onnxruntime's integer kernels where it applies.

    Those add the stored bias as an integer and multiply by one float32 number; any other activation is computed in
    float64 first.
    """
    whole = np.rint(bias / alpha)
    stored = bool((np.abs(bias / alpha - whole) <= WHOLE * np.maximum(np.abs(whole), 1)).all())
    kind = activation.kind
    unit = np.ones((), np.float32)
    if kind in ("identity", "relu", "clip") and stored and levels.rounding == "half_even":
        factor = (alpha.astype(np.float32) / step.astype(np.float32)).astype(np.float32)
        # Rounding never falls, so the bounds of the activation may as well be applied to the codes.
        ends = np.broadcast_to(np.array([-np.inf, np.inf]), (len(step), 2))
        lo, hi = np.split(to_codes(activation.evaluate(ends), step, levels.lo, levels.hi, "half_even"), 2, axis=1)
        return lambda acc: np.clip(
            to_codes((acc + whole).astype(np.float32) * factor, unit, levels.lo, levels.hi, "half_even"), lo, hi
        )

    def general(acc: Array) -> Array:
        real = activation.evaluate(alpha * acc + bias)
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
