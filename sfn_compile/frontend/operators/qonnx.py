"""QONNX (Brevitas): Quant and BipolarQuant, on weights and on computed values. Equations: the QONNX operator pages."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...graph.graph import Levels
from ...graph.ops import Quantize
from ...program.rounding import Rounding, to_codes
from ..context import Array
from ..onnx_node import OnnxNode

DOMAINS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")

# QONNX names of rounding modes; the older ones are Brevitas'.
ROUNDING_MODES: dict[str, Rounding] = {
    "ROUND": "half_even", "HALF_EVEN": "half_even", "CEIL": "ceil", "FLOOR": "floor", "UP": "away", "DOWN": "to_zero",
    "ROUND_TO_ZERO": "to_zero", "HALF_UP": "half_away", "HALF_DOWN": "half_down",
}  # fmt: skip
_MOST_BITS = 16


def quant(node: OnnxNode) -> None:
    """Integer levels of 1 to 16 bits, signed or not, narrow or not, every rounding mode; zero point 0 on weights."""
    lo, hi = limits(node)
    zero = _number(node, 2, "zero point")
    name = node.attr("rounding_mode", "ROUND")
    rounding = ROUNDING_MODES.get(name.decode() if isinstance(name, bytes) else str(name).upper())
    if rounding is None:
        raise node.refuse(f"rounding_mode = {name!r}", f"one of {', '.join(ROUNDING_MODES)}")
    _round(node, int(lo - zero), int(hi - zero), rounding)


def bipolar_quant(node: OnnxNode) -> None:
    """The sign, as two levels -1 and 1."""
    _round(node, -1, 1, "sign")


def limits(node: OnnxNode) -> tuple[float, float]:
    """Return the smallest and largest stored integer of a Quant node."""
    bits = _number(node, 3, "bit width")
    if not 1 <= bits <= _MOST_BITS:
        raise node.refuse(f"a bit width of {bits:g}; 1 to {_MOST_BITS} are supported")
    narrow = int(bool(node.attr("narrow", 0)))
    if node.attr("signed", 1):
        return float(-np.floor(2.0 ** (bits - 1)) + narrow), float(np.ceil(2.0 ** (bits - 1)) - 1)
    return 0.0, float(np.ceil(2.0**bits) - 1 - narrow)


def _round(node: OnnxNode, lo: int, hi: int, rounding: Rounding) -> None:
    scale = np.asarray(node.need_constant(1, "scale"), np.float64)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise node.refuse("its scale is not a positive number", "export the quantised model again")
    constant = node.constant(0)
    if constant is not None:
        return _weights(node, np.asarray(constant), scale, lo, hi, rounding)
    shape = node.shape()
    step = scale.reshape((1,) * len(shape)) if scale.size == 1 else node.sample_constant(scale, shape, "scale")
    levels = Levels(step, lo, hi, np.zeros_like(step, bool), "imported", rounding)
    return node.result(Quantize(levels), node.value())


def _weights(node: OnnxNode, real: Array, scale: Array, lo: int, hi: int, rounding: Rounding) -> None:
    out = str(node.node.outputs[0].name)
    codes = to_codes(real, scale, lo, hi, rounding)
    node.context.constants[out] = codes * scale
    node.context.quantised.add(out)
    node.context.units[out] = np.broadcast_to(scale, real.shape) if scale.ndim <= real.ndim else scale.reshape(())


def _number(node: OnnxNode, i: int, what: str) -> float:
    found = np.asarray(node.need_constant(i, what), np.float64)
    if found.size != 1 and (found != found.reshape(-1)[0]).any():
        raise node.refuse(f"its {what} differs from channel to channel", f"use one {what} per tensor")
    return float(found.reshape(-1)[0])


_ALL: dict[str, Callable[[OnnxNode], None]] = {"Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant}
IMPORTERS = {f"{domain}::{name}": importer for domain in DOMAINS for name, importer in _ALL.items()}
