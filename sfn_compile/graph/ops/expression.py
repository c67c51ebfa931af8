"""Expression: a scalar function of one value, as data. A straight line of calls, evaluated in float64.

It is what becomes of an element-wise part of a network that reads one computed value: ``x * sigmoid(x)`` is the
steps ``sigmoid(x0)``, ``mul(x0, x1)``. Constants are arrays that broadcast against one sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...program.functions import FUNCTIONS, LOCAL, RISING

Array = NDArray[Any]
Operand: TypeAlias = "int | Array"  # 0 is the argument, k the result of step k - 1, an array a constant
Step: TypeAlias = tuple[str, tuple[Operand, ...]]


@dataclass(frozen=True, eq=False)
class Expression:
    """The function whose value is that of the last step; without steps the identity."""

    steps: tuple[Step, ...] = ()

    def evaluate(self, x: Array) -> Array:
        """Return f(x) element by element: finite float64 for every finite x."""
        values: list[Any] = [np.asarray(x, np.float64)]
        last = {o: i for i, (_, operands) in enumerate(self.steps) for o in operands if isinstance(o, int)}
        with np.errstate(all="ignore"):
            for i, (function, operands) in enumerate(self.steps):
                read = [values[o] if isinstance(o, int) else o for o in operands]
                values.append(FUNCTIONS[function](*read))
                for done in {o for o in operands if isinstance(o, int) and last[o] == i}:
                    values[done] = None  # whole batches: what is not read again is not kept
        found = np.asarray(values[-1], np.float64)
        return found if np.isfinite(found).all() else np.nan_to_num(found)

    def constants(self) -> list[Array]:
        """Return the constants that differ from place to place."""
        return [o for _, operands in self.steps for o in operands if not isinstance(o, int) and o.size > 1]

    def with_constants(self, change: Callable[[Array], Array]) -> Expression:
        """Return the expression with ``change`` applied to every constant that differs from place to place."""
        return Expression(tuple(
            (f, tuple(change(o) if not isinstance(o, int) and o.size > 1 else o for o in operands))
            for f, operands in self.steps
        ))  # fmt: skip

    def after(self, inner: Expression) -> Expression:
        """Return the function ``self(inner(x))``."""
        n = len(inner.steps)
        moved = tuple((f, tuple(o + n if isinstance(o, int) else o for o in operands)) for f, operands in self.steps)
        return Expression(inner.steps + moved)

    def is_local(self) -> bool:
        """Whether the function means nothing outside the range that samples reach (a root, a quotient, a sine)."""
        return any(f in LOCAL for f, _ in self.steps)

    def is_affine(self) -> bool:
        """Whether the function is a scale and an offset, as far as its steps show."""
        depends: list[bool] = [True]
        for function, operands in self.steps:
            read = [isinstance(o, int) and depends[o] for o in operands]
            if any(read) and function not in ("add", "sub") and (function != "mul" or all(read)):
                return False
            depends.append(any(read))
        return True

    def rises(self) -> bool:
        """Whether the function never decreases, as far as its steps show."""
        found: list[int | None] = [1]  # 1: rises, -1: falls, None: unknown; of a constant 0
        for function, operands in self.steps:
            found.append(_direction(function, operands, [found[o] if isinstance(o, int) else 0 for o in operands]))
        return found[-1] == 1

    def __str__(self) -> str:
        texts = ["x"]
        for function, operands in self.steps:
            texts.append(f"{function}({', '.join(texts[o] if isinstance(o, int) else _text(o) for o in operands)})")
        return texts[-1] if len(texts[-1]) <= 160 else f"{texts[-1][:157]}..."


IDENTITY = Expression()


def call(function: str, *parts: Expression | Array | float) -> Expression:
    """Return ``function(*parts)`` of expressions in the same argument and constants; equal steps are made once.

    >>> print(call("mul", IDENTITY, call("sigmoid", IDENTITY)))
    mul(x, sigmoid(x))
    """
    steps: list[Step] = []
    known: dict[object, int] = {}
    operands: list[Operand] = []
    for part in parts:
        if isinstance(part, Expression):
            place = [0]
            for f, read in part.steps:
                moved = tuple(place[o] if isinstance(o, int) else o for o in read)
                place.append(_once((f, moved), steps, known))
            operands.append(place[-1])
        else:
            operands.append(_constant(np.asarray(part, np.float64)))
    return Expression((*steps, (function, tuple(operands))))


def _constant(array: Array) -> Array:
    """Return a constant as one number where it is the same everywhere."""
    first = array.reshape(-1)[:1].reshape(())
    return first if (array == first).all() else array


def _once(step: Step, steps: list[Step], known: dict[object, int]) -> int:
    """Return the number of a step's result, adding it where no equal step is there."""
    function, operands = step
    key = (function, *(o if isinstance(o, int) else (o.shape, o.tobytes()) for o in operands))
    if key not in known:
        steps.append(step)
        known[key] = len(steps)
    return known[key]


def _direction(function: str, operands: tuple[Operand, ...], read: list[int | None]) -> int | None:
    if function in RISING:
        return read[0]
    if function == "mul" and 0 in read:
        factor, other = operands[read.index(0)], read[1 - read.index(0)]
        if other is None or isinstance(factor, int):
            return None
        return other if (factor >= 0).all() else -other if (factor <= 0).all() else None
    if function == "sub":
        read = [read[0], None if read[1] is None else -read[1]]
    elif function not in ("add", "min", "max"):
        return 0 if set(read) == {0} else None
    known = {r for r in read if r != 0}
    return 0 if not known else known.pop() if len(known) == 1 else None


def _text(constant: Array) -> str:
    if constant.size == 1:
        return f"{constant.reshape(-1)[0]:.6g}"
    return f"[{'x'.join(map(str, constant.shape))} {constant.min():.6g}..{constant.max():.6g}]"
