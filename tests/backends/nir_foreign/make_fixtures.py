"""Writes the .nir files of this folder with the export functions of the four stock simulators, and what they compute.

    .venv-nir/bin/python tests/backends/nir_foreign/make_fixtures.py

Weights are multiples of 1/8 and inputs of 1/4, biases lie 1/64 beside, so no membrane meets its threshold. Beside each
file ``NAME.npz`` holds inputs ``x``, the spikes of one step from rest ``one``, and those of ``STEPS`` steps of constant
input, added up, of the first layer of neurons alone: ``first``.
"""

from __future__ import annotations

import copy
from pathlib import Path

import nir
import norse.torch as norse
import numpy as np
import sinabs.layers as sl
import snntorch
import torch
from norse.torch.utils.export_nir import to_nir as norse_to_nir
from sinabs.nir import to_nir as sinabs_to_nir
from snntorch.export_nir import export_to_nir as snntorch_to_nir
from spikingjelly.activation_based import functional, layer, neuron, nir_exchange
from torch import nn

FOLDER = Path(__file__).parent
STEPS, SEED = 8, 6


def even(module: nn.Module) -> nn.Module:
    """Give a layer weights on the grid."""
    fan = module.weight[0].numel()
    k = torch.randint(-4, 6, module.weight.shape)
    module.weight.data = k / 8 * (2 if fan < 16 else 1)
    module.bias.data = torch.randint(-4, 5, module.bias.shape) / 8 + 1 / 64
    return module


def parts(pool: nn.Module | None, neurons, flatten=nn.Flatten, linear=nn.Linear, conv=nn.Conv2d) -> list[nn.Module]:
    """conv, neurons, pool, conv, neurons, flatten, linear, neurons on inputs of 2x8x8."""
    made = [even(conv(2, 4, 3, padding=1)), neurons((4, 8, 8))]
    if pool is not None:
        made.append(pool)
    side = 4 if pool is not None else 8
    made += [even(conv(4, 3, 3, stride=2, padding=1)), neurons((3, side // 2, side // 2)), flatten()]
    return [*made, even(linear(3 * (side // 2) ** 2, 5)), neurons((5,))]


def samples(*shape: int) -> torch.Tensor:
    return torch.randint(0, 5, (16, *shape)) / 4


def save(name: str, graph: nir.NIRGraph, x: torch.Tensor, one: torch.Tensor, first: torch.Tensor | None = None) -> None:
    nir.write(FOLDER / f"{name}.nir", graph)
    more = {} if first is None else {"first": first.detach().numpy()}
    np.savez_compressed(FOLDER / f"{name}.npz", x=x.numpy(), one=one.detach().numpy(), **more)
    print(name, [type(n).__name__ for n in graph.nodes.values()], "fires", float(one.mean()))


def of_sinabs() -> None:
    x = samples(2, 8, 8)
    net = nn.Sequential(*parts(sl.SumPool2d(2), lambda shape: sl.IAFSqueeze(batch_size=1, min_v_mem=-1.0)))
    net(x[:1])
    graph = sinabs_to_nir(net, x[:1])

    graph.infer_types()  # of Flatten, which cannot be written without

    def run_clamped(data: torch.Tensor) -> torch.Tensor:
        found = []
        for sample in data:
            value = sample[None]
            for module in net:
                if isinstance(module, sl.IAFSqueeze):
                    module.reset_states()
                value = module(value)
                # it fires several times a step: once is what NIR says
                value = value.clamp(max=1) if isinstance(module, sl.IAFSqueeze) else value
            found.append(value)
        return torch.cat(found)

    counts = []
    for sample in x:
        net[1].reset_states()
        counts.append(sum(net[1](net[0](sample[None] / 8)) for _ in range(STEPS)))
    save("sinabs_cnn", graph, x, run_clamped(x), torch.cat(counts))


def of_spikingjelly() -> None:
    x = samples(2, 8, 8)
    net = nn.Sequential(
        *parts(layer.AvgPool2d(2), lambda s: neuron.IFNode(), layer.Flatten, layer.Linear, layer.Conv2d)
    )
    graph = nir_exchange.export_to_nir(net, x[:1])
    functional.reset_net(net)
    save("spikingjelly_cnn", graph, x, net(x))


def of_norse() -> None:
    x = samples(12)

    def iaf(n: int) -> nn.Module:
        return norse.IAFCell(norse.IAFParameters(v_th=torch.ones(n)))  # a scalar cannot be written

    net = norse.SequentialState(even(nn.Linear(12, 10)), iaf(10), even(nn.Linear(10, 6)), iaf(6))
    graph = norse_to_nir(net, x[:1])
    save("norse_mlp", graph, x, net(x)[0])
    ones = torch.ones(10)
    box = norse.LIFBoxParameters(tau_mem_inv=100 * ones, v_leak=0 * ones, v_th=ones)
    leaky = norse.SequentialState(even(nn.Linear(12, 10)), norse.LIFBoxCell(box))
    nir.write(FOLDER / "norse_leaky.nir", norse_to_nir(leaky, x[:1]))


def of_snntorch() -> None:
    x = samples(2, 8, 8)

    def leaky(shape: tuple[int, ...], beta: float = 1.0) -> nn.Module:
        return snntorch.Leaky(beta=torch.full(shape, beta), threshold=torch.ones(shape), init_hidden=True,
                              reset_mechanism="zero")  # fmt: skip

    net = nn.Sequential(*parts(nn.AvgPool2d((2, 2), (2, 2)), leaky))
    rested = [copy.deepcopy(net) for _ in x]  # utils.reset leaves some of what hidden membranes hold
    graph = snntorch_to_nir(net, x[:1], ignore_dims=[0])
    save("snntorch_cnn", graph, x, torch.cat([copied(sample[None]) for copied, sample in zip(rested, x, strict=True)]))
    forgetting = nn.Sequential(even(nn.Linear(12, 5)), leaky((5,), 0.9))
    nir.write(FOLDER / "snntorch_leaky.nir", snntorch_to_nir(forgetting, samples(12)[:1], ignore_dims=[0]))
    recurrent = nn.Sequential(even(nn.Linear(12, 5)),
                              snntorch.RLeaky(beta=0.9, linear_features=5, init_hidden=True))  # fmt: skip
    nir.write(FOLDER / "snntorch_recurrent.nir", snntorch_to_nir(recurrent, samples(12)[:1], ignore_dims=[0]))


if __name__ == "__main__":
    for write in (of_sinabs, of_spikingjelly, of_norse, of_snntorch):
        torch.manual_seed(SEED)
        write()
