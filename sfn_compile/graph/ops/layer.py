"""Layer: what becomes one population. First with real weights, then with levels, then with its integer form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...program.broadcast import Axis, axes_of
from ...program.network import Ladder, LinearMap, Product, ProductForm, Projection, RowSum, Shape
from ..graph import Levels
from .activation import Activation

Array = NDArray[Any]
Item = TypeVar("Item")
Terms = tuple[tuple[Projection, ...], tuple[Product, ...]]


@dataclass(frozen=True, eq=False)
class IntegerForm:
    """The integers of a layer. ``alpha`` is the real value of one accumulator unit, per channel (broadcastable)."""

    maps: tuple[LinearMap, ...]
    alpha: Array
    ladder: Ladder | None = None
    acc_min: int = 0
    acc_max: int = 0
    notes: tuple[str, ...] = ()
    products: tuple[ProductForm, ...] = ()

    def terms(self, inputs: tuple[str, ...]) -> Terms:
        """Return the integer projections and products on a node's inputs."""
        return _terms(self.maps, self.products, inputs)


@dataclass(frozen=True, eq=False)
class Layer:
    """``activation(sum of maps and products of inputs + bias)``: one input per map, then two per product.

    With a ``norm_axis`` the sum is divided, before the bias, by that of one more input over this axis of one sample.
    ``activation`` None means a readout: the accumulator leaves the network unfired. ``axis`` is the channel axis of the
    sample, along which thresholds are chosen; of several axes, every combination of places is a channel. ``units``, one
    per map, as in :class:`.linear.Linear`. ``carries``: the last map subtracts the codes that another
    population made of the same sum, so that this one fires what rounding left; on real numbers that is 0.
    """

    maps: tuple[LinearMap, ...]
    bias: Array
    activation: Activation | None
    axis: Axis = 0
    levels: Levels | None = None
    integer: IntegerForm | None = None
    products: tuple[ProductForm, ...] = ()
    units: tuple[Array | None, ...] = ()
    norm_axis: int | None = None
    carries: bool = False

    def carried(self, inputs: Sequence[str]) -> str:
        """Return the population of which this one fires what rounding left, "" where it is none of those."""
        return inputs[len(self.maps) - 1] if self.carries else ""

    def norm(self, inputs: tuple[str, ...]) -> RowSum | None:
        """Return what the sum of maps and products is divided by, None where by nothing."""
        return None if self.norm_axis is None else RowSum(inputs[-1], self.norm_axis)

    def terms(self, inputs: tuple[str, ...]) -> Terms:
        """Return the projections and products, with real weights, on a node's inputs."""
        return _terms(self.maps, self.products, inputs)

    def infer(self, *shapes: Shape) -> Shape:
        """Return the common shape of the projections and products."""
        n = len(self.maps)
        found = {m.out_shape(s) for m, s in zip(self.maps, shapes[:n], strict=True)}
        found |= {f.out_shape(*pair) for f, pair in zip(self.products, _pairs(shapes[n:], self.products), strict=True)}
        assert len(found) == 1
        return found.pop()

    def drive(self, *xs: Array) -> Array:
        """Return the real values in front of the activation, bias included, without quantisation."""
        n = len(self.maps)
        parts = [m.apply(x, np.float64) for m, x in zip(self.maps, xs[:n], strict=True)]
        pairs = _pairs(xs[n:], self.products)
        parts += [f.apply(left, right, np.float64) for f, (left, right) in zip(self.products, pairs, strict=True)]
        if self.norm_axis is not None:
            parts = [part / xs[-1].sum(axis=self.norm_axis + 1, keepdims=True) for part in parts]
        return sum(parts, start=np.asarray(self.bias, np.float64))

    def evaluate(self, *xs: Array) -> Array:
        """Return the real values; rounded to their levels where the model itself states those, else not."""
        total = self.drive(*xs)
        if self.activation is None:
            return total
        real = self.activation.evaluate(total)
        return self.levels.real(real) if self.levels is not None and self.levels.imported else real


def n_channels(shape: Shape, axis: Axis) -> int:
    """Return the number of channels of a sample of ``shape``."""
    return int(np.prod([shape[a] for a in axes_of(axis, len(shape))]))


def channel_rows(array: Array, axis: Axis, batched: bool = False) -> Array:
    """Return ``(channels, rest)``: the numbers of each channel of one sample, or of a batch of them."""
    rank = array.ndim - batched
    over = [a + batched for a in axes_of(axis, rank)]
    front = np.moveaxis(array, over, range(len(over)))
    return front.reshape(int(np.prod(front.shape[: len(over)])), -1)


def _terms(maps: tuple[LinearMap, ...], forms: tuple[ProductForm, ...], inputs: tuple[str, ...]) -> Terms:
    n = len(maps)
    projections = tuple(Projection(s, m) for s, m in zip(inputs[:n], maps, strict=True))
    products = tuple(Product(*pair, f) for f, pair in zip(forms, _pairs(inputs[n:], forms), strict=True))
    return projections, products


def _pairs(items: Sequence[Item], forms: Sequence[ProductForm]) -> list[tuple[Item, Item]]:
    """Return the two factors of every product; behind them may stand what the sum is divided by."""
    n = 2 * len(forms)
    return list(zip(items[:n:2], items[1:n:2], strict=True))
