"""Functions of one accumulator: the operators that a target applies to it, with constants per class of elements.

Elements of a tensor that see the same constants are one class. A function is evaluated on integers, in the number types
of the target and operator by operator, so nothing is assumed about its rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .modular import FIELD, Array
from .reading import NotProved

SWEEP = 50_000_000  # evaluations of one population that is not monotone


@dataclass(eq=False)
class Node:
    """``op`` applied to nodes. ``rising``: it does not decrease where its first argument rises, the others constant."""

    op: Callable[..., Array] | None  # None: the accumulator itself
    args: tuple[Node, ...] = ()
    constant: Array | None = None  # one number per class, or one for all
    rising: bool = True


ACCUMULATOR = Node(None)


def constant(per_class: Array) -> Node:
    """Return a constant node."""
    return Node(None, (), per_class)


@dataclass(eq=False)
class Function:
    """A tensor of functions of accumulators ``v`` (residues), element by element; ``cls``: the class of each.

    All accumulators are in ``lo..hi``. ``dtype`` is that of the tensor, ``start_dtype`` that of the accumulators.
    """

    v: Array
    lo: float
    hi: float
    cls: Array
    classes: int
    node: Node
    dtype: np.dtype[Any]
    start_dtype: np.dtype[Any]

    def then(self, op: Callable[..., Array], *args: Node, rising: bool, dtype: Any) -> Function:
        """Return the function with one operator more."""
        node = Node(op, (self.node, *args), rising=rising)
        return Function(self.v, self.lo, self.hi, self.cls, self.classes, node, np.dtype(dtype), self.start_dtype)

    def moved(self, move: Callable[[Array], Array]) -> Function:
        """Return the tensor with its elements in other places."""
        return Function(
            move(self.v), self.lo, self.hi, move(self.cls), self.classes, self.node, self.dtype, self.start_dtype
        )


def start(v: Array, lo: float, hi: float, dtype: Any) -> Function:
    """Return the accumulators as functions of themselves."""
    return Function(v, lo, hi, np.zeros(v.shape, np.int32), 1, ACCUMULATOR, np.dtype(dtype), np.dtype(dtype))


def with_constant(f: Function, array: Array) -> tuple[Function, Node]:
    """Return the tensor with classes that tell the elements of ``array`` apart, and the array as a node."""
    array = np.asarray(array)
    if array.size == 1:
        return f, constant(array.reshape(1))
    index = np.broadcast_to(np.arange(array.size).reshape(array.shape), f.cls.shape)
    refined, _, own = _refined(f, index)
    return refined, constant(array.reshape(-1)[own])


def _refined(f: Function, index: Array) -> tuple[Function, Array, Array]:
    """Return the function on classes of pairs (class, index), and of each new class both parts."""
    base = int(index.max()) + 1
    pairs, cls = np.unique(f.cls.astype(np.int64) * base + index, return_inverse=True)
    old, new = pairs // base, pairs % base
    node = _mapped(f.node, old, {})
    found = Function(
        f.v, f.lo, f.hi, cls.reshape(f.cls.shape).astype(np.int32), len(pairs), node, f.dtype, f.start_dtype
    )
    return found, old, new


def _mapped(node: Node, old: Array, done: dict[int, Node]) -> Node:
    if id(node) not in done:
        if node.constant is not None:
            mapped = node if node.constant.size == 1 else constant(node.constant[old])
        elif node.op is None:
            mapped = node
        else:
            mapped = Node(node.op, tuple(_mapped(a, old, done) for a in node.args), rising=node.rising)
        done[id(node)] = mapped
    return done[id(node)]


def joined(f: Function, g: Function) -> tuple[Function, Function]:
    """Return two functions of the same accumulators on common classes."""
    if f.v is not g.v:
        g = _rebased(g, f)
    if f.cls is g.cls or (f.classes == g.classes and np.array_equal(f.cls, g.cls)):
        return f, g
    left, _, _ = _refined(f, g.cls.astype(np.int64))
    right, _, _ = _refined(g, f.cls.astype(np.int64))
    # Both number pairs, in different order: bring the second into the first's.
    order = np.zeros(left.classes, np.int64)
    order[left.cls.reshape(-1)] = right.cls.reshape(-1)
    node = _mapped(right.node, order, {})
    return left, Function(f.v, f.lo, f.hi, left.cls, left.classes, node, g.dtype, g.start_dtype)


def _rebased(g: Function, f: Function) -> Function:
    """Return g as a function of the accumulators of f, which may differ from its own by constants."""
    if g.v.shape != f.v.shape:
        raise NotProved("two functions of different accumulators meet in one operator")
    shift = constants(g.v - f.v, g.lo - f.hi, g.hi - f.lo)
    if not shift.any():
        return Function(f.v, f.lo, f.hi, g.cls, g.classes, g.node, g.dtype, f.start_dtype)
    g, number = with_constant(g, shift.astype(g.start_dtype))
    moved = Node(np.add, (ACCUMULATOR, number))
    node = _mapped(g.node, np.arange(g.classes), {id(ACCUMULATOR): moved})
    return Function(f.v, f.lo, f.hi, g.cls, g.classes, node, g.dtype, f.start_dtype)


def constants(difference: Array, lowest: Array | float, highest: Array | float) -> Array:
    """Return the integers in ``lowest..highest`` that residues ``(POINTS, ...)`` are, the same at every point."""
    difference = difference % FIELD.p
    if (difference != difference[:1]).any():
        at = tuple(int(i) for i in np.argwhere(difference != difference[:1])[0][1:])
        raise NotProved(f"element {at}: another sum than the Program's")
    if np.max(np.asarray(highest) - np.asarray(lowest)) >= FIELD.p:
        raise NotProved("sums too wide to tell by which constant they differ")
    first = np.floor(lowest).astype(np.int64)
    return np.asarray(first + (difference[0] - first) % FIELD.p)


def both(f: Function, g: Function, op: Callable[..., Array], dtype: Any) -> Function:
    """Return an operator applied to two functions of the same accumulators; nothing is known of its monotony."""
    left, right = joined(f, g)
    return left.then(op, right.node, rising=False, dtype=dtype)


def rising(node: Node) -> bool:
    """Whether a function does not decrease anywhere, by the operators that it is made of."""
    if node.op is None:
        return node.constant is None
    return node.rising and rising(node.args[0]) and all(a.constant is not None for a in node.args[1:])


def evaluate(node: Node, acc: Array, columns: Array) -> Array:
    """Return the function of accumulators ``(m, k)``, row i for the class ``columns[i]``."""
    done: dict[int, Array] = {}

    def value(n: Node) -> Array:
        if id(n) not in done:
            if n.constant is not None:
                done[id(n)] = n.constant[:, None] if n.constant.size == 1 else n.constant[columns][:, None]
            elif n.op is None:
                done[id(n)] = acc
            else:
                done[id(n)] = n.op(*(value(a) for a in n.args))
        return done[id(n)]

    with np.errstate(all="ignore"):
        return np.asarray(value(node))
