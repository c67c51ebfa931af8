"""The ops of the float graph: a small closed set. Moves are those of :mod:`sfn_compile.program`, wrapped."""

from __future__ import annotations

from .activation import Activation
from .expression import Expression
from .layer import IntegerForm, Layer
from .linear import Linear
from .simple import Add, MaxPool, Moved, Mul, Pointwise, Softmax

__all__ = ["Activation", "Add", "Expression", "IntegerForm", "Layer", "Linear", "MaxPool", "Moved", "Mul", "Pointwise",
           "Softmax"]  # fmt: skip
