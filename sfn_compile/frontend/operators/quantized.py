"""QuantizeLinear and DequantizeLinear, and the two steps that all importers of quantised operators are made of.

A quantised value is imported as real numbers on a grid: the graph never sees stored integers or zero points. What an
ONNX tensor of stored integers means is in ``Context.integers``; constants remember what they are multiples of.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...graph.graph import Levels
from ...graph.ops import Quantize
from ...program.network import Shape
from ...program.rounding import Rounding, to_codes
from ..context import Array, Grid
from ..onnx_node import OnnxNode

_STORED = {"uint4": (0, 15), "int4": (-8, 7), "uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535),
           "int16": (-32768, 32767), "int32": (-(2**31), 2**31 - 1)}  # fmt: skip
_MOST_CODES = 2**16


def quantize_linear(node: OnnxNode) -> None:
    """Of computed values: a site with the levels of the quantiser. Of constants: folded. Not per block."""
    _no_blocks(node)
    constant = node.constant(0)
    scale = scale_of(node, 1)
    dtype = stored_type(node, 2)
    if constant is not None:
        return _store_constant(node, np.asarray(constant), scale, dtype)
    grid = grid_of(node, scale, 2, dtype, node.shape(0))
    return node.store(quantized(node, node.value(0), grid), grid)


def dequantize_linear(node: OnnxNode) -> None:
    """Of stored integers: the real numbers they mean. Of constants: weights that are never rounded again."""
    _no_blocks(node)
    scale = scale_of(node, 1)
    constant = node.constant(0)
    if constant is not None:
        return _real_constant(node, np.asarray(constant), scale)
    return node.real_alias(real_value(node, 0, 1, 2))


def real_value(node: OnnxNode, i: int, scale: int, zero: int) -> str:
    """Return the real numbers that stored input ``i`` means under the scale and zero point in those inputs."""
    shape = node.shape(i)
    held = node.grid(i)
    if held is None:
        raise node.refuse("it reads integers that no quantiser has made", "quantise the model as a whole")
    wanted = grid_of(node, scale_of(node, scale), zero, held.dtype, shape)
    if held.same(wanted):
        return node.value(i)
    # The stored q = real / held.scale + held.zero gets another meaning.
    again = node.affine(node.value(i), wanted.scale / held.scale, (held.zero - wanted.zero) * wanted.scale)
    return quantized(node, node.emit(again, node.value(i)), wanted)


def quantized(node: OnnxNode, value: str, grid: Grid, rounding: Rounding = "half_even") -> str:
    """Return ``value`` rounded to ``grid``: code 0 is the real number 0, whatever the zero point."""
    zero = int(grid.zero.reshape(-1)[0])
    low, high = _STORED[grid.dtype]
    lo, hi = low - zero, high - zero
    if hi - lo >= _MOST_CODES:
        raise node.refuse(f"values stored as {grid.dtype} have too many levels", "quantise activations to 8 bits")
    step = np.asarray(grid.scale, np.float64)
    rank = len(node.context.types[value].shape)
    step = step.reshape((1,) * (rank - step.ndim) + step.shape)
    levels = Levels(step, lo, hi, np.zeros_like(step, bool), "imported", rounding)
    return node.emit(Quantize(levels), value)


def constant_value(node: OnnxNode, i: int, scale: int, zero: int, axis: int = 0) -> tuple[Array, Array]:
    """Return (real numbers, unit) of stored constant input ``i``; a scale per channel runs along ``axis``."""
    stored = np.asarray(node.need_constant(i, "stored weight"), np.int64)
    unit = _along(node, scale_of(node, scale), stored.shape, axis)
    zeros = node.constant(zero) if node.has_input(zero) else None
    offset = _along(node, np.asarray(0 if zeros is None else zeros, np.int64), stored.shape, axis)
    return (stored - offset) * unit, unit


def _real_constant(node: OnnxNode, stored: Array, scale: Array) -> None:
    out = str(node.node.outputs[0].name)
    if stored.dtype.kind not in "iu":
        stored = stored.astype(np.int64)  # 4-bit types that NumPy does not know
    axis = int(node.attr("axis", 1))
    if scale.size > 1 and not (-stored.ndim <= axis < stored.ndim and stored.shape[axis] == scale.size):
        raise node.refuse(f"{scale.size} scales do not fit axis {axis} of an array of shape {stored.shape}")
    node.context.constants[out], node.context.units[out] = constant_value(node, 0, 1, 2, axis)
    node.context.quantised.add(out)


def _store_constant(node: OnnxNode, real: Array, scale: Array, dtype: str) -> None:
    """Round constant weights as onnxruntime does when the model is loaded."""
    step = _along(node, scale, real.shape, int(node.attr("axis", 1)))
    zeros = node.constant(2) if node.has_input(2) else None
    zero = _along(node, np.asarray(0 if zeros is None else zeros, np.int64), real.shape, int(node.attr("axis", 1)))
    low, high = _STORED[dtype]
    whole = to_codes(real, step, low - int(zero.max()), high - int(zero.min()), "half_even").astype(np.int64)
    out = str(node.node.outputs[0].name)
    node.context.constants[out] = np.clip(whole + zero, low, high)
    node.context.quantised.add(out)


def grid_of(node: OnnxNode, scale: Array, zero: int, dtype: str, shape: Shape) -> Grid:
    """Return the grid of a computed value; a scale per channel runs along the attribute ``axis``."""
    found = node.constant(zero) if node.has_input(zero) else None
    if node.has_input(zero) and found is None:
        raise node.refuse("its zero point is computed at run time", "quantise the model statically")
    zeros = np.asarray(0 if found is None else found, np.int64)
    if zeros.size > 1 and (zeros != zeros.reshape(-1)[0]).any():
        raise node.refuse("its zero points differ from channel to channel", "quantise activations per tensor")
    if scale.size > 1:
        axis = node.sample_axis(int(node.attr("axis", 1)), len(shape) + 1)
        if shape[axis] != scale.size:
            raise node.refuse(f"{scale.size} scales do not fit axis {axis + 1} of a sample of shape {shape}")
        scale = _along(node, scale, shape, axis)
    else:
        scale = scale.reshape(())
    return Grid(scale, zeros.reshape(-1)[:1].reshape(()), dtype)


def scale_of(node: OnnxNode, i: int) -> Array:
    """Return constant input ``i`` as a scale: positive and finite."""
    found = np.asarray(node.need_constant(i, "scale"), np.float64)
    if not (np.isfinite(found) & (found > 0)).all():
        raise node.refuse("its scale is not a positive number", "export the quantised model again")
    return found


def stored_type(node: OnnxNode, zero: int) -> str:
    """Return the name of the stored type: that of the zero point, else attribute ``output_dtype``, else uint8."""
    found = node.node.inputs[zero] if node.has_input(zero) else None
    if found is not None and found.dtype is not None:
        name = str(found.dtype.name).lower()
    elif node.attr("output_dtype", 0):
        name = ir.DataType(int(node.attr("output_dtype"))).name.lower()
    else:
        constant = node.constant(zero) if found is not None else None
        name = "uint8" if constant is None else str(np.asarray(constant).dtype)
    if name not in _STORED:
        raise node.refuse(f"values stored as {name}", "quantise to int8 or uint8")
    return name


def _along(node: OnnxNode, values: Array, shape: Shape, axis: int) -> Array:
    """Return one number, or one per entry of ``axis``, as it broadcasts against an array of ``shape``."""
    rank = len(shape)
    if values.size == 1:
        return values.reshape(())
    if not -rank <= axis < rank or values.size != shape[axis]:
        raise node.refuse(f"{values.size} scales or zero points do not fit axis {axis} of an array of shape {shape}")
    return values.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def _no_blocks(node: OnnxNode) -> None:
    if node.attr("block_size", 0):
        raise node.refuse("a scale per block", "quantise per tensor or per channel")


IMPORTERS = {"QuantizeLinear": quantize_linear, "DequantizeLinear": dequantize_linear}
