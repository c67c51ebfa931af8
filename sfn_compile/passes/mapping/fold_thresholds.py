"""fold-thresholds: bias, rounding offset and activation become integer thresholds, with exact rationals.

A code is due where ``f(alpha * acc + beta) >= d D``, with d = j - 1/2 for code j of a uniform ladder that rounds to
nearest, that is ``acc >= (g(d D) - beta) / alpha`` with g the inverse of the non-decreasing f. Accumulators are
integers, so the ceiling of the right-hand side is the exact threshold. For a uniform ladder all of them are one offset:
``floor(theta / 2 + beta / alpha)``, with another share of theta where the levels have another offset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from ...foundation.diagnostics import fail
from ...graph.graph import Graph, Levels, Node
from ...graph.ops import Activation, Expression, IntegerForm, IntegerLayer, IntegerReadout, IntegerSite
from ...graph.ops.stages import integer_layer, with_ladder
from ...graph.ops.step_rows import known_steps
from ...program.broadcast import compress
from ...program.network import Ladder, Ratio, Readout, Table, Uniform
from ..base import PassResult
from . import imported
from .quantize_weights import uniform_site
from .row_forms import row_table
from .scalar_tables import Scalar, scalar_table
from .step_tables import step_ladder

Array = NDArray[Any]


# Beyond every accumulator, and an offset that is cut here still says "always" or "never".
_FAR = 1 << 52


@dataclass(frozen=True)
class FoldThresholds:
    """Gives every Layer its integer ladder; after this no float is on any edge."""

    name: ClassVar[str] = "fold-thresholds"
    needs: ClassVar[frozenset[str]] = frozenset({"weights-integer"})
    makes: ClassVar[frozenset[str]] = frozenset({"thresholds-integer", "ranges-proved"})
    breaks: ClassVar[frozenset[str]] = frozenset()
    exact: ClassVar[bool] = False

    def run(self, graph: Graph) -> PassResult:
        """Return the graph with ladders."""
        return PassResult(replace(graph, nodes=tuple(self._fold(n) for n in graph.nodes)))

    def _fold(self, node: Node) -> Node:
        layer = integer_layer(node)
        if layer is None:
            return node
        return replace(node, op=with_ladder(layer, ladder(layer)), origin=node.origin.touched_by(self.name))


def ladder(layer: IntegerLayer) -> Ladder:
    """Return the integer ladder of a layer with integer weights."""
    bias, form = compress(layer.bias), layer.integer
    if isinstance(layer, IntegerReadout):
        return Readout(_each(_readout_offset, bias, form.alpha))
    theta = np.rint(layer.levels.step / form.alpha).astype(np.int64)
    exact = np.array_equal(layer.levels.step / theta.clip(1), form.alpha)
    if layer.levels.stated and layer.activation.body is not None:
        return _step_ladder(layer.activation.body, layer.levels, form, bias)
    if layer.levels.rounding != "half_up" and layer.activation.body is None:
        return imported.table(layer)
    if layer.norm_axis is not None:
        offset = _each(_offset_by(layer.levels), bias, layer.levels.step, theta)
        return Ratio(theta, offset, layer.levels.lo, layer.levels.hi)
    if layer.activation.kind == "row_exp":
        return row_table(layer, bias)
    if uniform_site(layer) and exact:
        offset = _each(_offset_by(layer.levels), bias, layer.levels.step, theta)
        return _settled(Uniform(theta, offset, layer.levels.lo, layer.levels.hi), form)
    return _table(layer, bias)


def _readout_offset(bias: float, alpha: float) -> int:
    found = math.floor(Fraction(bias) / Fraction(alpha) + Fraction(1, 2))
    if abs(found) > _FAR:
        what = f"an output's bias of {bias:.3g} is {found:.1e} units of its accumulator, which no accumulator holds"
        raise fail("SFN401", what, fix="look at the weights and biases of the last layer")
    return found


def uniform_offset(bias: float, step: float, theta: int, offset: float = 0.5) -> int:
    """Return the integer offset of ``clip((acc + offset) floordiv theta, ...)`` for an ``offset`` in steps.

    One accumulator unit is worth ``step / theta``; all arithmetic is rational, over a common denominator.

    >>> uniform_offset(0.0, 0.5, 7), uniform_offset(0.25, 0.5, 7), uniform_offset(0.25, 0.5, 7, 0.0)
    (3, 7, 3)
    """
    (part, whole), (shift, shift_unit), (width, width_unit) = (x.as_integer_ratio() for x in (offset, bias, step))
    found = theta * (part * shift_unit * width + whole * shift * width_unit) // (whole * shift_unit * width)
    return max(-_FAR, min(_FAR, found))


def _offset_by(levels: Levels) -> Callable[[float, float, int], int]:
    return partial(uniform_offset, offset=levels.offset)


def _settled(found: Uniform, form: IntegerForm) -> Uniform:
    """Return the same neuron with offsets cut to where they still change a code: they fit the accumulator's width."""
    theta = found.theta
    top = theta * found.hi - form.acc_min
    bottom = theta * (found.lo + 1) - 1 - form.acc_max
    return replace(found, offset=np.clip(found.offset, bottom, top))


