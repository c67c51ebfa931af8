"""Layer by layer, in closed form: weights that undo what rounding did before them, rounded with feedback.

For one map that reads ``x`` (as the codes so far have it) and a true pre-activation ``t`` (less all that the Layer's
other terms add up to), the weights of least squares are ``(X X' + l I)^-1 (X t' + l w)``, near the weights ``w`` that
the network has. They are rounded one column after the other, and what rounding a column did wrong is taken out of the
columns that follow (GPTQ, Frantar et al., arXiv 2210.17323; optimal brain surgery, Hassibi and Stork, 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.weight_rounding import on_grid
from ..simulator import kernels
from .slopes import F32, ConvSlope

Array = NDArray[Any]

RIDGE = 2.0
DAMPED = 0.01  # of the same: what keeps the inverse finite where inputs depend on each other
WIDEST = 4608  # columns; beyond, the inverse of their products takes minutes


@dataclass
class Normal:
    """The normal equations of one map: products of its inputs with each other and with what is wanted, centred.

    ``square`` ``(groups, k, k)``, ``cross`` ``(groups, k, rows)`` for weights ``(groups, rows, k)``.
    """

    square: Array
    cross: Array


def normal_equations(slope: Any, weight: Array, x: Array, t: Array) -> Normal:
    """Return the sums over all samples and places; ``x`` is the input of the map and ``t`` its target."""
    groups = slope.map.groups if isinstance(slope, ConvSlope) else 1
    k, rows = int(np.prod(weight.shape[1:])), weight.shape[0] // groups
    square, cross = np.zeros((groups, k, k)), np.zeros((groups, k, rows))
    total_x, total_t, n = np.zeros((groups, k, 1)), np.zeros((groups, rows, 1)), 0
    for columns, wanted in _columns(slope, groups, x, t):
        square += np.matmul(columns, columns.transpose(0, 2, 1))
        cross += np.matmul(columns, wanted.transpose(0, 2, 1))
        total_x += columns.sum(axis=2, keepdims=True, dtype=np.float64)
        total_t += wanted.sum(axis=2, keepdims=True, dtype=np.float64)
        n += columns.shape[2]
    square -= np.matmul(total_x, total_x.transpose(0, 2, 1)) / n  # the bias takes the means
    cross -= np.matmul(total_x, total_t.transpose(0, 2, 1)) / n
    return Normal(square, cross)


def _columns(slope: Any, groups: int, x: Array, t: Array) -> Any:
    """Yield what neurons read, as columns ``(groups, k, some)``, and their targets ``(groups, rows, some)``."""
    if not isinstance(slope, ConvSlope):
        front, want = np.moveaxis(x, -2, 0), np.moveaxis(t, -2, 0)
        yield front.reshape(1, front.shape[0], -1), want.reshape(1, want.shape[0], -1)
        return
    x, t = (a[:, :, None] if a.ndim == 3 else a for a in (x, t))
    window, (c, n) = slope.window, (x.shape[0], x.shape[3])
    plane, (n_rows, width) = window.plane(x, F32), t.shape[1:3]
    per_row = c * int(np.prod(window.kernel)) * width * n * 4
    step = max(1, 16 * kernels.TILE_BYTES // per_row)
    for start in range(0, n_rows, step):
        rows = range(start, min(start + step, n_rows))
        tile = np.empty((c, *window.kernel, len(rows), width, n), F32)
        for i, j in window.taps():
            tile[:, i, j] = window.tap(plane, i, j, rows, width)
        want = np.ascontiguousarray(t[:, start : rows.stop])
        yield tile.reshape(groups, -1, len(rows) * width * n), want.reshape(groups, t.shape[0] // groups, -1)


def refitted(weight: Array, equations: Normal) -> Array:
    """Return the weights of least squares, ``(o, k, ...)`` like ``weight``, held to it by :data:`RIDGE`."""
    groups, k = equations.square.shape[:2]
    own = weight.reshape(groups, -1, k).transpose(0, 2, 1)
    hold = _diagonal(equations.square, RIDGE)
    eye = np.eye(k)
    found = np.linalg.solve(equations.square + hold * eye, equations.cross + hold * own)
    return found.transpose(0, 2, 1).reshape(weight.shape)


def rounded_with_feedback(weight: Array, grid: Array, top: int, square: Array) -> Array:
    """Return weights that are whole multiples, at most ``top``, of ``grid``, of small squared error of the map.

    ``weight`` and ``grid``: ``(rows, ...)`` with ``groups`` equal groups of rows; ``square``: sums
    ``(groups, k, k)`` of products of inputs. Column after column, in descending order of their power, each
    error is compensated by the columns that are not rounded yet. Source: GPTQ, arXiv 2210.17323.

    >>> x = np.array([[2.0, 1.9], [1.9, 2.0]])  # two inputs that nearly agree: their weights make up for each other
    >>> rounded_with_feedback(np.array([[0.4, 0.4]]), np.ones((1, 2)), 7, x[None]).tolist()
    [[0.0, 1.0]]
    """
    groups, k = square.shape[:2]
    w, r = (a.reshape(groups, -1, k).copy() for a in (weight, grid))
    order = np.argsort(-np.diagonal(square, axis1=1, axis2=2), axis=1, kind="stable")
    w, r = (np.take_along_axis(a, order[:, None], axis=2) for a in (w, r))
    sorted_square = np.take_along_axis(np.take_along_axis(square, order[:, :, None], axis=1), order[:, None], axis=2)
    damped = sorted_square + _diagonal(square, DAMPED) * np.eye(k)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    for i in range(k):
        exact = w[:, :, i].copy()
        w[:, :, i] = on_grid(exact, r[:, :, i], top)
        error = (exact - w[:, :, i]) / upper[:, i, i, None]
        w[:, :, i + 1 :] -= error[:, :, None] * upper[:, None, i, i + 1 :]
    back = np.argsort(order, axis=1)
    return np.take_along_axis(w, back[:, None], axis=2).reshape(weight.shape)


def _diagonal(square: Array, share: float) -> Array:
    """Return a share of the mean of the diagonal, per group ``(groups, 1, 1)``; of inputs that are silent, 1."""
    mean = np.diagonal(square, axis1=1, axis2=2).mean(axis=1)[:, None, None]
    return share * np.where(mean > 0, mean, 1.0)
