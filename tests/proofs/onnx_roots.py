"""Integer roots as an emitted graph computes them: floor(sqrt(x)), from 2^52 on put right by two comparisons.

Below 2^52 the root of a float64 that holds an integer is rounded across no integer. From there to 2^62 it is off by one
at most (``docs/spec/targets.md``), so ``near - (near^2 > x)`` is the root or one less, and ``up^2 <= x`` decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .modular import Array
from .onnx_tensors import Form, Tensor, form
from .program_values import Value, root
from .reading import NotProved

EXACT_ROOT = 2**52
Attributes = dict[str, Any]


@dataclass(eq=False)
class NearRoot:
    """The rounded root of a form: its integer root, or from 2^52 on one beside it. ``stage``: what became of it."""

    radicand: Form
    stage: str


@dataclass(eq=False)
class Rounded:
    """An int64 form read as float64, where it may be rounded. Only a root makes something of it."""

    form: Form


def root_form(x: NearRoot) -> Form:
    r = x.radicand
    lo, hi = (np.broadcast_to(e, r.v.shape)[0] for e in (r.lo, r.hi))
    found = root(Value(r.v, lo, hi))
    return form(found.v, found.lo[None], found.hi[None], r.dtype)


def sqrt(inputs: list[Tensor], _: Attributes) -> Tensor:
    x = inputs[0].form if isinstance(inputs[0], Rounded) else inputs[0]
    if not isinstance(x, Form) or np.dtype(np.float32) == x.dtype or x.lo.min() < 0:
        raise NotProved("a root of what is no form in float64")
    return NearRoot(x, "root")


_BESIDE = {("near^2", ">"): "above", ("up^2", "<="): "fits"}


def compared(a: NearRoot, b: Tensor, name: str) -> Tensor:
    """``near * near > x``, or ``up * up <= x``, of the very radicand x."""
    stage = _BESIDE.get((a.stage, name))
    if stage is None or not isinstance(b, Form) or not np.array_equal(a.radicand.v, b.v):
        raise NotProved("a comparison with a root")
    return NearRoot(a.radicand, stage)


def with_number(a: NearRoot, b: Array, op: Callable[..., Array]) -> Tensor:
    if a.stage == "low" and op is np.add and (b == 1).all():
        return NearRoot(a.radicand, "up")
    raise NotProved("an operator on a root")


def followed(a: NearRoot, first: str, b: NearRoot, second: str, then: str) -> NearRoot:
    if (a.stage, b.stage) != (first, second) or a.radicand is not b.radicand:
        raise NotProved("operators on two roots")
    return NearRoot(a.radicand, then)


def chosen(c: NearRoot, a: Tensor, b: Tensor) -> Tensor:
    """``up * up <= x ? up : low``: the integer root, docs/spec/certificate.md, lemma 5."""
    stages = (c.stage, getattr(a, "stage", ""), getattr(b, "stage", ""))
    if stages != ("fits", "up", "low") or not c.radicand is a.radicand is b.radicand:
        raise NotProved("a choice by a root")
    return root_form(c)
