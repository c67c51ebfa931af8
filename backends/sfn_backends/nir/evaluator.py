"""Runs a .nir file with NumPy alone: a witness that shares no code with writer or simulator, on purpose.

It knows the nodes of the NIR standard, in topological order, several edges into one node adding up, ``>`` strict. It
computes in float32 like the readers do; the file carries the proof that float32 is exact. Neurons start at rest and
make one Euler step of ``DT``, as NIR defines them.
"""

from __future__ import annotations

from collections.abc import Collection
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
DT = 1e-4
_TILE = 64 << 20


def run(path: Path, codes: Array, keep: Collection[str]) -> dict[str, Array]:
    """Return the outputs ``(n, *shape)`` of the nodes named in ``keep`` for input codes ``(n, ...)``.

    Raises ValueError for a node type that it does not know.
    """
    import nir

    graph = nir.read(path)
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for before, after in graph.edges:
        sources[after].append(before)
    order = list(TopologicalSorter(sources).static_order())
    last = {source: i for i, name in enumerate(order) for source in sources[name]}
    live: dict[str, Array] = {}
    for i, name in enumerate(order):
        node = graph.nodes[name]
        fed = [live[s] for s in sources[name]]
        x = codes.reshape(len(codes), *node.input_type["input"]) if not fed else fed[0]
        for more in fed[1:]:
            x = x + more
        live[name] = _apply(node, np.asarray(x, np.float32))
        for s in sources[name]:
            if last[s] == i and s not in keep:
                live.pop(s, None)
    return {name: live[name] for name in keep}


def _apply(node: Any, x: Array) -> Array:
    kind = type(node).__name__
    if kind in ("Input", "Output"):
        return x
    if kind == "Affine":
        return np.asarray(x @ node.weight.T.astype(np.float32) + node.bias)
    if kind == "Conv2d":
        return _conv2d(node, x)
    if kind == "Flatten":
        return x.reshape(len(x), -1)
    if kind == "Threshold":
        return np.asarray(x > node.threshold, np.float32)
    if kind == "Scale":
        return np.asarray(x * node.scale)
    if kind == "IF":
        return np.asarray(x * _one_or_all(DT * node.r) > _one_or_all(node.v_threshold), np.float32)
    raise ValueError(f"node type {kind} is unknown to this evaluator")


def _one_or_all(values: Array) -> Array:
    """Return the numbers of all neurons in float32, as one number where they are the same."""
    first = values.flat[:1]
    return np.asarray(first if (values == first).all() else values, np.float32)


def _conv2d(node: Any, x: Array) -> Array:
    """Return the convolution as one matrix product per tile of samples; a 1x1 kernel needs no windows."""
    weight, (py, px) = node.weight, node.padding
    (sy, sx), (dy, dx), (ky, kx) = node.stride, node.dilation, weight.shape[2:]
    if int(node.groups) != 1:
        raise ValueError("grouped convolutions are unknown to this evaluator")
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    span = (dy * (ky - 1) + 1, dx * (kx - 1) + 1)
    if (ky, kx, sy, sx, py, px) == (1, 1, 1, 1, 0, 0):
        every = weight[:, :, 0, 0].astype(np.float32) @ x.reshape(*x.shape[:2], -1)
        return np.asarray(every.reshape(len(x), len(weight), *x.shape[2:]) + node.bias[:, None, None])
    view = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(2, 3))[:, :, ::sy, ::sx, ::dy, ::dx]
    n, c, h, w = view.shape[:4]
    flat, out = weight.reshape(len(weight), -1).astype(np.float32), np.empty((n, len(weight), h * w), np.float32)
    tile = max(1, _TILE // max(4 * flat.shape[1] * h * w, 1))
    for i in range(0, n, tile):
        columns = view[i : i + tile].transpose(0, 1, 4, 5, 2, 3)
        out[i : i + tile] = flat @ columns.reshape(len(columns), c * ky * kx, h * w)
    return np.asarray(out.reshape(n, len(weight), h, w) + node.bias[:, None, None])
