"""Bounds on what a file may ask for before anything is allocated: a few bytes of ONNX can name a tensor of any size."""

from __future__ import annotations

import math

import onnx_ir as ir

from ..foundation.diagnostics import fail

# One sample of one value. 2**26 numbers are 512 MB in float64, 64 channels of a 1024 x 1024 image.
MOST_NUMBERS = 1 << 26
# Constants that folding may make beside what the file brings: masks and positions of real networks are far smaller.
_FREE_NUMBERS = 1 << 24
_PER_WEIGHT = 4
# onnx's reference implementation runs these as Python loops or in more than linear time.
_LINEAR = frozenset((
    "Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh",
    "BatchNormalization", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike",
    "Ceil", "Celu", "Clip", "Concat", "ConstantOfShape", "Cos", "Cosh", "CumSum", "DepthToSpace",
    "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather",
    "GatherElements", "GatherND", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Hardmax",
    "Identity", "IsInf", "IsNaN", "LayerNormalization", "LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax",
    "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "NonZero", "Not", "OneHot", "Or", "PRelu", "Pad", "Pow",
    "QuantizeLinear", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape",
    "Round", "ScatterElements", "ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Sinh", "Size", "Slice",
    "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tan",
    "Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
))  # fmt: skip
_MOST_SLOW = 1 << 14
_MATRIX = frozenset({"MatMul", "Gemm"})
_MOST_PRODUCTS = 1 << 34
_NO_MORE_THAN_INPUTS = frozenset({"NonZero", "Compress", "Unique"})


def numbers(shape: object) -> int | None:
    """Return how many numbers a static shape holds, None where it is not static."""
    if not isinstance(shape, ir.Shape):
        return None
    dims = [d for d in shape if isinstance(d, int) and d >= 0]
    return math.prod(dims) if len(dims) == len(shape) else None


def check_input(name: str, shape: tuple[int, ...], batch: int | None) -> None:
    """Refuse an input of no sample, or of more numbers than fit. Raises SFN103, SFN108."""
    if batch is not None and batch < 1:
        raise fail("SFN103", f"its batch is {batch}", f"input {name!r}", "export with a batch of 1 or a free one")
    if math.prod(shape) * (batch or 1) > MOST_NUMBERS:
        what = f"{batch or 1} samples of shape {list(shape)} hold more than {MOST_NUMBERS} numbers"
        raise fail("SFN108", what, f"input {name!r}", "export with a smaller batch, height and width")


class FoldBudget:
    """How much constant folding may still make; ``allows(node)`` answers for a node whose inputs are all constants."""

    def __init__(self, weights: int):
        self.left = _FREE_NUMBERS + _PER_WEIGHT * weights

    def allows(self, node: ir.Node) -> bool:
        """Return whether to fold the node; takes its numbers off the budget. Raises SFN108 where they pass it."""
        sizes = [numbers(v.shape) or 0 for v in node.inputs if v is not None]
        made = self._made(node, sizes)
        if node.domain not in ("", "ai.onnx") or made is None or not _quick(node, made, sizes):
            return False
        if made > self.left:
            what = f"it computes a constant of {made} numbers, more than the weights of the model account for"
            raise fail("SFN108", what, f"{node.name or node.outputs[0].name} ({node.op_type})",
                       "export the model with a smaller constant, or with the constant stored")  # fmt: skip
        self.left -= made
        return True

    def _made(self, node: ir.Node, sizes: list[int]) -> int | None:
        known = numbers(node.outputs[0].shape) if len(node.outputs) == 1 else None
        if known is None and node.op_type in _NO_MORE_THAN_INPUTS:
            return 8 * sum(sizes)
        return known


def _quick(node: ir.Node, made: int, sizes: list[int]) -> bool:
    if node.op_type in _LINEAR:
        return True
    if node.op_type in _MATRIX:  # of (m, k), (k, n) and (m, n) the product is (m k n) squared
        return math.isqrt(made * math.prod(sizes[:2])) <= _MOST_PRODUCTS
    return made + sum(sizes) <= _MOST_SLOW
