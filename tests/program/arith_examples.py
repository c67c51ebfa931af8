"""What the property tests of this folder draw: one fixed profile, arrays of integers with extremes, window geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sfn_compile.program.ranges import exact_dtype

Array = NDArray[Any]
fixed = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
few = settings(fixed, max_examples=25)


@st.composite
def ints(draw: st.DrawFn, shape: Sequence[int], lo: int, hi: int) -> Array:
    """An int64 array in [lo, hi]: seeded noise, everything at one end, or the two ends mixed."""
    kind = draw(st.sampled_from(["noise", "ends", "lo", "hi"]))
    if kind in ("lo", "hi"):
        return np.full(shape, lo if kind == "lo" else hi, np.int64)
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    if kind == "ends":
        return rng.choice(np.array([lo, hi], np.int64), size=tuple(shape))
    return rng.integers(lo, hi, tuple(shape), np.int64, endpoint=True)


@st.composite
def geometry(draw: st.DrawFn, n_axes: int, dilated: bool = True) -> dict[str, Any]:
    """Space, kernel, strides, dilations and asymmetric pads such that at least one window fits."""
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n_axes))
    dilations = tuple(draw(st.integers(1, 2)) if dilated else 1 for _ in range(n_axes))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(n_axes))
    pads = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(n_axes))
    need = [(k - 1) * d + 1 - sum(p) for k, d, p in zip(kernel, dilations, pads, strict=True)]
    space = tuple(max(1, n + draw(st.integers(0, 3))) for n in need)
    return {"space": space, "kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}


def worst_case_sum(weight: Array, top: int) -> int:
    """The bound that the engines are promised: max over outputs of sum |w| * max |s|, in Python integers."""
    rows: list[list[int]] = weight.reshape(weight.shape[0], -1).tolist()
    return max(sum(abs(w) for w in row) for row in rows) * top


def by_kernel(make: Callable[[Any], Callable[..., Array]], bound: int, *xs: Array) -> Array:
    """What a kernel, made for the number type that ``bound`` allows, makes of batches that stand in front; integers."""
    found = make(exact_dtype(bound))(*(np.moveaxis(x, 0, -1) for x in xs))
    assert np.array_equal(found, np.rint(found))
    return np.moveaxis(found, -1, 0).astype(np.int64)
