"""Executes an emitted .nir file with one stock reader. A self-contained script: no sfnc, no sfn_backends.

    python readers.py READER [network.nir inputs.npz outputs.npz]...

Per job it reads codes ``x`` ``(n, ...)`` and node names ``nodes`` from the inputs, and writes each node's output under
its name, the whole network's output as ``@output``, the reader's version as ``@version`` and its own words where it
failed as ``@error``. The outputs of inner nodes are taken by forward hooks on the modules that the reader made.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 16
MOST_NEURONS = 32_000_000  # of a batch: some hundred megabytes of activations


def _norse(graph: Any, n: int) -> Any:
    from norse.torch.utils.import_nir import from_nir  # type: ignore[import-not-found, unused-ignore]

    return from_nir(graph, ignore_warnings=True)


def _sinabs(graph: Any, n: int) -> Any:
    from sinabs.nir import from_nir  # type: ignore[import-not-found, unused-ignore]

    return from_nir(graph, batch_size=n)


def _snntorch(graph: Any, n: int) -> Any:
    from snntorch.import_nir import import_from_nir  # type: ignore[import-not-found, unused-ignore]

    return import_from_nir(graph)


def _spikingjelly(graph: Any, n: int) -> Any:
    from spikingjelly.activation_based import nir_exchange  # type: ignore[import-not-found, unused-ignore]

    return nir_exchange.import_from_nir(graph)


def _nirtorch(graph: Any, n: int) -> Any:
    import importlib.util

    import nirtorch  # type: ignore[import-not-found, unused-ignore]

    spec = importlib.util.spec_from_file_location("torch_map", Path(__file__).with_name("torch_map.py"))
    assert spec is not None
    assert spec.loader is not None
    torch_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(torch_map)
    return nirtorch.nir_to_torch(graph, torch_map.node_map())


READERS = {"norse": _norse, "sinabs": _sinabs, "snntorch": _snntorch, "spikingjelly": _spikingjelly,
           "nirtorch": _nirtorch}  # fmt: skip


def run(reader: str, path: Path, x: np.ndarray, nodes: list[str]) -> dict[str, np.ndarray]:
    """Return outputs by node name, and ``@output``. Every batch gets a freshly loaded model: no state survives."""
    import nir
    import torch  # type: ignore[import-not-found, unused-ignore]

    torch.backends.nnpack.set_flags(False)  # its Winograd kernels round; the others sum products, exactly
    graph = nir.read(path)
    shape = next(iter(graph.inputs.values())).input_type["input"]
    neurons = sum(np.size(getattr(node, "v_threshold", ())) for node in graph.nodes.values())
    size = max(1, min(BATCH, MOST_NEURONS // max(neurons, 1)))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in [*nodes, "@output"]}
    for i in range(0, len(x), size):
        batch = torch.from_numpy(x[i : i + size].reshape(-1, *shape).astype(np.float32))
        model = READERS[reader](nir.read(path), len(batch))
        _hook(model, parts, nodes)
        with torch.no_grad():
            result = model(batch)
        result = result[0] if isinstance(result, tuple) else result
        parts["@output"].append(result.detach().numpy())
    return {name: np.concatenate(found) for name, found in parts.items()}


def _hook(model: Any, parts: dict[str, list[np.ndarray]], nodes: list[str]) -> None:
    modules = dict(model.named_modules())
    for name in nodes:
        if name not in modules:
            raise KeyError(f"the reader's model has no module {name}")

        def keep(module: Any, args: Any, output: Any, into: list[np.ndarray] = parts[name]) -> None:
            into.append((output[0] if isinstance(output, tuple) else output).detach().numpy())

        modules[name].register_forward_hook(keep)


def main(reader: str, *files: str) -> None:
    """Run one reader on jobs of three files each."""
    for path, inputs, outputs in zip(files[::3], files[1::3], files[2::3], strict=True):
        with np.load(inputs, allow_pickle=False) as data:
            x, nodes = data["x"], [str(n) for n in data["nodes"]]
        found = {"@version": np.array(version(reader))}
        try:
            found |= run(reader, Path(path), x, nodes)
        except Exception as error:  # the reader's failure is the result
            found["@error"] = np.array(f"{type(error).__name__}: {error}"[-2000:])
        np.savez(outputs, **found)  # type: ignore[arg-type, unused-ignore]


if __name__ == "__main__":
    sys.path.pop(0)  # this folder: its module names are not for the readers
    main(*sys.argv[1:])
