"""Writes neurobench.json: what the package neurobench says of a small network of our integers, and its versions.

In an environment of its own (torch first, else gigabytes): pip install torch==2.13.0; pip install --no-deps
neurobench==2.3.0; pip install snntorch numpy. Then: python tests/report/neurobench_fixture.py > neurobench.json
"""

from __future__ import annotations

import json
from importlib.metadata import version

import numpy as np
import torch
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import ActivationSparsity, SynapticOperations
from neurobench.models import TorchModel

SEED, SAMPLES = 7, 16


class Fire(torch.nn.ReLU):
    """Codes of an accumulator: floor((acc + offset) / theta), 0 to 3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clip(torch.floor((x + 4) / 9), 0, 3)


def main() -> None:
    rng = np.random.default_rng(SEED)
    x = rng.integers(0, 2, (SAMPLES, 2, 6, 6))  # spikes: the first layer has ACs, the second, of codes to 3, MACs
    w, k = rng.integers(-3, 4, (4, 2, 3, 3)), rng.integers(-3, 4, (5, 64))
    conv, dense = torch.nn.Conv2d(2, 4, 3, bias=False), torch.nn.Linear(64, 5, bias=False)
    conv.weight.data, dense.weight.data = torch.tensor(w).float(), torch.tensor(k).float()
    net = torch.nn.Sequential(conv, Fire(), torch.nn.Flatten(), dense)
    model = TorchModel(net)
    model.add_activation_module(Fire)
    data = (torch.tensor(x).float(), torch.zeros(SAMPLES))
    synops, activation = SynapticOperations(), ActivationSparsity()
    model.register_hooks() if hasattr(model, "register_hooks") else None
    preds = net(data[0])
    print(json.dumps({
        "versions": {p: version(p) for p in ("neurobench", "torch", "snntorch", "numpy")},
        "seed": SEED, "footprint": Footprint()(model), "connection_sparsity": ConnectionSparsity()(model),
        "activation_sparsity": activation(model, preds, data),
        "synaptic_operations": {k: float(v) for k, v in synops(model, preds, data).items()},
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
