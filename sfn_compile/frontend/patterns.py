"""Normalisations and softmax that exporters write out, recognised by their last node.

``(x - mean) / sqrt(mean((x - mean)^2) + epsilon)`` is LayerNorm, the same without the mean is RMSNorm, and
``exp(x) / sum(exp(x))`` is softmax. The nodes before the last have been imported one by one by then; what nobody else
reads is dropped. Anything that is not exactly one of these is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .context import Array, Context

_SEEN_THROUGH = frozenset({"Identity", "Cast", "Dropout"})
_MEANS = ("ReduceMean", "ReduceSum")
_REDUCTIONS = (*_MEANS, "ReduceMax")
_MOST_INPUTS = 3  # of nodes that are compared: none of the patterns has more
_DEPTH = 6  # how far two values are compared that may be the same, computed twice


@dataclass(frozen=True)
class Norm:
    """``factor * x / sqrt(mean(x**2) + epsilon)`` over ``axes`` of the tensor ``source``, ``centred`` first or not."""

    source: ir.Value
    axes: tuple[int, ...]
    epsilon: float
    factor: float
    centred: bool


@dataclass(frozen=True)
class SoftmaxOf:
    """Softmax of ``source`` over ``axes``."""

    source: ir.Value
    axes: tuple[int, ...]


class Matcher:
    """What a node of the file is the end of. Reads the file's own nodes, and constants from the context."""

    def __init__(self, context: Context):
        self.context = context

    # -- the two patterns ------------------------------------------------------------------------------------------
    def norm(self, node: ir.Node) -> Norm | None:
        """Return the normalisation whose last node is ``node`` (Div, or Mul by a reciprocal), None where it is none."""
        left, right = node.inputs[:2]
        if left is None or right is None:
            return None
        if node.op_type == "Div":
            return self._norm(left, self._root(right))
        pairs = (left, self._inverse_root(right)), (right, self._inverse_root(left))
        return next((found for n, power in pairs if (found := self._norm(n, power)) is not None), None)

    def shifted_norm(self, node: ir.Node) -> tuple[Norm, Array | None, Array] | None:
        """Return (normalisation, scale, bias) of ``x * r + (bias - mean * r)``, r being ``scale / sqrt(..)``, or None.

        So TensorFlow writes LayerNorm; ``node`` is its last, the Add.
        """
        for left, right in (node.inputs[:2], node.inputs[1::-1]):
            product, rest = self._made(left, "Mul"), self._made(right, "Sub")
            moved = None if rest is None else self._made(rest.inputs[1], "Mul")
            bias = None if rest is None else self._constant(rest.inputs[0])
            if product is None or moved is None or bias is None:
                continue
            for x, inverse in (product.inputs, product.inputs[::-1]):
                for mean, other in (moved.inputs, moved.inputs[::-1]):
                    found = self._centred_at(x, mean, inverse) if self._same(inverse, other) else None
                    if found is not None:
                        return (*found, bias)
        return None

    def _centred_at(
        self, x: ir.Value | None, mean: ir.Value | None, inverse: ir.Value | None
    ) -> tuple[Norm, Array | None] | None:
        """Return (normalisation, scale) of ``(x - mean) * inverse``, None where it is none."""
        centre, scaled = self._mean(mean), self._made(inverse, "Mul")
        scale, root = None, inverse
        for i in (0, 1) if scaled is not None else ():
            found = self._constant(scaled.inputs[i])  # type: ignore[union-attr]
            if found is not None:
                scale, root = found, scaled.inputs[1 - i]  # type: ignore[union-attr]
        power = self._inverse_root(root)
        if centre is None or power is None or not self._same(centre.inputs[0], x):
            return None
        average, _ = self._reduced(self._less_constant(power)[0], *_MEANS)
        square = None if average is None else self._producer(average.inputs[0])
        norm = None if square is None or square.inputs[0] is None else self._norm(square.inputs[0], power)
        if norm is None or not norm.centred or norm.axes != self._axes(centre) or not self._same(norm.source, x):
            return None
        return norm, scale

    def softmax(self, node: ir.Node) -> SoftmaxOf | None:
        """Return the softmax whose last node is ``node`` (Div), None where it is none."""
        above, below = node.inputs[:2]
        total, factor = self._reduced(below, "ReduceSum")
        exp = self._made(above, "Exp")
        if total is None or exp is None or factor != 1.0 or not self._same(total.inputs[0], above):
            return None
        axes = self._axes(total)
        if not axes or exp.inputs[0] is None:
            return None
        shifted = self._made(exp.inputs[0], "Sub")
        if shifted is not None:
            top, factor = self._reduced(shifted.inputs[1], "ReduceMax")
            source = shifted.inputs[0]
            is_top = top is not None and factor == 1.0 and self._same(top.inputs[0], source) and self._axes(top) == axes
            if is_top and source is not None:
                return SoftmaxOf(source, axes)
        return SoftmaxOf(exp.inputs[0], axes)

    def _norm(self, above: ir.Value, power: ir.Value | None) -> Norm | None:
        """Return the normalisation ``above / sqrt(power)``."""
        if power is None:
            return None
        power, epsilon = self._less_constant(power)
        mean, factor = self._reduced(power, *_MEANS)
        axes = () if mean is None else self._axes(mean)
        if mean is None or not axes or epsilon < 0 or not factor > 0 or not self._is_square(mean.inputs[0], above):
            return None
        factor *= self._count(mean, axes)
        difference = self._made(above, "Sub")
        centre = None if difference is None else self._mean(difference.inputs[1])
        if difference is not None and centre is not None:
            source = difference.inputs[0]
            if source is not None and self._same(centre.inputs[0], source) and self._axes(centre) == axes:
                return Norm(source, axes, epsilon / factor, factor**-0.5, True)
        return Norm(above, axes, epsilon / factor, factor**-0.5, False)

    # -- its parts -------------------------------------------------------------------------------------------------
    def _root(self, value: ir.Value | None) -> ir.Value | None:
        """Return s of ``sqrt(s)``."""
        root = self._made(value, "Sqrt")
        if root is not None:
            return root.inputs[0]
        power = self._made(value, "Pow")
        return power.inputs[0] if power is not None and self._number(power.inputs[1]) == 0.5 else None

    def _inverse_root(self, value: ir.Value | None) -> ir.Value | None:
        """Return s of ``1 / sqrt(s)``."""
        power = self._made(value, "Pow")
        if power is not None:
            return power.inputs[0] if self._number(power.inputs[1]) == -0.5 else None
        root = self._made(value, "Sqrt")
        return self._inverse(value, self._root) if root is None else self._inverse(root.inputs[0], lambda s: s)

    def _inverse(self, value: ir.Value | None, inner: Callable[[ir.Value | None], ir.Value | None]) -> ir.Value | None:
        made = self._made(value, "Reciprocal")
        if made is not None:
            return inner(made.inputs[0])
        made = self._made(value, "Div")
        return inner(made.inputs[1]) if made is not None and self._number(made.inputs[0]) == 1.0 else None

    def _less_constant(self, value: ir.Value) -> tuple[ir.Value, float]:
        """Return (v, c) of ``v + c``, c 0 where nothing is added."""
        made = self._made(value, "Add")
        for i in (0, 1) if made is not None else ():
            number, other = self._number(made.inputs[i]), made.inputs[1 - i]  # type: ignore[union-attr]
            if number is not None and other is not None:
                return other, number
        return value, 0.0

    def _reduced(self, value: ir.Value | None, *kinds: str) -> tuple[ir.Node | None, float]:
        """Return the reduction that a value is a positive multiple of, with its axes kept, and the multiple.

        The axes may be dropped and put back by any reshape, which keeps the order of the numbers.
        """
        factor, last = 1.0, value
        for _ in range(_DEPTH):
            made = self._producer(value)
            if made is None or made.op_type in kinds:
                return (made if made is not None and self._keeps_axes(made, last) else None), factor
            numbers = [self._number(v) for v in made.inputs]
            if made.op_type in ("Reshape", "Unsqueeze", "Squeeze"):
                value = made.inputs[0]
            elif made.op_type == "Div" and numbers[1]:
                value, factor = made.inputs[0], factor / numbers[1]
            elif made.op_type == "Mul" and (numbers[0] is None) != (numbers[1] is None):
                value, factor = made.inputs[numbers.index(None)], factor * (numbers[0] or numbers[1] or 0.0)
            else:
                return None, factor
        return None, factor

    def _keeps_axes(self, reduce: ir.Node, value: ir.Value | None) -> bool:
        """Return whether a value has the shape that a reduction would have if it kept its axes."""
        axes, source = self._axes(reduce), reduce.inputs[0]
        if not axes or source is None or value is None or str(value.name) not in self.context.values:
            return False
        kept = tuple(1 if a in axes else d for a, d in enumerate(self.context.dims(str(source.name))))
        return self.context.dims(str(value.name)) == kept

    def _mean(self, value: ir.Value | None) -> ir.Node | None:
        """Return the reduction that a value is the mean of."""
        found, factor = self._reduced(value, *_MEANS)
        axes = () if found is None else self._axes(found)
        return found if found is not None and math.isclose(factor * self._count(found, axes), 1.0) else None

    def _is_square(self, value: ir.Value | None, base: ir.Value) -> bool:
        power = self._made(value, "Pow")
        if power is not None:
            return self._number(power.inputs[1]) == 2.0 and self._same(power.inputs[0], base)
        product = self._made(value, "Mul")
        return product is not None and all(self._same(v, base) for v in product.inputs)

    def _count(self, reduce: ir.Node, axes: tuple[int, ...]) -> float:
        """Return what a reduction is a multiple of the mean by."""
        if reduce.op_type == "ReduceMean":
            return 1.0
        name = str(reduce.inputs[0].name)  # type: ignore[union-attr]
        shape = self.context.dims(name)
        return float(math.prod(shape[a] for a in axes))

    # -- questions to the file -------------------------------------------------------------------------------------
    def _producer(self, value: ir.Value | None) -> ir.Node | None:
        """Return the node that computes a value, those that change nothing left out."""
        for _ in range(64):
            made = None if value is None or str(value.name) in self.context.constants else value.producer()
            if made is None or made.domain not in ("", "ai.onnx") or not self._changes_nothing(made):
                return made if made is not None and made.domain in ("", "ai.onnx") else None
            value = made.inputs[0]
        return None

    def _changes_nothing(self, node: ir.Node) -> bool:
        if node.op_type in _SEEN_THROUGH:
            return True
        if node.op_type not in ("Expand", "Reshape"):
            return False
        names = [str(v.name) for v in (node.inputs[0], node.outputs[0]) if v is not None]
        return all(n in self.context.values for n in names) and len({self.context.dims(n) for n in names}) == 1

    def _made(self, value: ir.Value | None, op_type: str) -> ir.Node | None:
        made = self._producer(value)
        return made if made is not None and made.op_type == op_type else None

    def _number(self, value: ir.Value | None) -> float | None:
        """Return the one number that a constant holds, None for anything else."""
        found = self._constant(value)
        one = found is not None and found.size == 1 and found.dtype.kind in "fiu"
        return float(found.reshape(-1)[0]) if found is not None and one else None

    def _constant(self, value: ir.Value | None) -> Array | None:
        return None if value is None else self.context.constants.get(str(value.name))

    def _axes(self, reduce: ir.Node) -> tuple[int, ...]:
        """Return the axes of a reduction, counted from 0; empty where they are not constant."""
        source = reduce.inputs[0]
        if source is None or str(source.name) not in self.context.values:
            return ()
        rank = len(self.context.dims(str(source.name)))
        given = reduce.attributes.get("axes")
        listed = None if given is None else np.asarray(given.value)
        if len(reduce.inputs) > 1 and reduce.inputs[1] is not None:
            listed = self.context.constants.get(str(reduce.inputs[1].name))
        if listed is None:
            return ()
        return tuple(sorted({int(a) % rank for a in np.atleast_1d(listed)}))

    def _same(self, left: ir.Value | None, right: ir.Value | None, depth: int = _DEPTH) -> bool:
        """Return whether two values are one, or computed alike from the same values."""
        if left is None or right is None:
            return left is right
        if left is right:
            return True
        constants = [self.context.constants.get(str(v.name)) for v in (left, right)]
        if constants[0] is not None and constants[1] is not None:
            return np.array_equal(constants[0], constants[1])
        a, b = self._producer(left), self._producer(right)
        if a is None or b is None:
            return self._plain(left) is self._plain(right)
        if a is b:
            return a.outputs[0] is self._plain(left) is self._plain(right)
        if a.op_type == b.op_type and a.op_type in _REDUCTIONS:
            kept = [n.attributes["keepdims"].value if "keepdims" in n.attributes else 1 for n in (a, b)]
            return (self._axes(a) == self._axes(b) != () and kept[0] == kept[1] and depth > 0
                    and self._same(a.inputs[0], b.inputs[0], depth - 1))  # fmt: skip
        return depth > 0 and _alike(a, b) and all(
            self._same(x, y, depth - 1) for x, y in zip(a.inputs, b.inputs, strict=True)
        )  # fmt: skip

    def _plain(self, value: ir.Value) -> ir.Value:
        """Return the value that nodes which change nothing pass on."""
        for _ in range(64):
            made = value.producer()
            if made is None or made.domain not in ("", "ai.onnx") or not self._changes_nothing(made):
                return value
            value = made.inputs[0]  # type: ignore[assignment]
        return value


def _alike(a: ir.Node, b: ir.Node) -> bool:
    """Return whether two nodes of one output compute the same of their inputs."""
    if (a.op_type, a.domain, len(a.inputs), len(a.outputs), len(b.outputs)) != (
        b.op_type, b.domain, len(b.inputs), 1, 1,
    ) or len(a.inputs) > _MOST_INPUTS:  # fmt: skip
        return False
    found = [{k: v.value for k, v in n.attributes.items()} for n in (a, b)]
    return found[0].keys() == found[1].keys() and all(
        type(v) in (int, float, str, tuple, list) and v == found[1][k] for k, v in found[0].items()
    )
