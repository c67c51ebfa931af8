"""Form: a value that is not spikes yet, as the sum that a population will compute. What place-sites works with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...foundation.diagnostics import Origin
from ...graph.ops import Normalize, Term
from ...program.network import Conv, Dense, Identity, ProductForm, RowSum, Shape

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Form:
    """A value that is not spikes yet: ``sum of terms(sources) + products(left, right) + bias``.

    With a ``norm``, what is before the bias is divided by it.
    """

    terms: tuple[tuple[str, Term], ...]
    bias: Array
    shape: Shape
    origin: Origin
    tap: str | None
    products: tuple[tuple[str, str, ProductForm], ...] = ()
    norm: RowSum | None = None


def plain(weights: Form, axis: int) -> bool:
    """Return whether a form is a softmax over ``axis`` of one sample and nothing else."""
    maps = [t.map for _, t in weights.terms]
    exact = len(maps) == 1 and isinstance(maps[0], Identity) and bool((maps[0].weight == 1).all())
    exact = exact and not weights.bias.any()
    return exact and not weights.products and weights.norm is not None and weights.norm.axis == axis


def axis_of_rows(op: Normalize, rank: int) -> int:
    """Return the channel axis of a normalisation: where its scales differ, else the first: rows are all alike then."""
    varying = [a + rank - op.scale.ndim for a, d in enumerate(op.scale.shape) if d > 1]
    return varying[0] if len(varying) == 1 else 0


def repeated(shape: Shape, wanted: Shape) -> Array:
    """Return the index of ``wanted`` shape that reads a sample of ``shape``, repeated along its axes of length 1."""
    return np.ascontiguousarray(np.broadcast_to(np.arange(int(np.prod(shape))).reshape(shape), wanted))


def mixed(form: Form) -> bool:
    """Return whether the terms run along different axes, so that no threshold per channel suits them all."""
    return len(form.shape) > 1 and {Conv, Dense} <= {type(t.map) for _, t in form.terms}


def merged(form: Form) -> Form:
    """Return the form with terms that read one value through one kind of map as one term: weights are added."""
    found: list[tuple[str, Term]] = []
    for source, term in form.terms:
        places = [i for i, (s, t) in enumerate(found) if s == source and _alike(t, term)]
        if not places:
            found.append((source, term))
            continue
        _, before = found[places[0]]
        weight = before.map.weight + term.map.weight
        found[places[0]] = (source, replace(before, map=replace(before.map, weight=weight)))
    return replace(form, terms=tuple(found))


def _alike(a: Term, b: Term) -> bool:
    """Return whether two terms on one value differ in nothing but their weights."""
    plain = a.unit is None and b.unit is None and a.role == b.role and type(a.map) is type(b.map)
    if not plain or not isinstance(a.map, Dense | Conv | Identity):
        return False
    shaped = isinstance(a.map, Identity) or a.map.weight.shape == b.map.weight.shape
    geometry = [{k: v for k, v in vars(t.map).items() if k != "weight"} for t in (a, b)]
    return shaped and geometry[0] == geometry[1]
