"""A :class:`.net.Net` to a .nir file and back to plain arrays, with nir 1.0.8. Imports nir only when called."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from sfn_backends.nir.net import NEURONS, Array, Net, Node

KEY = "sfnc"


def name(number: int, kind: str) -> str:
    """Return the file of part ``number`` with one kind of neurons."""
    return f"network{f'_{number + 1}' if number else ''}{'_lif' if kind == 'LIF' else ''}.nir"


def kinds(form: str) -> tuple[str, ...]:
    """Return the kinds of neurons that the files of a form have: `unary` and `sar` have none."""
    return ("IF", "LIF") if form == "binary" else ("",)


def names(form: str, number: int) -> dict[str, str]:
    """Return the files of part ``number`` with their kinds of neurons."""
    return {name(number, kind): kind for kind in kinds(form)}


def first(form: str, number: int) -> str:
    """Return the file of part ``number`` that the evaluator runs."""
    return name(number, kinds(form)[0])


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
        return getattr(nir, neuron)(**arrays, **neuron_parameters(neuron, arrays["v_threshold"].shape))
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


def neuron_parameters(neuron: str, shape: tuple[int, ...]) -> dict[str, Array]:
    """Return what every neuron of a kind has beside its threshold."""
    return {name: np.full(shape, value, value.dtype) for name, value in NEURONS[neuron].items()}


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
