"""The ops of the float graph: a small closed set. Moves are those of :mod:`sfn_compile.program`, wrapped."""

from __future__ import annotations

from .activation import Activation
from .expression import Expression
from .layer import IntegerForm, Layer
from .linear import Linear
from .quantize import Quantize
from .rows import MatMul, Normalize
from .simple import Add, ArgExtreme, MaxPool, Moved, Mul, Pointwise, Softmax

__all__ = [
    "Activation", "Add", "ArgExtreme", "Expression", "IntegerForm", "Layer", "Linear", "MatMul", "MaxPool", "Moved",
    "Mul", "Normalize", "Pointwise", "Quantize", "Softmax",
]  # fmt: skip
