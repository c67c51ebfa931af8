"""One importer per ONNX operator, as data: operator name -> function. ``sfnc ops`` prints this table."""

from __future__ import annotations

from collections.abc import Callable

from ..context import OnnxNode
from . import activations, arithmetic, linear, moves, pools

Importer = Callable[[OnnxNode], None]

IMPORTERS: dict[str, Importer] = {
    **linear.IMPORTERS,
    **arithmetic.IMPORTERS,
    **activations.IMPORTERS,
    **pools.IMPORTERS,
    **moves.IMPORTERS,
}

_STATE = "it keeps state from step to step, which a one-timestep network does not have"
_BRANCH = "the graph itself depends on values that are known only at run time"
_QUANTISED = "quantised models cannot be read yet"

# Operators with a reason worth telling: name -> (reason, what to do).
REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (_STATE, "replace it by a convolution or attention over a fixed window")),
    **dict.fromkeys(("If", "Loop", "Scan"), (_BRANCH, "export the branch or the unrolled loop that you use")),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "Quant", "BipolarQuant"),
        (_QUANTISED, "pass the float model it was made from"),
    ),
}


def describe() -> list[tuple[str, str]]:
    """Return (operator, first line of its importer's docstring), sorted: the table of ``sfnc ops``."""
    rows = [(name, (f.__doc__ or "").strip().splitlines()[0]) for name, f in IMPORTERS.items()]
    return sorted(rows + [("Constant", "Any dense constant.")])