def _table(layer: IntegerSite, bias: Array) -> Table:
    due, form = layer.levels.due(), layer.integer
    if layer.activation.body is not None:
        return _scalar_table(layer.activation.body, layer.levels, form, bias)
    bias, step, alpha = np.broadcast_arrays(bias, layer.levels.step, form.alpha)
    kinds, place = _distinct(bias, step, alpha)
    rows = np.empty((len(kinds), len(due)), np.int64)
    for row, i in zip(rows, kinds, strict=True):
        beta, size, unit = (Fraction(float(a.reshape(-1)[i])) for a in (bias, step, alpha))
        if layer.activation.kind in ("identity", "relu", "clip"):
            row[:] = _cut_line(layer.activation, due, beta, size, unit, form)
            continue
        row[:] = [_finite_ceil(inverse(layer.activation, size * d), beta, unit, form) for d in due]
    return Table(rows[place].reshape(*bias.shape, len(due)), np.array(layer.levels.codes))


def _scalar_table(body: Expression, levels: Levels, form: IntegerForm, bias: Array) -> Table:
    """Return the table of any scalar function, one row per kind of neuron found by :func:`scalar_table`."""
    full = np.broadcast_arrays(bias, levels.step, form.alpha, *body.constants())
    rows, place = _distinct(*full)
    shape, (bias, step, alpha) = full[0].shape, (a.reshape(-1)[rows] for a in full[:3])
    rowed = body.with_constants(lambda c: np.broadcast_to(c, shape).reshape(-1)[rows])
    ends = (form.acc_min, form.acc_max)
    table, codes = scalar_table(Scalar(rowed, alpha, bias, replace(levels, step=step), *ends))
    return Table(table[place].reshape(*shape, table.shape[1]), codes)


def _step_ladder(body: Expression, levels: Levels, form: IntegerForm, bias: Array) -> Table | Uniform:
    """Return the ladder of a step function, one row per kind of neuron found by :func:`step_ladder`."""
    steps = known_steps(body)
    bias, alpha, row = np.broadcast_arrays(bias, form.alpha, steps.place)
    rows, place = _distinct(bias, alpha, row)
    kind, unit, beta = (a.reshape(-1)[rows] for a in (row, alpha, bias))
    found = step_ladder(steps, kind, unit, beta, (form.acc_min, form.acc_max))
    if isinstance(found, Uniform):
        theta, offset = (a[place].reshape(bias.shape) for a in (found.theta, found.offset))
        return _settled(replace(found, theta=theta, offset=offset), form)
    return Table(found.table[place].reshape(*bias.shape, -1), found.codes)


