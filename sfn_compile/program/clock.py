"""The clock of a Program that runs over several steps. Meaning: ``docs/spec/time.md``.

A clock changes no step of a Program: weights, ladders and offsets are those of the network that answers at once. It
says how often the steps are computed, how input arrives, and how fast every neuron may tell what it has summed up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Array = NDArray[Any]
Presents: TypeAlias = Literal["constant", "frames"]


@dataclass(frozen=True, eq=False)
class Pace:
    """How a population or a normalisation, by ``name``, runs over time.

    It emits ``least..most`` units per step (``least <= 0 <= most``; a readout emits nothing: 0 and 0), and none before
    step ``start``. ``initial`` is its charge before the first step, ``bias`` the charge that comes to it over the
    window beside what its sources send; both broadcast against one sample.
    """

    name: str
    least: int
    most: int
    initial: Array
    bias: Array
    start: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether its charge, once all has arrived, is the accumulator that the network at once would have."""
        return bool((self.initial + self.bias == 0).all())


@dataclass(frozen=True, eq=False)
class Clock:
    """``timesteps`` steps in which input arrives, then ``settle`` steps without any.

    ``presents``: ``constant`` (the codes of a sample are there in every step of the window, each worth 1 / timesteps of
    its charge) or ``frames`` (every step brings codes of its own, which add up to those of the sample).
    ``margin``: by how much the best score has to lead for an early answer after the whole window, and after t of its
    steps by the t-th part of that; None where answers come after all steps.
    """

    timesteps: int
    settle: int
    presents: Presents
    paces: tuple[Pace, ...]
    margin: int | None = None

    @property
    def steps(self) -> int:
        """All steps, those of settling included."""
        return self.timesteps + self.settle

    @cached_property
    def pace(self) -> dict[str, Pace]:
        """The pace of every step that has one, by its name."""
        return {p.name: p for p in self.paces}

    @property
    def certifies(self) -> bool:
        """Whether a step without a spike, after the last input, proves that every count is the code at one step.

        Every neuron has to be able to take back what it said too much.
        """
        return all(p.is_exact and (p.least < 0 or p.most == 0) and p.start == 0 for p in self.paces)
