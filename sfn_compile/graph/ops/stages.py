"""The stages of a Layer and of a normalisation, as types: levels chosen, integer weights, integer thresholds.

What needs integers asks for a type that has them, so that a type checker says where they may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...program.network import Ladder, LinearMap, ProductForm, Ratio
from ..graph import Levels, Node
from .activation import Activation
from .layer import Layer, Term, Terms, drivers
from .rows import Normalize

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Site(Layer):
    """A Layer that fires at known ``levels``: chosen ones, or those that the model itself states."""

    activation: Activation
    levels: Levels = field(kw_only=True)

    def evaluate(self, *xs: Array) -> Array:
        """Return the real values ``(n, *shape)``; rounded to their levels only where the model itself states those."""
        real = super().evaluate(*xs)
        known = self.levels.stated and self.activation.body is not None  # the function takes no other values
        return self.levels.real(real) if self.levels.imported and not known else real


@dataclass(frozen=True, eq=False)
class IntegerForm:
    """The integers of a layer. ``alpha`` is the real value of one accumulator unit, per channel (broadcastable)."""

    terms: tuple[Term, ...]
    alpha: Array
    acc_min: int = 0
    acc_max: int = 0
    notes: tuple[str, ...] = ()
    products: tuple[ProductForm, ...] = ()

    @property
    def maps(self) -> tuple[LinearMap, ...]:
        """The linear maps of the terms, with integer weights."""
        return tuple(t.map for t in self.terms)

    def drivers(self, inputs: tuple[str, ...]) -> Terms:
        """Return the integer projections and products on a node's inputs."""
        return drivers(self.terms, self.products, inputs)


@dataclass(frozen=True, eq=False)
class IntegerSite(Site):
    """A site with integer weights."""

    integer: IntegerForm = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class FoldedSite(IntegerSite):
    """A site with integer weights and thresholds: no float is on any edge."""

    ladder: Ladder = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class IntegerReadout(Layer):
    """A Layer that does not fire, with integer weights."""

    integer: IntegerForm = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class FoldedReadout(IntegerReadout):
    """A Layer that does not fire, with integer weights and bias."""

    ladder: Ladder = field(kw_only=True)


IntegerLayer: TypeAlias = IntegerSite | IntegerReadout
FoldedLayer: TypeAlias = FoldedSite | FoldedReadout


# -- normalisation --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class NormalSite(Normalize):
    """A normalisation that fires at chosen ``levels``."""

    levels: Levels = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class NormalForm:
    """The integers of a normalisation; meaning in :class:`~sfn_compile.program.network.Normalization`."""

    weights: tuple[Array, ...]
    gain: Array
    epsilon: int
    bits: int
    ladder: Ratio


@dataclass(frozen=True, eq=False)
class IntegerNormal(NormalSite):
    """A normalisation with its integers."""

    integer: NormalForm = field(kw_only=True)


# -- from stage to stage --------------------------------------------------------------------------------------------
def at_levels(layer: Layer, activation: Activation, levels: Levels) -> Site:
    """Return the site that a Layer is at these levels; integers are left behind."""
    return Site(**{**_own(layer, Layer), "activation": activation, "levels": levels})


def with_integers(layer: Layer, form: IntegerForm) -> IntegerLayer:
    """Return a site, or a Layer that does not fire, with integer weights in place of those that it may have."""
    if isinstance(layer, Site):
        return IntegerSite(**_own(layer, Site), integer=form)
    assert layer.activation is None, "it fires, and its levels are not chosen"
    return IntegerReadout(**_own(layer, Layer), integer=form)


def with_ladder(layer: IntegerLayer, ladder: Ladder) -> FoldedLayer:
    """Return a layer with its integer thresholds."""
    if isinstance(layer, IntegerSite):
        return FoldedSite(**_own(layer, IntegerSite), ladder=ladder)
    return FoldedReadout(**_own(layer, IntegerReadout), ladder=ladder)


def without_integers(layer: Layer) -> Layer:
    """Return a Layer as it was before it had integers: its levels stay."""
    return Site(**_own(layer, Site)) if isinstance(layer, Site) else Layer(**_own(layer, Layer))


def normal_at_levels(op: Normalize, levels: Levels) -> NormalSite:
    """Return the normalisation that fires at these levels."""
    return NormalSite(**_own(op, Normalize), levels=levels)


def normal_with_integers(op: NormalSite, form: NormalForm) -> IntegerNormal:
    """Return the normalisation with its integers."""
    return IntegerNormal(**_own(op, NormalSite), integer=form)


def _own(op: Layer | Normalize, stage: type[Layer | Normalize]) -> dict[str, Any]:
    """Return the fields that an operation has of a stage."""
    return {f.name: getattr(op, f.name) for f in fields(stage)}


# -- what a node is -------------------------------------------------------------------------------------------------
def integer_layer(node: Node) -> IntegerLayer | None:
    """Return the Layer of a node in a graph with ``weights-integer``, None of a node that is no Layer."""
    assert not isinstance(node.op, Layer) or isinstance(node.op, IntegerSite | IntegerReadout)
    return node.op if isinstance(node.op, IntegerSite | IntegerReadout) else None


def levels_of(op: object) -> Levels | None:
    """Return the levels of a Layer or normalisation, None where none are chosen, or for any other operation."""
    return op.levels if isinstance(op, Site | NormalSite) else None


def unit_of(op: object) -> Array | None:
    """Return the real value of one accumulator unit, per channel, of a Layer that does not fire; None of other ops."""
    return np.asarray(op.integer.alpha) if isinstance(op, IntegerReadout) else None
