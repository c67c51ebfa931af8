"""What a host head costs for one sample, counted from its shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from onnx import NodeProto, helper

from .cut_file import Dims


@dataclass(frozen=True)
class Cost:
    """Per sample: ``macs`` multiply-accumulates of linear maps and Fourier transforms (as sums, not fast), and
    ``numbers`` that all nodes together compute; None where a shape is not known before the model runs."""

    macs: int | None
    numbers: int | None

    def as_dict(self) -> dict[str, int | None]:
        """Return the JSON form."""
        return {"macs": self.macs, "numbers": self.numbers}


def cost_of(nodes: Iterable[NodeProto], shapes: Mapping[str, Dims], batch: int) -> Cost:
    """Return the cost of nodes whose values have these shapes for ``batch`` samples."""
    macs: list[int] = []
    numbers: list[int] = []
    for node in nodes:
        made = [shapes.get(name, (0,)) for name in node.output if name]
        size = sum(math.prod(d) for d in made) if all(0 not in d for d in made) else -1
        numbers.append(size)
        macs.append(size * _terms(node, shapes) if size >= 0 else -1 if _terms(node, shapes) else 0)
    return Cost(_total(macs, batch), _total(numbers, batch))


def _terms(node: NodeProto, shapes: Mapping[str, Dims]) -> int:
    """Return how many products one number of a node's result sums up, 0 for what is no sum of products."""
    of = [shapes.get(name, ()) for name in node.input]
    if node.op_type in ("MatMul", "Gemm"):
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return of[0][-2 if transposed else -1] if len(of[0]) > 1 else math.prod(of[0])
    if node.op_type in ("Conv", "ConvTranspose"):
        return math.prod(of[1][1:])
    if node.op_type == "DFT":
        axis = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "axis"), -2)
        return 2 * of[0][axis] if len(of[0]) > 1 else 0
    if node.op_type == "STFT":
        window = math.prod(of[2]) if len(of) > 2 and of[2] else 0
        return 2 * window if window else 2 * of[0][1]
    return 0


def _total(counts: list[int], batch: int) -> int | None:
    return None if any(c < 0 for c in counts) else sum(counts) // batch
