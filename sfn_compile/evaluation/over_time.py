"""How right a network is after each of its steps, when its early answers come, and what one timestep would answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.samples import Samples, summed
from ..host.codec import encode_all
from ..program.network import Program
from ..simulator.early import exits, leads, scores_of
from ..simulator.run import run_codes
from .labels import Labels

Array = NDArray[Any]


@dataclass
class StepTally:
    """Sums over samples, by step: answers like the float network's, right answers, samples answered there.

    ``once_*``: the same of the network at one timestep; ``last``: like the answer after the last step.
    """

    steps: int
    margin: int | None = None
    n: int = 0
    agree: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    right: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    answered: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    last: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    labelled: bool = False
    early_right: int = 0
    early_agree: int = 0
    once_right: int = 0
    once_agree: int = 0

    def merge(self, other: StepTally) -> None:
        """Add what other samples add."""
        for name in ("agree", "right", "answered", "last"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("n", "early_right", "early_agree", "once_right", "once_agree"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def row(self) -> dict[str, Any]:
        """Return what ``eval.json`` says under ``time``."""
        share = {"agreement": self.agree, "as_at_the_end": self.last} | ({"top1": self.right} if self.labelled else {})
        found: dict[str, Any] = {name: [float(v) for v in x / self.n] for name, x in share.items()}
        numbers = np.arange(1, self.steps + 1)
        once = {"agreement": self.once_agree / self.n} | ({"top1": self.once_right / self.n} if self.labelled else {})
        found |= {"steps": self.steps, "samples": self.n, "at_once": once, "margin": self.margin}
        if self.margin is not None:
            found |= {"answered": self.answered.tolist(), "mean_steps": float(numbers @ self.answered) / self.n,
                      "early_agreement": self.early_agree / self.n}  # fmt: skip
            found |= {"early_top1": self.early_right / self.n} if self.labelled else {}
        return found


def step_tally(
    program: Program, values: Any, want: Array, labels: Labels | None, x: Samples
) -> StepTally | None:  # fmt: skip
    """Return the tally of some samples; None where the first output is no row of scores.

    ``values``: those of outputs over all steps; ``want``: the float network's first output; ``x``: the samples.
    """
    clock, name = program.clock, scores_of(program)
    if clock is None or name is None:
        return None
    tops, lead = leads(program, values)
    n, steps = tops.shape
    float_top = want.reshape(n, -1).argmax(axis=1)
    classes = labels.values if labels is not None and labels.kind == "classes" else None
    out = exits(lead, clock.margin)
    early = tops[np.arange(n), out - 1]
    once = program.at_once()
    codes = run_codes(once, encode_all(once, x if program.frames is None else summed(x)), [name])[name]
    at_once = codes.reshape(n, -1).argmax(axis=1)

    def like(answers: Array | None, mine: Array) -> Any:
        if answers is None:
            return np.zeros(mine.shape[1:], np.int64)
        return (mine == answers.reshape(n, *(1,) * (mine.ndim - 1))).sum(axis=0)

    return StepTally(
        steps, clock.margin, n, like(float_top, tops), like(classes, tops), np.bincount(out - 1, minlength=steps),
        like(tops[:, -1], tops), classes is not None, int(like(classes, early)), int(like(float_top, early)),
        int(like(classes, at_once)), int(like(float_top, at_once)),
    )  # fmt: skip
