"""The records of passes that invariants are checked against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class BiasShifts:
    """What correct-bias did, by Layer: the real biases that it found, and what it added to them (broadcastable)."""

    before: Mapping[str, Array]
    added: Mapping[str, Array]

    proves: ClassVar[str] = "bias-corrected"
