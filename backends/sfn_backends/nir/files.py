"""A :class:`.net.Net` to a .nir file and back to plain arrays, with nir 1.0.8. Imports nir only when called."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir.net import Array, Net, Node

KEY = "sfnc"
DT = 1e-4  # the time step that readers assume; one step is one inference
# Neuron parameters besides the threshold. After one step from rest each gives v = its input, exactly.
NEURONS: dict[str, dict[str, float]] = {
    "IF": {"r": 1 / DT, "v_reset": 0.0},  # v += dt * r * input
    "LIF": {"tau": 1e-3, "r": 10.0, "v_leak": 0.0, "v_reset": 0.0},  # v += dt / tau * (r * input - v)
}


def write(path: Path, net: Net, arrays: dict[str, dict[str, Array]], neuron: str, metadata: str) -> None:
    """Write ``net`` with its arrays and one JSON text; ``neuron`` is a key of :data:`NEURONS`."""
    import nir

    nodes = {name: _make(nir, node, arrays[name], neuron) for name, node in net.nodes.items()}
    # In memory first: on a full disk the HDF5 library crashes the process where a plain write raises OSError.
    buffer = io.BytesIO()
    nir.write(buffer, nir.NIRGraph(nodes, list(net.edges), metadata={KEY: metadata}))
    path.write_bytes(buffer.getvalue())


def _make(nir: Any, node: Node, arrays: dict[str, Array], neuron: str) -> Any:
    kind, attrs = node.kind, {k: np.asarray(v) for k, v in node.attrs.items()}
    if kind == "Neuron":
        fixed = {k: np.full_like(arrays["v_threshold"], v) for k, v in NEURONS[neuron].items()}
        return getattr(nir, neuron)(**arrays, **fixed)
    if kind == "Input":
        return nir.Input({"input": attrs["shape"]})
    if kind == "Output":
        return nir.Output({"output": None})
    if kind == "Flatten":
        return nir.Flatten({"input": attrs["shape"]}, start_dim=-3, end_dim=-1)
    if kind == "Conv2d":
        attrs.pop("out")
        return nir.Conv2d(tuple(node.attrs["input_shape"]), arrays["weight"], tuple(node.attrs["stride"]),
                          tuple(node.attrs["padding"]), tuple(node.attrs["dilation"]), 1, arrays["bias"])  # fmt: skip
    return getattr(nir, kind)(**arrays)


def read(path: Path) -> tuple[dict[str, dict[str, Array]], list[tuple[str, str]], dict[str, str], str]:
    """Return (array parameters by node, edges, node types, the JSON text) of a file. Raises OSError, KeyError."""
    import nir

    graph = nir.read(path)
    text = graph.metadata[KEY]
    arrays: dict[str, dict[str, Array]] = {}
    for name, node in graph.nodes.items():
        found = {k: np.asarray(v) for k, v in vars(node).items() if isinstance(v, np.ndarray)}
        arrays[name] = {k: v for k, v in found.items() if k in {*PARAMETERS, *NEURONS["LIF"]}}
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    return arrays, list(graph.edges), kinds, text.decode() if isinstance(text, bytes) else text


PARAMETERS = ("weight", "bias", "v_threshold", "threshold", "scale")