def _cut_line(
    activation: Activation, due: Sequence[Fraction], beta: Fraction, size: Fraction, unit: Fraction, form: IntegerForm
) -> list[int]:
    """Return what :func:`_finite_ceil` of :func:`inverse` is for a straight line that is cut at one or two values.

    Over a common denominator all of it is integers, which are many times faster than rationals.
    """
    least, most = (0.0, math.inf) if activation.kind == "relu" else (activation.a, activation.b)
    if activation.kind == "identity":
        least, most = -math.inf, math.inf
    ends = [Fraction(e) if math.isfinite(e) else None for e in (least, most)]
    known = [f for f in (beta, size, unit, *ends) if f is not None]
    whole, parts = math.lcm(*(f.denominator for f in known)), math.lcm(*(d.denominator for d in due))
    width, shift, by = int(size * whole), int(beta * whole) * parts, int(unit * whole) * parts
    low, high = (None if e is None else int(e * whole) * parts for e in ends)
    found = []
    for d in due:
        begin = width * int(d * parts)  # the real value where a code begins, like all others times whole and parts
        if (low is None and least > 0) or (low is not None and begin <= low):
            found.append(form.acc_min)
        elif high is not None and begin > high:
            found.append(form.acc_max + 1)
        else:
            tau = -((shift - begin) // by)
            found.append(min(max(tau, form.acc_min), form.acc_max + 1))
    return found


def _finite_ceil(least: Fraction | float, beta: Fraction, unit: Fraction, form: IntegerForm) -> int:
    """Return the threshold, cut to [acc_min, acc_max + 1]: "always" and "never" for every reachable accumulator."""
    if isinstance(least, float) and math.isinf(least):
        return form.acc_min if least < 0 else form.acc_max + 1
    tau = math.ceil((Fraction(least) - beta) / unit)
    return min(max(tau, form.acc_min), form.acc_max + 1)


def inverse(activation: Activation, y: Fraction) -> Fraction | float:
    """Return the smallest z with f(z) >= y: exact for piecewise linear f, float64 for sigmoid and tanh, or +-inf.

    >>> inverse(Activation("leaky_relu", 0.25), Fraction(-1, 2))
    Fraction(-2, 1)
    """
    kind, a, b = activation.kind, activation.a, activation.b
    if kind == "relu":
        return y if y > 0 else -math.inf
    if kind == "clip":
        if y <= Fraction(a) if math.isfinite(a) else a > 0:
            return -math.inf
        return math.inf if math.isfinite(b) and y > Fraction(b) else y
    if kind == "leaky_relu":
        if y > 0:
            return y
        return y / Fraction(a) if a > 0 else (-math.inf if y <= 0 else math.inf)
    if kind == "sigmoid":
        p = float(y)
        return -math.inf if p <= 0 else math.inf if p >= 1 else math.log(p) - math.log1p(-p)
    if kind == "tanh":
        t = float(y)
        return -math.inf if t <= -1 else math.inf if t >= 1 else math.atanh(t)
    if kind == "identity":
        return y
    assert kind != "row_exp"  # has a table of its own,
    assert kind != "scalar"  # and so has a function without an inverse
    assert_never(kind)


def _each(function: Any, *arrays: Array) -> Array:
    """Return ``function`` of every element of the broadcast arrays, as int64."""
    full = np.broadcast_arrays(*arrays)
    rows, place = _distinct(*full)
    found = np.array([function(*(a.reshape(-1)[i].item() for a in full)) for i in rows], np.int64)
    return found[place].reshape(full[0].shape)


def _distinct(*arrays: Array) -> tuple[Array, Array]:
    """Return (index of one element of each different kind, which kind every element is) of arrays of one shape.

    A bias that differs at borders only has few kinds among many neurons, and exact rationals are slow.
    """
    stacked = np.stack([a.reshape(-1).astype(np.float64) for a in arrays], axis=1)
    _, rows, place = np.unique(stacked, axis=0, return_index=True, return_inverse=True)
    return rows, place.reshape(-1)
