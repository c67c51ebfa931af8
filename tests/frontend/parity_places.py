"""Parity cases of operators that name places, and of reductions of functions."""

from __future__ import annotations

import numpy as np

from .tiny_onnx import ints, noise

# what the sentence says -> (body, keywords of `tiny`)
PLACES: dict[str, tuple[str, dict]] = {
    # -- places that are constants
    "GatherND of an axis": ("y = GatherND<batch_dims=1>(x, i)", {"i": np.array([[[0], [2], [2]]]), "batch": 1}),
    "GatherND behind the batch": (
        "t = Transpose<perm=[1,2,3,0]>(x) y0 = GatherND(t, i) y = Transpose<perm=[2,0,1]>(y0)",
        {"i": np.array([[0, 1], [2, -1], [1, 5]])},
    ),
    "GatherND of a grid": (
        "t = Transpose<perm=[2,3,0,1]>(x) g = GatherND(t, i) y = Transpose<perm=[2,3,0,1]>(g)",
        {"i": np.stack(np.meshgrid([0, 2, 5], [1, 1, 3], indexing="ij"), -1)},
    ),
    "GatherND of samples": (
        "y0 = GatherND(x, i) y = Unsqueeze(y0, a)",
        {"i": ints(0, 2, 1), "a": ints(0), "batch": 1, "opset": 13},
    ),
    "GatherElements": (
        "y = GatherElements<axis=2>(x, i)",
        {"i": np.arange(3 * 4 * 5).reshape(1, 3, 4, 5) % 6 - 3, "batch": 1},
    ),
    "GatherElements of a line per row": (
        "y = GatherElements<axis=-1>(x, i)",
        {"i": np.broadcast_to(ints(5, 0, 0), (1, 3, 6, 3)).copy(), "batch": 1},
    ),
    "ScatterND into a constant": (
        "u = ReduceMax<axes=[2], keepdims=0>(x) y = ScatterND(c, i, u)",
        {"c": noise(1, 3, 6, 6), "i": np.array([[[0, 1, 2], [0, 0, 5], [0, 2, 0]]]), "batch": 1},
    ),
    "ScatterND of a constant": (
        "y = ScatterND(x, i, u)",
        {"i": np.array([[0, 1, 2], [0, 0, 5]]), "u": noise(2, 6), "batch": 1},
    ),
    "ScatterND of both": (
        "s = Slice(x, one, two, a) y = ScatterND(x, i, s)",
        {"i": np.array([[[0, 2]]]), "one": ints(0), "two": ints(1), "a": ints(1), "batch": 1},
    ),
    "ScatterND that adds": (
        's = Slice(x, one, two, a) y = ScatterND<reduction="add">(x, i, s)',
        {"i": np.array([[[0, 2]]]), "one": ints(0), "two": ints(1), "a": ints(1), "batch": 1},
    ),
    "ScatterElements": (
        "s = Neg(x) y = ScatterElements<axis=1>(x, i, s)",
        {"i": np.argsort(noise(1, 3, 6, 6), axis=1), "batch": 1},
    ),
    "ScatterElements that adds constants": (
        'y = ScatterElements<axis=3, reduction="add">(x, i, u)',
        {"i": np.zeros((1, 3, 6, 1), np.int64), "u": noise(1, 3, 6, 1), "batch": 1},
    ),
    "Scatter at opset 9": (
        "s = Neg(x) y = Scatter<axis=1>(x, i, s)",
        {"i": np.argsort(noise(1, 3, 6, 6), axis=1), "batch": 1, "opset": 9},
    ),
    "Compress": ("y = Compress<axis=2>(x, c)", {"c": np.array([True, False, False, True, True])}),
    # -- reductions of functions, running sums, triangles
    **{
        f"{op} {n}": (f"y = {op}<{attributes}>(x)", {"opset": 11})
        for op in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")
        for n, attributes in (("over space", "axes=[2,3]"), ("over channels", "axes=[1], keepdims=0"))
    },
    "ReduceLogSum": ("a = Abs(x) y = ReduceLogSum(a, i)", {"i": ints(1, -1), "opset": 18}),
    "LpNormalization": ("y = LpNormalization<axis=1>(x)", {}),
    "MeanVarianceNormalization": ("y = MeanVarianceNormalization<axes=[1,2]>(x)", {}),
    "CumSum": ("y = CumSum(x, i)", {"i": ints(-1)}),
    "CumSum exclusive, in reverse": ("y = CumSum<exclusive=1, reverse=1>(x, i)", {"i": np.array(1)}),
    "Trilu": ("y = Trilu<upper=0>(x, i)", {"i": np.array(1)}),
}
