"""Arrays that broadcast against a sample: how moves change them, and how small they can be written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import assert_never

from .network import Concat, MoveOp, Pad, Reshape, Shape, Slice, Take, Transpose

Array = NDArray[Any]
Axis = int | tuple[int, ...]


# Two float64 sums of the same terms in another order differ by less than this share of the largest value.
ROUNDING = 2.0**-45


def axes_of(axis: Axis, rank: int) -> tuple[int, ...]:
    """Return a channel axis as the axes, in ascending order, of a sample of ``rank``."""
    return tuple(sorted(a % rank for a in (axis if isinstance(axis, tuple) else (axis,))))


def fits(inner: Shape, outer: Shape) -> bool:
    """Return whether an array of shape ``inner`` broadcasts against one of shape ``outer`` without making it larger.

    >>> fits((3, 1), (2, 3, 4)), fits((5,), (4,)), fits((1, 4), (4,))
    (True, False, False)
    """
    widened = (1,) * (len(outer) - len(inner)) + tuple(inner)
    return len(widened) == len(outer) and all(n in (1, m) for n, m in zip(widened, outer, strict=True))


def compress(array: Array, tolerance: float = 0.0) -> Array:
    """Return the array with every axis along which it is constant cut to length 1.

    ``tolerance``: how much of the largest magnitude values may differ and still count as equal.

    >>> compress(np.array([[1.0, 1.0], [2.0, 2.0]])).shape
    (2, 1)
    """
    slack = tolerance * float(np.abs(array).max(initial=0)) if tolerance else 0.0
    for axis in range(array.ndim):
        first = array.take([0], axis=axis)
        if array.shape[axis] > 1 and (np.abs(array - first) <= slack if slack else array == first).all():
            array = first
    return np.ascontiguousarray(array)


def move_array(op: MoveOp, array: Array, shape: Shape) -> Array:
    """Return ``array`` (broadcasting against ``shape``) as it broadcasts against the moved sample."""
    full = np.broadcast_to(array.reshape((1,) * (len(shape) - array.ndim) + array.shape), shape)
    return compress(op.apply(full[None])[0])


def unmove_array(op: MoveOp, array: Array, shape: Shape) -> Array | None:
    """Return an array that :func:`move_array` makes ``array`` of, for a sample of ``shape``; None where there is none.

    Elements that a Slice or Take does not read get the value of one that it does. Pad and Concat have no such array.
    """
    if isinstance(op, Transpose):
        ranked = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
        return np.ascontiguousarray(ranked.transpose(np.argsort(op.perm)))
    if isinstance(op, Reshape):
        return compress(np.broadcast_to(array, op.shape).reshape(shape))
    if isinstance(op, Slice):
        return _unpicked([np.arange(*r) for r in op.ranges], array, shape)
    if isinstance(op, Take):
        return _unpicked(
            [np.array(op.index) if a == op.axis else np.arange(d) for a, d in enumerate(shape)], array, shape
        )
    if isinstance(op, Pad | Concat):
        return None
    assert_never(op)


def _unpicked(picks: list[Array], array: Array, shape: Shape) -> Array | None:
    """Return the array whose elements ``picks`` (per axis) are ``array``; None where one would have two values."""
    found = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    for axis, pick in enumerate(picks):
        if found.shape[axis] > 1:
            back = np.zeros(shape[axis], np.int64)
            back[pick] = np.arange(len(pick))
            if not np.array_equal(found, found.take(back[pick], axis)):
                return None
            found = found.take(back, axis)
    return found


def along(axis: int, ndim: int, vector: Array) -> Array:
    """Return a vector shaped to broadcast along ``axis`` of a sample with ``ndim`` axes."""
    return np.asarray(vector).reshape([-1 if a == axis % ndim else 1 for a in range(ndim)])


def spread(axis: Axis, shape: Shape, vector: Array) -> Array:
    """Return one number per channel shaped to broadcast against a sample of ``shape``."""
    over = axes_of(axis, len(shape))
    return np.asarray(vector).reshape([d if a in over else 1 for a, d in enumerate(shape)])


def channel_vector(array: Array, shape: Shape, axis: Axis) -> Array | None:
    """Return the value of each channel along ``axis``, or None where the array varies along another axis."""
    over = axes_of(axis, len(shape))
    small = compress(np.broadcast_to(array, shape))
    if any(d != 1 for a, d in enumerate(small.shape) if a not in over):
        return None
    return np.broadcast_to(small, [d if a in over else 1 for a, d in enumerate(shape)]).reshape(-1)
