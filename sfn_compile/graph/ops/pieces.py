"""The constant pieces of a scalar function, exactly, in rationals: what a step function has between its jumps.

The real line is cut at the places where the function may change its form. Between two cuts it is a straight line, a
staircase ``scale * round(slope * x + shift) + offset``, a curve that rises or falls throughout, or unknown. A staircase
is only written out where something has bounded it, so ``clip(floor(x), 0, 7)`` has eight pieces though ``floor`` alone
has no end of them. A curve is cut where it passes what it is compared with.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, pairwise
from typing import ClassVar, TypeAlias

import numpy as np

from ...program.functions import FUNCTIONS, FunctionName
from .expression import Expression
from .inverses import INVERSES, place_of

MOST_PIECES = 1 << 12
MOST_INSIDE = 16  # rising functions inside each other
ROUNDERS: dict[str, Callable[[Fraction], int]] = {"floor": math.floor, "ceil": math.ceil, "round": round}
FIRST = {"floor": Fraction(0), "ceil": Fraction(-1), "round": Fraction(-1, 2)}  # where code k begins, less k


@dataclass(frozen=True)
class Piece:
    """``slope * x + shift``; with a ``rounder``, ``scale * rounder(slope * x + shift) + offset``."""

    slope: Fraction
    shift: Fraction
    rounder: str = ""
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def at(self, x: Fraction) -> Fraction:
        """Return the value at a place."""
        line = self.slope * x + self.shift
        return self.scale * ROUNDERS[self.rounder](line) + self.offset if self.rounder else line

    @property
    def constant(self) -> bool:
        """Whether it has one value."""
        return self.slope == 0

    def scaled(self, factor: Fraction, more: Fraction = Fraction(0)) -> Piece:
        """Return ``factor * piece + more``."""
        if factor == 0:
            return _constant(more)
        if self.rounder:
            return replace(self, scale=self.scale * factor, offset=self.offset * factor + more)
        return Piece(self.slope * factor, self.shift * factor + more)

    def roots(self) -> list[Fraction]:
        """Return where the piece passes or reaches zero, were it everywhere."""
        if self.constant:
            return []
        if not self.rounder:
            return [-self.shift / self.slope]
        wanted = -self.offset / self.scale
        return [self.jump(k) for k in (math.ceil(wanted), math.floor(wanted) + 1)]

    def jump(self, code: int) -> Fraction:
        """Return where a staircase goes from ``code - 1`` to ``code``."""
        return (code + FIRST[self.rounder] - self.shift) / self.slope

    def jumps(self, left: Fraction, right: Fraction) -> list[Fraction]:
        """Return where a staircase jumps, strictly between two places."""
        low, high = sorted(self.slope * x + self.shift - FIRST[self.rounder] for x in (left, right))
        if high - low > MOST_PIECES:
            raise _NoSteps
        return [self.jump(k) for k in range(math.floor(low) + 1, math.ceil(high))]

    def within(self, left: Fraction | None, right: Fraction | None) -> Piece:
        """Return the piece as it is between two places: a constant where a staircase does not jump."""
        if not self.rounder or self.constant or left is None or right is None or self.jumps(left, right):
            return self
        return _constant(self.at((left + right) / 2))


@dataclass(frozen=True)
class Curve:
    """``scale * function(inner) + offset`` with a function that rises everywhere."""

    function: FunctionName
    inner: Piece | Curve
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    depth: int = 1  # functions inside each other: a value is computed through all of them
    constant: ClassVar[bool] = False
    rounder: ClassVar[str] = ""

    def at(self, x: Fraction) -> Fraction:
        """Return the value at a place, as float64 has the function."""
        found = FUNCTIONS[self.function](np.asarray(float(self.inner.at(x))))
        return self.scale * Fraction(float(found)) + self.offset

    def scaled(self, factor: Fraction, more: Fraction = Fraction(0)) -> Piece | Curve:
        """Return ``factor * curve + more``."""
        if factor == 0:
            return _constant(more)
        return replace(self, scale=self.scale * factor, offset=self.offset * factor + more)

    def roots(self) -> list[Fraction]:
        """Return where the curve passes zero. Raises where only rounding lets it reach zero, far out."""
        wanted = -self.offset / self.scale
        if wanted in INVERSES[self.function][:2]:
            raise _NoSteps
        place = place_of(self.function, wanted)
        return [] if place is None else self.inner.scaled(Fraction(1), -place).roots()

    def ends(self) -> list[Fraction]:
        """Return the bounds of its values, ascending; nothing where there are none, or too many codes between."""
        ends = [self.scale * Fraction(v) + self.offset for v in INVERSES[self.function][:2] if math.isfinite(v)]
        return sorted(ends) if len(ends) == 2 and abs(ends[1] - ends[0]) <= MOST_PIECES else []

    def jumps(self, rounder: str) -> list[Fraction]:
        """Return where a rounder of the curve goes from one code to the next.

        Raises where its end is another code than what is just inside: floats reach the end, numbers do not.
        """
        if not (ends := self.ends()):
            return []
        inside = (ends[1] - ends[0]) / (1 << 40)
        if any(ROUNDERS[rounder](e) != ROUNDERS[rounder](e + d) for e, d in zip(ends, (inside, -inside), strict=True)):
            raise _NoSteps
        edges = (k + FIRST[rounder] for k in range(math.floor(ends[0]), math.ceil(ends[1]) + 2))
        return [x for e in edges if ends[0] < e < ends[1] for x in self.scaled(Fraction(1), -e).roots()]

    def within(self, left: Fraction | None, right: Fraction | None) -> Curve:
        """Return the curve: between any two places it is the same."""
        del left, right
        return self


Known: TypeAlias = "Piece | Curve | None"  # None: no straight line, no staircase, no curve that rises or falls


@dataclass(frozen=True)
class Pieces:
    """A function cut at ``cuts``: its value ``at`` each of them, None where unknown, and what is ``between``."""

    cuts: tuple[Fraction, ...]
    at: tuple[Fraction | None, ...]
    between: tuple[Known, ...]


class _NoSteps(Exception):
    """The function is no step function, or one of too many steps."""


@dataclass(frozen=True)
class StepFunction:
    """A function of finitely many values: ``between`` its ``cuts`` and ``at`` them."""

    cuts: tuple[Fraction, ...]
    at: tuple[Fraction, ...]
    between: tuple[Fraction, ...]

    @property
    def values(self) -> list[Fraction]:
        """All values, ascending."""
        return sorted({*self.at, *self.between})


def step_function(body: Expression) -> StepFunction | None:
    """Return the step function that an expression of single numbers is, None where it takes more than some values.

    >>> from .expression import call
    >>> found = step_function(call("greater", call("mul", Expression(), 2.0), 3.0))
    >>> [str(c) for c in found.cuts], [int(v) for v in found.at], [int(v) for v in found.between]
    (['3/2'], [0], [0, 1])
    """
    known = [Pieces((), (), (Piece(Fraction(1), Fraction(0)),))]
    try:
        for function, operands in body.steps:
            bound = {"max": -math.inf, "min": math.inf}.get(function)  # this is none
            numbers = [o if isinstance(o, int) else float(o.item()) for o in operands]
            read = [known[o] if isinstance(o, int) else _whole(o) for o in numbers if isinstance(o, int) or o != bound]
            known.append(_applied(function, read))
        return _written_out(known[-1])
    except _NoSteps:
        return None


def _curve(function: FunctionName, inner: Piece | Curve) -> Curve:
    depth = 1 + (inner.depth if isinstance(inner, Curve) else 0)
    if depth > MOST_INSIDE:
        raise _NoSteps
    return Curve(function, inner, depth=depth)


def _constant(value: Fraction) -> Piece:
    return Piece(Fraction(0), value)


def _whole(value: float) -> Pieces:
    if not math.isfinite(value):
        raise _NoSteps
    return Pieces((), (), (_constant(Fraction(value)),))


def _applied(function: FunctionName, operands: Sequence[Pieces]) -> Pieces:
    """Return a function of functions, cut wherever one of them is, and where it changes its own form."""
    cuts = sorted({c for o in operands for c in o.cuts})
    more = []
    for left, right in _intervals(cuts):
        found = [_around(o, left, right) for o in operands]
        more += [x for x in _own_cuts(function, found, left, right) if _lies(left, x, right)]
    cuts = sorted({*cuts, *more})
    if len(cuts) > MOST_PIECES:
        raise _NoSteps
    at = tuple(_exact(function, [_value(o, x) for o in operands]) for x in cuts)
    intervals = _intervals(cuts)
    between = [_formed(function, [_around(o, *i) for o in operands], _inside(*i)) for i in intervals]
    return _joined(Pieces(tuple(cuts), at, tuple(between)))


def _joined(found: Pieces) -> Pieces:
    """Return the function without the cuts where nothing changes."""
    cuts, at, between = list[Fraction](), list["Fraction | None"](), [found.between[0]]
    for cut, value, behind in zip(found.cuts, found.at, found.between[1:], strict=True):
        same = behind is not None and behind == between[-1] and value == behind.at(cut)
        if not same:
            cuts.append(cut)
            at.append(value)
            between.append(behind)
    return Pieces(tuple(cuts), tuple(at), tuple(between))


def _intervals(cuts: Sequence[Fraction]) -> list[tuple[Fraction | None, Fraction | None]]:
    return list(pairwise([None, *cuts, None]))


def _lies(left: Fraction | None, x: Fraction, right: Fraction | None) -> bool:
    return (left is None or left < x) and (right is None or x < right)


def _inside(left: Fraction | None, right: Fraction | None) -> Fraction:
    """Return a place inside an open interval."""
    if left is None:
        return Fraction(0) if right is None else right - 1
    return left + 1 if right is None else (left + right) / 2


def _around(function: Pieces, left: Fraction | None, right: Fraction | None) -> Known:
    """Return the piece between two places that no cut lies between."""
    piece = function.between[bisect_left(function.cuts, _inside(left, right))]
    return None if piece is None else piece.within(left, right)


def _value(function: Pieces, x: Fraction) -> Fraction | None:
    i = bisect_left(function.cuts, x)
    if i < len(function.cuts) and function.cuts[i] == x:
        return function.at[i]
    piece = function.between[i]
    return None if piece is None else piece.at(x)


def _own_cuts(
    function: FunctionName, read: Sequence[Known], left: Fraction | None, right: Fraction | None
) -> list[Fraction]:  # fmt: skip
    """Return where a function of these pieces may change its form."""
    if any(p is None for p in read):
        return []
    pieces = [p for p in read if p is not None]
    if function in ("min", "max", "greater", "greater_equal", "equal"):
        differences = [_sum(a, b.scaled(Fraction(-1))) for a, b in combinations(pieces, 2)]
        if all(d is not None for d in differences):
            return [x for d in differences if d is not None for x in d.roots()]
    elif function in ("abs", "sign", "where"):
        return pieces[0].roots()
    elif function in ROUNDERS and isinstance(pieces[0], Curve):
        return pieces[0].jumps(function)
    if left is None or right is None or _formed(function, pieces, _inside(left, right)) is not None:
        return []
    steps = [p for p in pieces if isinstance(p, Piece) and p.rounder and not p.constant]
    return [x for p in steps for x in p.jumps(left, right)]  # then it is constant


def _sum(a: Piece | Curve, b: Piece | Curve) -> Known:
    if a.constant:
        a, b = b, a
    if b.constant:
        return a.scaled(Fraction(1), b.at(Fraction(0)))
    if isinstance(a, Curve) or isinstance(b, Curve):
        return None
    return None if a.rounder or b.rounder else Piece(a.slope + b.slope, a.shift + b.shift)


def _formed(function: FunctionName, read: Sequence[Known], x: Fraction) -> Known:
    """Return the function of pieces around ``x``, None where it is neither line nor staircase."""
    if function == "where" and (chosen := read[0]) is not None:
        return read[1] if chosen.at(x) != 0 else read[2]
    if any(p is None for p in read):
        return None
    pieces = [p for p in read if p is not None]
    values = [p.at(x) for p in pieces]
    if all(p.constant for p in pieces):
        found = _exact(function, values)
        return None if found is None else _constant(found)
    if isinstance(pieces[0], Piece) and function in ROUNDERS and not pieces[0].rounder:
        return replace(pieces[0], rounder=function)
    if isinstance(pieces[0], Curve) and function in ROUNDERS and pieces[0].ends():
        return _constant(Fraction(ROUNDERS[function](values[0])))  # cut wherever it would jump
    if function in INVERSES and not pieces[0].rounder:
        return _curve(function, pieces[0])
    return _moved(function, pieces) or _chosen(function, pieces, values)


def _moved(function: FunctionName, pieces: Sequence[Piece | Curve]) -> Known:
    """Return a sum, or a product or quotient with a constant."""
    if function == "add":
        return _sum(pieces[0], pieces[1])
    if function == "sub":
        return _sum(pieces[0], pieces[1].scaled(Fraction(-1)))
    if function == "mul" and any(p.constant for p in pieces):
        fixed, other = pieces if pieces[0].constant else reversed(pieces)
        return other.scaled(fixed.at(Fraction(0)))
    if function == "div" and pieces[1].constant and pieces[1].at(Fraction(0)) != 0:
        return pieces[0].scaled(1 / pieces[1].at(Fraction(0)))
    return None


def _chosen(function: FunctionName, pieces: Sequence[Piece | Curve], values: Sequence[Fraction]) -> Known:
    """Return one of the pieces, or the outcome of a comparison: around ``x`` nothing crosses any more."""
    comparable = all(_sum(a, b.scaled(Fraction(-1))) is not None for a, b in combinations(pieces, 2))
    if function in ("min", "max") and comparable:
        return pieces[values.index(min(values) if function == "min" else max(values))]
    if function == "abs":
        return pieces[0].scaled(Fraction(1 if values[0] >= 0 else -1))
    if function not in ("sign", "greater", "greater_equal", "equal") or not comparable:
        return None
    found = _exact(function, values)
    return None if found is None else _constant(found)


def _exact(function: FunctionName, values: Sequence[Fraction | None]) -> Fraction | None:
    """Return a function of known numbers: exact where it is arithmetic, else as float64 has it."""
    if function == "where" and values[0] is not None:
        return values[1] if values[0] != 0 else values[2]
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return None
    if function in EXACT and not (function == "div" and known[1] == 0):
        return Fraction(EXACT[function](*known))
    with np.errstate(all="ignore"):
        found = float(FUNCTIONS[function](*(np.float64(float(v)) for v in known)))
    return Fraction(found) if math.isfinite(found) else None


EXACT: dict[str, Callable[..., Fraction | int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "min": lambda *values: min(values),
    "max": lambda *values: max(values),
    "abs": abs,
    "sign": lambda a: (a > 0) - (a < 0),
    **ROUNDERS,
    "greater": lambda a, b: int(a > b),
    "greater_equal": lambda a, b: int(a >= b),
    "equal": lambda a, b: int(a == b),
}


def _written_out(found: Pieces) -> StepFunction:
    """Return the function with every staircase as its constants. Raises where something is neither."""
    cuts = set(found.cuts)
    for (left, right), piece in zip(_intervals(found.cuts), found.between, strict=True):
        if piece is None:
            raise _NoSteps
        if piece.constant:
            continue
        if isinstance(piece, Curve) or not piece.rounder or left is None or right is None:
            raise _NoSteps
        cuts.update(piece.jumps(left, right))
    ordered = sorted(cuts)
    inside = [_inside(*i) for i in _intervals(ordered)]
    between = [v for x in inside if (v := _value(found, x)) is not None]
    at = [v for x in ordered if (v := _value(found, x)) is not None]
    if len(at) < len(ordered):
        raise _NoSteps
    steps = _joined(Pieces(tuple(ordered), tuple(at), tuple(_constant(v) for v in between)))
    values = tuple(p.at(Fraction(0)) for p in steps.between if p is not None)
    return StepFunction(steps.cuts, tuple(v for v in steps.at if v is not None), values)
