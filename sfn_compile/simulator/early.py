"""Answers before the last step: what scores say after each, and where the best leads by enough (``spec/time.md``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program.clock import Clock
from ..program.network import Program
from ..program.signals import kinds_of
from .run_clock import after_step

Array = NDArray[Any]
Values = Mapping[str, Array]


def scores_of(program: Program) -> str | None:
    """Return the value whose integers are the scores of the first output: one for each class, of one step; else None.

    What the host does behind them must not change which is the largest.
    """
    first = program.outputs[0]
    sides = [n for n in program.values()[first.value].shape if n != 1]
    monotone = all(op.kind in ("softmax", "log_softmax") or _keeps_order(op) for op in first.host)
    one_step = first.step.size == 1 or bool((first.step == first.step.flat[0]).all())
    kind = kinds_of(program)[first.value]
    ok = not first.joined and len(sides) == 1 and monotone and one_step and kind.sent and not kind.held
    return first.value if ok else None


def _keeps_order(op: Any) -> bool:
    """Whether a host operation moves scores, or scales all of them alike by a factor above 0."""
    args = dict(op.args)
    if op.kind == "affine":
        return all(np.size(args[k]) == 1 for k in ("scale", "bias")) and bool(np.all(np.asarray(args["scale"]) > 0))
    return op.kind == "move" and type(args["op"]).__name__ == "Reshape"


def leads(program: Program, values: Values) -> tuple[Array, Array]:
    """Return (the class with the best score, its lead on the second at the scale of the whole window), ``(n, steps)``.

    The lead is rounded down: it reaches M exactly where ``lead T >= M min(t, T)``.
    """
    clock, name = program.clock, scores_of(program)
    assert clock is not None
    assert name is not None
    x = values[name].astype(np.int64)
    x = x if kinds_of(program)[name].total else x.cumsum(axis=1)
    x = x.reshape(*x.shape[:2], -1)
    two = np.sort(x, axis=-1)[..., -2:]
    over = np.minimum(np.arange(1, clock.steps + 1), clock.timesteps)
    return x.argmax(axis=-1), (two[..., -1] - two[..., 0]) * clock.timesteps // over


def exits(lead: Array, margin: int | None) -> Array:
    """Return after which step ``(n,)`` each sample is answered: the first with such a lead, else the last."""
    n, steps = lead.shape
    if margin is None:
        return np.full(n, steps)
    reached = lead >= margin
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, steps)


def margin_for(tops: Array, lead: Array, loss: float) -> int:
    """Return the smallest margin from which on at most a share ``loss`` of the answers differ from those of the end.

    Few samples flatter the smallest margin that just passes, so w that differ count as ``w + sqrt(w + 1)``.
    """
    known = np.unique(lead)
    candidates = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), 512)).astype(int))]
    rows, found = np.arange(len(tops)), int(known[-1]) + 1
    for margin in reversed(candidates.tolist()):
        wrong = int((tops[rows, exits(lead, margin) - 1] != tops[:, -1]).sum())
        if wrong + np.sqrt(wrong + 1) > loss * len(tops):
            break
        found = int(margin)
    return found


def answer_values(program: Program, values: Values) -> dict[str, Array]:
    """Return values as the decoder reads them: after the last step, or, with a margin, where each sample is answered.

    Before the window is over they are enlarged to the scale of all of it.
    """
    clock = program.clock
    if clock is None or clock.margin is None:
        return after_step(program, values)
    steps = exits(leads(program, values)[1], clock.margin)
    return after_steps(program, values, steps)


def after_steps(program: Program, values: Values, steps: Array) -> dict[str, Array]:
    """Return what has come of values after a step of each sample's own ``(n,)``, at the scale of the whole window."""
    clock = program.clock
    assert clock is not None
    found = {name: np.zeros((len(x), *_sample(x, name, program)), np.float64) for name, x in values.items()}
    for step in np.unique(steps):
        chosen = np.flatnonzero(steps == step)
        some = after_step(program, {name: x[chosen] for name, x in values.items()}, int(step))
        for name, x in some.items():
            found[name][chosen] = x * _share(clock, int(step), name, program)
    return found


def _sample(x: Array, name: str, program: Program) -> tuple[int, ...]:
    return x.shape[1:] if kinds_of(program)[name].held else x.shape[2:]


def _share(clock: Clock, step: int, name: str, program: Program) -> float:
    return 1.0 if kinds_of(program)[name].held else clock.timesteps / min(step, clock.timesteps)
