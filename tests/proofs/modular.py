"""Exact arithmetic modulo a prime on random points: what identifies a polynomial with integer coefficients.

Two polynomials of degree d that differ modulo p agree at a random point with a probability of at most d / p (Schwartz,
Zippel). That two integers below 2^62 differ, but not modulo a random prime of 31 bits, has one of 10^-7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
POINTS = 3  # two random ones, and the origin, whose values are the constants
_EXACT = 2**53


class Field:
    """The integers modulo a prime of 31 bits, drawn anew for every run."""

    p = 2**31 - 1

    def draw(self, rng: np.random.Generator) -> None:
        """Choose another prime."""
        while True:
            self.p = int(rng.integers(2**30, 2**31)) | 1
            if all(_strong(self.p, base) for base in (2, 3, 5, 7)):
                return


def _strong(n: int, base: int) -> bool:
    """Whether n passes Miller and Rabin's test for a base; below 3,215,031,751 the bases 2, 3, 5, 7 decide."""
    twos = ((n - 1) & (1 - n)).bit_length() - 1
    x = pow(base, (n - 1) >> twos, n)
    return x in (1, n - 1) or any(pow(x, 2**k, n) == n - 1 for k in range(1, twos))


FIELD = Field()


def product(left: Array, right: Array) -> Array:
    """Return ``left @ right`` modulo P: integers ``(..., m, k)``, residues or integers ``(..., k, n)``."""
    left, right = left.astype(np.int64) % FIELD.p, right.astype(np.int64) % FIELD.p
    signed = np.where(left > FIELD.p // 2, left - FIELD.p, left)  # small weights stay small
    largest = float(np.abs(signed).sum(axis=-1).max(initial=0)) if signed.size else 0.0
    if largest * FIELD.p < _EXACT:
        return _residue(signed.astype(np.float64) @ right.astype(np.float64))
    high, low = np.divmod(signed, 2**15)
    return (
        (product(high, right) * 2**15 + product(low, right)) % FIELD.p if left.shape[-1] < 64 else _halves(left, right)
    )


def _halves(left: Array, right: Array) -> Array:
    """Return a product of long rows as the sum of two of half the length."""
    half = left.shape[-1] // 2
    ends = ((left[..., :half], right[..., :half, :]), (left[..., half:], right[..., half:, :]))
    return sum(product(a, b) for a, b in ends) % FIELD.p


def _residue(real: Array) -> Array:
    return np.asarray(real.astype(np.int64) % FIELD.p)


def times(left: Array, right: Array) -> Array:
    """Return the product of integers, element by element, modulo FIELD.p."""
    return (left.astype(np.int64) % FIELD.p) * (right.astype(np.int64) % FIELD.p) % FIELD.p


def variable(parts: Array, salt: int, there: Array | None = None) -> Array:
    """Return fresh variables ``(POINTS, ...)`` that stand for one symmetric function of the elements of the last axis.

    ``parts``: residues ``(POINTS, ..., k)``; ``there``: which of them count. Adding one constant to all elements adds
    it to the variable, as it does to a maximum. Equal elements give equal variables; different ones give others, but
    for a chance of about 1 / p at each point.
    """
    there = np.ones(parts.shape[1:], bool) if there is None else np.broadcast_to(there, parts.shape[1:])
    counts = there.sum(axis=-1)
    inverses = np.array([0, *(pow(n, -1, FIELD.p) for n in range(1, parts.shape[-1] + 1))])[counts]
    centre = times(np.where(there, parts[-1], 0).sum(axis=-1) % FIELD.p, inverses)
    moved = (parts - centre[..., None]) % FIELD.p
    mixed = np.where(there, mix(moved, salt), 0).sum(axis=-1) % FIELD.p
    named = mix((mixed + counts) % FIELD.p, salt + 1)
    named[-1] = 0  # the origin keeps the constant alone
    return (named + centre) % FIELD.p


def mix(x: Array, salt: int) -> Array:
    """Return residues scrambled by a fixed permutation of 64 bits (the finaliser of splitmix64)."""
    z = x.astype(np.uint64) + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return ((z ^ (z >> np.uint64(31))) % np.uint64(FIELD.p)).astype(np.int64)


# -- windows ----------------------------------------------------------------------------------------------------------
def windows(
    x: Array, kernel: tuple[int, ...], strides: tuple[int, ...], pads: Any, dilations: tuple[int, ...], fill: int = 0
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """Yield for each element of a kernel what it reads of ``(n, c, *space)``, window by window."""
    padded = np.pad(x, ((0, 0), (0, 0), *map(tuple, pads)), constant_values=fill)
    reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
    out = [(n - r - 1) // s + 1 for n, r, s in zip(padded.shape[2:], reach, strides, strict=True)]
    for at in np.ndindex(*kernel):
        starts = [a * d for a, d in zip(at, dilations, strict=True)]
        cuts = [slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, out, strides, strict=True)]
        yield at, padded[(slice(None), slice(None), *cuts)]


def convolve(x: Array, weight: Array, strides: Any, pads: Any, dilations: Any, groups: int, modular: bool) -> Array:
    """Return the cross-correlation of ``(n, c, *space)``, modulo FIELD.p or, for bounds, of exact floats."""
    total: Any = 0
    n, c, o = len(x), x.shape[1], len(weight)
    for at, read in windows(x, weight.shape[2:], strides, pads, dilations):
        space = read.shape[2:]
        some = weight[(slice(None), slice(None), *at)].reshape(groups, o // groups, c // groups)
        rows = read.reshape(n, groups, c // groups, -1)
        if c == groups:
            part = times(some[None], rows) if modular else some[None] * rows
        else:
            part = product(some[None], rows) if modular else some[None] @ rows
        total = (total + part.reshape(n, o, *space)) % FIELD.p if modular else total + part.reshape(n, o, *space)
    return np.asarray(total)
