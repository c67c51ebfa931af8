"""The ops of the float graph: a small closed set. Moves are those of :mod:`sfn_compile.program.network`, wrapped."""

from __future__ import annotations

from typing import TypeAlias, TypeGuard

from .activation import Activation
from .expression import Expression
from .layer import IntegerForm, Layer
from .linear import Linear
from .quantize import Quantize
from .rows import MatMul, NormalForm, Normalize
from .simple import Add, ArgExtreme, MaxPool, Moved, Mul, Pointwise, Softmax

__all__ = [
    "Activation", "Add", "ArgExtreme", "Expression", "IntegerForm", "Layer", "Linear", "MatMul", "MaxPool", "Moved",
    "Mul", "NormalForm", "Normalize", "Pointwise", "Quantize", "SiteOp", "Softmax", "fires", "is_row_exp",
    "needs_statistics", "site_op",
]  # fmt: skip

SiteOp: TypeAlias = Layer | Normalize | MaxPool | Moved  # what a graph is made of once its sites are placed


def site_op(op: object) -> SiteOp:
    """Return an op of a graph whose sites are placed, as one of the kinds that there are then."""
    assert isinstance(op, Layer | Normalize | MaxPool | Moved)
    return op


def is_row_exp(op: object) -> bool:
    """Return whether an op is the exponential of a softmax, whose range is known before any sample is seen."""
    return isinstance(op, Layer) and op.activation is not None and op.activation.kind == "row_exp"


def needs_statistics(op: object) -> TypeGuard[Layer | Normalize]:
    """Return whether the levels of a site are chosen by what samples reach: not if stated, and not of known range."""
    return fires(op) and op.levels is None and not is_row_exp(op) and not (isinstance(op, Layer) and op.carries)


def fires(op: object) -> TypeGuard[Layer | Normalize]:
    """Return whether an op of a graph with sites is one: it fires spikes, at levels that have to be chosen."""
    return isinstance(op, Normalize) or (isinstance(op, Layer) and op.activation is not None)
