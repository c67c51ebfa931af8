"""Layer: what becomes one population, with real weights. Its later stages: :mod:`.stages`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...program.broadcast import Axis, axes_of
from ...program.network import Gather, Identity, LinearMap, Product, ProductForm, Projection, RowSum, Shape
from ...program.relations import Relation, Role, rounding_of
from .activation import Activation

Array = NDArray[Any]
Item = TypeVar("Item")
Terms = tuple[tuple[Projection, ...], tuple[Product, ...]]
ELEMENTWISE = (Identity, Gather)


@dataclass(frozen=True, eq=False)
class Term:
    """One linear map of a sum, and what it is there for.

    ``unit``, for weights that are integer multiples of it, as in :class:`.linear.Linear`. ``shares``:
    in how many terms the weight is shared out, this one and its copies; each has the same part of it.
    """

    map: LinearMap
    role: Role = "main"
    unit: Array | None = None
    shares: int = 1


def with_roles(terms: Sequence[Term], products: Sequence[ProductForm]) -> tuple[Term, ...]:
    """Return the terms of a sum with their roles: what adds codes beside a weighted sum or a product is a skip."""
    weighted = bool(products) or any(not isinstance(t.map, ELEMENTWISE) for t in terms)
    return tuple(replace(t, role="skip") if weighted and _adds_codes(t) else t for t in terms)


def _adds_codes(term: Term) -> bool:
    return term.role == "main" and isinstance(term.map, ELEMENTWISE)


def with_maps(terms: Iterable[Term], maps: Iterable[LinearMap]) -> tuple[Term, ...]:
    """Return the terms with other maps in place of their own, one for each."""
    return tuple(replace(t, map=m) for t, m in zip(terms, maps, strict=True))


@dataclass(frozen=True, eq=False)
class Layer:
    """``activation(sum of terms and products of inputs + bias)``: one input per term, then two per product.

    With a ``norm_axis`` the sum is divided, before the bias, by that of one more input over this axis of one sample.
    ``activation`` None means a readout: the accumulator leaves the network unfired. ``axis`` is the channel axis of the
    sample, along which thresholds are chosen; of several axes, every combination of places is a channel. ``relation``:
    what the population is to another. One that fires the rounding error of another has a term that subtracts the codes
    of that one from the same sum; on real numbers it is 0.
    """

    terms: tuple[Term, ...]
    bias: Array
    activation: Activation | None
    axis: Axis = 0
    products: tuple[ProductForm, ...] = ()
    norm_axis: int | None = None
    relation: Relation | None = None

    @property
    def maps(self) -> tuple[LinearMap, ...]:
        """The linear maps of the terms, with real weights."""
        return tuple(t.map for t in self.terms)

    @property
    def has_units(self) -> bool:
        """Whether some weights are integer multiples that the model itself states."""
        return any(t.unit is not None for t in self.terms)

    @property
    def rounding_of(self) -> str:
        """The population whose rounding error this one fires, "" where it is none of those."""
        return rounding_of(self.relation)

    def norm(self, inputs: tuple[str, ...]) -> RowSum | None:
        """Return what the sum of maps and products is divided by, None where by nothing."""
        return None if self.norm_axis is None else RowSum(inputs[-1], self.norm_axis)

    def drivers(self, inputs: tuple[str, ...]) -> Terms:
        """Return the projections and products, with real weights, on a node's inputs."""
        return drivers(self.terms, self.products, inputs)

    def infer(self, *shapes: Shape) -> Shape:
        """Return the common shape of the projections and products."""
        n = len(self.maps)
        found = {m.out_shape(s) for m, s in zip(self.maps, shapes[:n], strict=True)}
        found |= {f.out_shape(*pair) for f, pair in zip(self.products, _pairs(shapes[n:], self.products), strict=True)}
        assert len(found) == 1
        return found.pop()

    def drive(self, *xs: Array) -> Array:
        """Return the pre-activation ``(n, *shape)``, float64, bias included, without rounding.

        ``xs``: the inputs of the maps, of the products (left, right) and of the norm, in this order, ``(n, *shape)``
        each.
        """
        n = len(self.maps)
        parts = [m.apply(x, np.float64) for m, x in zip(self.maps, xs[:n], strict=True)]
        pairs = _pairs(xs[n:], self.products)
        parts += [f.apply(left, right, np.float64) for f, (left, right) in zip(self.products, pairs, strict=True)]
        if self.norm_axis is not None:
            parts = [part / xs[-1].sum(axis=self.norm_axis + 1, keepdims=True) for part in parts]
        return sum(parts, start=np.asarray(self.bias, np.float64))

    def evaluate(self, *xs: Array) -> Array:
        """Return the activation ``(n, *shape)`` of :meth:`drive`, without rounding."""
        total = self.drive(*xs)
        return total if self.activation is None else self.activation.evaluate(total)


def n_channels(shape: Shape, axis: Axis) -> int:
    """Return the number of channels of a sample of ``shape``."""
    return int(np.prod([shape[a] for a in axes_of(axis, len(shape))]))


def channel_rows(array: Array, axis: Axis, batched: bool = False) -> Array:
    """Return ``(channels, rest)``: the numbers of each channel of one sample, or of a batch of them."""
    rank = array.ndim - batched
    over = [a + batched for a in axes_of(axis, rank)]
    front = np.moveaxis(array, over, range(len(over)))
    return front.reshape(int(np.prod(front.shape[: len(over)])), -1)


def drivers(terms: tuple[Term, ...], forms: tuple[ProductForm, ...], inputs: tuple[str, ...]) -> Terms:
    """Return terms and products on a node's inputs: one input per term, then two per product."""
    n = len(terms)
    projections = tuple(Projection(s, t.map, t.role) for s, t in zip(inputs[:n], terms, strict=True))
    products = tuple(Product(*pair, f) for f, pair in zip(forms, _pairs(inputs[n:], forms), strict=True))
    return projections, products


def _pairs(items: Sequence[Item], forms: Sequence[ProductForm]) -> list[tuple[Item, Item]]:
    """Return the two factors of every product; behind them may be what the sum is divided by."""
    n = 2 * len(forms)
    return list(zip(items[:n:2], items[1:n:2], strict=True))
