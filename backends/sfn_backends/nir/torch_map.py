"""Node map with which nirtorch runs the forms `unary` and `sar`; it stands alone and imports torch when used.

import nirtorch
from sfn_backends.nir.torch_map import NODE_MAP
model = nirtorch.nir_to_torch("network.nir", NODE_MAP)
codes, state = model(input_codes)          # (n, *shape), float32 integers
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def node_map() -> dict[Any, Callable[[Any], Any]]:
    """Return modules for Threshold and Scale, and Affine with its bias (nirtorch 2.6 leaves that random)."""
    import nir
    import torch  # type: ignore[import-not-found, unused-ignore]

    class Threshold(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self, node: Any) -> None:
            super().__init__()
            self.register_buffer("threshold", torch.from_numpy(node.threshold))

        def forward(self, x: Any) -> Any:
            return (x > self.threshold).to(x.dtype)

    class Scale(torch.nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self, node: Any) -> None:
            super().__init__()
            self.register_buffer("scale", torch.from_numpy(node.scale))

        def forward(self, x: Any) -> Any:
            return x * self.scale

    def affine(node: Any) -> Any:
        module = torch.nn.Linear(node.weight.shape[1], node.weight.shape[0])
        module.weight.data, module.bias.data = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
        return module

    return {nir.Threshold: Threshold, nir.Scale: Scale, nir.Affine: affine}


def __getattr__(name: str) -> Any:
    if name == "NODE_MAP":
        return node_map()
    raise AttributeError(name)
