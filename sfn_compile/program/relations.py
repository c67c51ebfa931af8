"""What a term of a sum is for, and what one population is to another: data, so that no name says it.

Both are chosen where a term or a population is made, kept through Graph and Program, and saved with the Program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

# What a linear term of a sum is for. ``main``: what the network sums up there. ``skip``: another value added to a
# weighted sum or a product, element by element, as the branch of a residual is. ``subtract``: subtracts the codes of
# the population whose rounding error this one fires. ``copy``: another term of the same sum read once more, so that
# each has a share of its weight; the float network reads it once.
Role: TypeAlias = Literal["main", "skip", "subtract", "copy"]


@dataclass(frozen=True)
class Carries:
    """The population fires the rounding error of ``of``, which has the same sum: their values add up."""

    of: str


@dataclass(frozen=True)
class SecondDigit:
    """The population fires the second digit of a code of which ``of`` fires the first: ``radix * first + second``."""

    of: str
    radix: int


@dataclass(frozen=True)
class CopyOf:
    """The population has the same sum as ``of``, a second time: unfired, because the value is also an output."""

    of: str


@dataclass(frozen=True)
class RelayOf:
    """The population holds the codes of ``of``, a moved value of the Program that was legalised."""

    of: str


@dataclass(frozen=True)
class Exponentials:
    """The population fires the exponentials of the softmax whose result the float network calls ``of``."""

    of: str


# What a population is to another value; a population without one stands for itself.
Relation: TypeAlias = Carries | SecondDigit | CopyOf | RelayOf | Exponentials


def repeats_a_sum(relation: Relation | None) -> bool:
    """Return whether a population of this relation has a sum that the float network computes for another value."""
    return isinstance(relation, Carries | SecondDigit | CopyOf)


def rounding_of(relation: Relation | None) -> str:
    """Return the population whose rounding error a population of this relation fires, "" where it is none of those."""
    return relation.of if isinstance(relation, Carries | SecondDigit) else ""
