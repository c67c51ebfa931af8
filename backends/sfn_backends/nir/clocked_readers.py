"""Executes a NIR file of a network over time with one stock reader, set as its neurons need it. Self-contained.

    python clocked_readers.py READER network.nir inputs.npz outputs.npz

NIR says hard reset, no potential before the first step and one spike per step. What the readers need to run soft reset
from a stated potential is set here, node by node, after the import (``README.md``).
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


class Refused(Exception):
    """Why a reader cannot run this network."""


def run(reader: str, path: Path, x: np.ndarray, text: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return for every layer what it emits in each step, ``(n, steps, *shape)``; the last tells its answer so far."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    torch.backends.nnpack.set_flags(False)  # its Winograd kernels round; the others sum products, exactly
    frames = x if text["frames"] is not None else np.repeat(x[:, None], text["steps"], axis=1)
    steps = torch.from_numpy(frames.astype(np.float32))
    with torch.no_grad():
        found = {"sinabs": _sinabs, "norse": _norse, "spikingjelly": _spikingjelly}[reader](path, steps, text)
    last = text["layers"][-1]
    if last["neuron"] is None:
        total = np.cumsum(found[last["name"]].astype(np.float64), axis=1)
        found[last["name"]] = np.floor(total / text["timesteps"])
    return {name: np.rint(v).astype(np.int64) for name, v in found.items()}


def _hooked(model: Any, text: dict[str, Any]) -> dict[str, list[Any]]:
    """Return lists that fill with the outputs of every layer's last node as the model runs."""
    parts: dict[str, list[Any]] = {}
    modules = dict(model.named_modules())
    for layer in text["layers"]:
        node, kept = layer["neuron"] or layer["drive"], parts.setdefault(layer["name"], [])

        def keep(module: Any, args: Any, output: Any, into: list[Any] = kept) -> None:
            into.append((output[0] if isinstance(output, tuple) else output).detach().numpy())

        modules[node].register_forward_hook(keep)
    return parts


