"""Products of two spike values, added into an accumulator. Meaning of every class: ``docs/spec/program.md``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import arithmetic
from .arithmetic import Number
from .linear_maps import Shape

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """``weight * left * right``, element by element; both samples have the same rank and broadcast (NumPy's rule).

    ``weight`` broadcasts against the product's sample.
    """

    weight: Array

    def out_shape(self, left: Shape, right: Shape) -> Shape:
        """Return the product's shape for samples of shapes ``left`` and ``right``."""
        assert len(left) == len(right)
        return tuple(int(n) for n in np.broadcast_shapes(left, right))

    def summed(self, left: Shape) -> int:
        """Return how many products of two codes one accumulator adds up, for left samples of this shape: one."""
        return 1

    def apply(self, left: Array, right: Array, number: Number = np.int64) -> Array:
        """Return the accumulator of codes ``left`` and ``right``, each ``(n, *shape)``."""
        return arithmetic.product(left, right, self.weight, number)


@dataclass(frozen=True, eq=False)
class Matmul:
    """``acc[..., i, j] = weight * sum_k left[..., i, k] * right[..., k, j]``; leading axes are equal.

    ``weight`` broadcasts against the product's sample.
    """

    weight: Array

    def out_shape(self, left: Shape, right: Shape) -> Shape:
        """Return the product's shape for samples of shapes ``left`` and ``right``."""
        assert left[:-2] == right[:-2]
        assert left[-1] == right[-2]
        return (*left[:-1], right[-1])

    def summed(self, left: Shape) -> int:
        """Return how many products of two codes one accumulator adds up, for left samples of this shape."""
        return left[-1]

    def apply(self, left: Array, right: Array, number: Number = np.int64) -> Array:
        """Return the accumulator of codes ``left`` and ``right``, each ``(n, *shape)``."""
        return arithmetic.matmul(left, right, self.weight, number)


# How two values are multiplied.
ProductForm: TypeAlias = Elementwise | Matmul
FormName: TypeAlias = Literal["Elementwise", "Matmul"]  # what a target says it can express


@dataclass(frozen=True)
class Product:
    """The product of the values ``left`` and ``right`` (the same name: a square) into a population's accumulator."""

    left: str
    right: str
    form: ProductForm
