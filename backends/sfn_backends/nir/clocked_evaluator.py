"""A NIR file of a network over time, step by step in plain integers. Self-contained: NumPy and nir, no sfnc.

The settings that a file cannot express are in its metadata: see ``docs/spec/targets.md``, "NIR over time".
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray


def described(path: Path) -> dict[str, Any]:
    """Return what the metadata of a file says: layers in order, steps, units per step, states before the first step."""
    import nir

    text = nir.read(path).metadata["sfnc"]
    return dict(json.loads(text.decode() if isinstance(text, bytes) else text))


def run(path: Path, codes: Array) -> dict[str, Array]:
    """Return for every layer what it emits in each step, ``(n, steps, *shape)``; the last tells its answer so far."""
    import nir

    graph, text = nir.read(path), described(path)
    emitted: dict[str, list[Array]] = {layer["name"]: [] for layer in text["layers"]}
    potentials: dict[str, Array] = {}
    for t in range(text["steps"]):
        signal = (codes if text["frames"] is None else codes[:, t]).astype(np.int64)
        for layer in text["layers"]:
            if layer["moves"]:
                signal = signal.reshape(len(signal), -1)
            drive = _drive(graph.nodes[layer["drive"]], signal)
            v = potentials.get(layer["name"], np.array(layer["start"], np.int64)) + drive
            if layer["neuron"] is None:
                signal = v // text["timesteps"]
            else:
                theta = np.asarray(graph.nodes[layer["neuron"]].v_threshold).astype(np.int64)
                signal = np.clip(v // theta, 0, layer["most"])
                v = v - theta * signal
            potentials[layer["name"]] = v
            emitted[layer["name"]].append(signal)
    return {name: np.stack(steps, axis=1) for name, steps in emitted.items()}


def _drive(node: Any, signal: Array) -> Array:
    weight, bias = np.asarray(node.weight).astype(np.int64), np.asarray(node.bias).astype(np.int64)
    if weight.ndim == 2:
        return signal @ weight.T + bias
    pads = [int(p) for p in np.broadcast_to(node.padding, 2)]
    padded = np.pad(signal, [(0, 0), (0, 0), (pads[0], pads[0]), (pads[1], pads[1])])
    strides, dilations = (np.broadcast_to(a, 2) for a in (node.stride, node.dilation))
    spans = [(k - 1) * int(d) + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
    view = view[:, :, :: int(strides[0]), :: int(strides[1]), :: int(dilations[0]), :: int(dilations[1])]
    return np.einsum("nchwij,ocij->nohw", view, weight) + bias[:, None, None]