def _start(layer: dict[str, Any], n: int, half: float = 0.0) -> Any:
    """Return the potentials of a layer before the first step, ``(n, *shape)``."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    start = np.asarray(layer["start"], np.float32) + np.float32(half)
    return torch.from_numpy(np.array(np.broadcast_to(start, (n, *layer["shape"]))))


def _sinabs(path: Path, steps: Any, text: dict[str, Any]) -> dict[str, np.ndarray]:
    """Keeps its soft reset; removes the floor below the potential; sets spikes per step and the initial potential."""
    import nir
    import sinabs.activation as activation  # type: ignore[import-not-found, unused-ignore]
    from sinabs.nir import from_nir  # type: ignore[import-not-found, unused-ignore]

    n, t = steps.shape[:2]
    model = from_nir(nir.read(path), batch_size=n)
    modules = dict(model.named_modules())
    for layer in text["layers"]:
        if layer["neuron"] is None:
            continue
        neuron = modules[layer["neuron"]]
        neuron.min_v_mem = None
        most = layer["most"]
        neuron.spike_fn = activation.SingleSpike if most == 1 else activation.MaxSpike(most)
        neuron.init_state_with_shape((n, *layer["shape"]))
        neuron.v_mem = _start(layer, n)
    parts = _hooked(model, text)
    model(steps.reshape(n * t, *steps.shape[2:]))
    shapes = {layer["name"]: layer["shape"] for layer in text["layers"]}
    return {name: found[0].reshape(n, t, *shapes[name]) for name, found in parts.items()}


def _norse(path: Path, steps: Any, text: dict[str, Any]) -> dict[str, np.ndarray]:
    """Its CubaLIF without leak, subtracting at a spike; half a unit more to start from turns ``>`` into ``>=``."""
    import nir
    import norse.torch.functional.reset as reset  # type: ignore[import-not-found, unused-ignore]
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState  # type: ignore[import-not-found, unused-ignore]
    from norse.torch.utils.import_nir import from_nir  # type: ignore[import-not-found, unused-ignore]

    _one_spike(text, "Norse")
    n, t = steps.shape[:2]
    model = from_nir(
        nir.read(path.with_name("network_cuba.nir")), ignore_warnings=True, reset_method=reset.reset_subtract
    )
    modules = dict(model.named_modules())
    states = {
        layer["neuron"]: (None, LIFBoxFeedForwardState(_start(layer, n, 0.5)))
        for layer in text["layers"] if layer["neuron"] is not None
    }  # fmt: skip
    emitted: dict[str, list[np.ndarray]] = {layer["name"]: [] for layer in text["layers"]}
    for i in range(t):
        signal = steps[:, i]
        for layer in text["layers"]:
            for move in layer["moves"]:
                signal = modules[move](signal)
            signal = modules[layer["drive"]](signal)
            if layer["neuron"] is not None:
                signal, states[layer["neuron"]] = modules[layer["neuron"]](signal, states[layer["neuron"]])
            emitted[layer["name"]].append(signal.numpy())
    return {name: np.stack(found, axis=1) for name, found in emitted.items()}


def _spikingjelly(path: Path, steps: Any, text: dict[str, Any]) -> dict[str, np.ndarray]:
    """``v_reset = None`` is its soft reset; one threshold per node."""
    import nir
    from spikingjelly.activation_based import nir_exchange  # type: ignore[import-not-found, unused-ignore]

    _one_spike(text, "SpikingJelly")
    uneven = [layer["name"] for layer in text["layers"] if layer["neuron"] is not None and not layer["one_threshold"]]
    if uneven:
        raise Refused(f"one threshold per node: {uneven[0]} has several (compile with --granularity tensor)")
    n, t = steps.shape[:2]
    model = nir_exchange.import_from_nir(nir.read(path))
    modules, states = dict(model.named_modules()), {}
    emitted: dict[str, list[np.ndarray]] = {layer["name"]: [] for layer in text["layers"]}
    for layer in text["layers"]:
        if layer["neuron"] is not None:
            neuron = next(m for m in modules[layer["neuron"]].modules() if hasattr(m, "v_reset"))
            neuron.v_reset = None
            neuron.v = _start(layer, n)
            states[layer["neuron"]] = neuron
    for i in range(t):
        signal = steps[:, i]
        for layer in text["layers"]:
            for move in layer["moves"]:
                signal = modules[move](signal)
            signal = modules[layer["drive"]](signal)
            if layer["neuron"] is not None:
                signal = states[layer["neuron"]](signal)
            emitted[layer["name"]].append(signal.numpy())
    return {name: np.stack(found, axis=1) for name, found in emitted.items()}


def _one_spike(text: dict[str, Any], reader: str) -> None:
    if any(layer["neuron"] is not None and layer["most"] > 1 for layer in text["layers"]):
        raise Refused(f"{reader} emits one spike per step; bursts run in Sinabs (or compile with --neuron if)")


def main(reader: str, path: str, inputs: str, outputs: str) -> None:
    """Run one reader on one file; its own words where it fails are under ``@error``."""
    from clocked_evaluator import described  # type: ignore[import-not-found, unused-ignore]

    with np.load(inputs, allow_pickle=False) as data:
        x = data["x"]
    try:
        text = described(Path(path))
        found = run(reader, Path(path), x, text)
        result: dict[str, Any] = {f"v{i:04d}": found[layer["name"]] for i, layer in enumerate(text["layers"])}
    except Refused as reason:
        result = {"@refused": str(reason)}
    except Exception as error:  # whatever a reader raises is its answer
        result = {"@error": f"{type(error).__name__}: {error}"}
    np.savez(outputs, **result, **{"@version": version(reader)})  # type: ignore[arg-type, unused-ignore]


if __name__ == "__main__":
    main(*sys.argv[1:])
