"""A finished mapping over time: its clock, and the steps that it needs to become quiet, seen on samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.options import Options
from ..foundation.samples import Samples, n_samples, part
from ..host.codec import encode_all
from ..passes.mapping.clock import clocked, proved_settling, settled
from ..program.network import Program
from ..simulator.early import leads, margin_for, scores_of
from ..simulator.run import run_codes
from ..simulator.run_clock import active_steps

Array = NDArray[Any]
SEEN = 32  # samples on which a network is watched until it is quiet
AT_A_TIME = 8
JUDGED_AT_A_TIME = 256
FIRST_TRY = 8  # steps; twice as many where that is not enough
LEAST_MARGIN = 2  # steps beyond what the samples needed, and a quarter of that


def with_clock(program: Program, options: Options, x: Samples, aside: Samples | None = None) -> Program:
    """Return the Program as the options ask for it: over time, where they ask for that. Raises SFN608.

    ``x``: samples of the model, frames where the options say so, on which ``--settle auto`` is watched; ``aside``: on
    which early answers are judged, where as many were kept aside as that needs, else on ``x``.
    """
    if options.window_steps == 1:
        return program
    made = clocked(program, options)
    assert made.clock is not None
    if options.settle == "auto" and made.clock.certifies:
        made = settled(made, _watched(made, part(x, slice(SEEN))))
    few = aside is None or n_samples(aside) * options.exit_loss < 100  # one that differs would be too many
    return _answering_early(made, options, x if few or aside is None else aside)


def _answering_early(program: Program, options: Options, x: Samples) -> Program:
    """Return the network with the margin at which it answers early, stated or chosen on samples. Raises SFN608."""
    clock, said = program.clock, options.margin
    assert clock is not None
    if said is None:
        return program
    if scores_of(program) is None:
        first = program.outputs[0]
        raise fail("SFN608", f"--exit: output {first.name!r} is no row of scores, one of which could lead", first.name,
                   "leave --exit out")  # fmt: skip
    margin = _chosen_margin(program, x, options.exit_loss / 100) if said == "auto" else int(said)
    return program.clocked(replace(clock, margin=margin))


def _chosen_margin(program: Program, x: Samples, loss: float) -> int:
    tops, lead = [], []
    for start in range(0, n_samples(x), JUDGED_AT_A_TIME):
        some = part(x, slice(start, start + JUDGED_AT_A_TIME))
        found = leads(program, run_codes(program, encode_all(program, some), program.decoded()))
        tops.append(found[0])
        lead.append(found[1])
    return margin_for(np.concatenate(tops), np.concatenate(lead), loss)


def _watched(program: Program, x: Samples) -> int:
    """Return how many steps behind the window the samples need to become quiet, and a margin."""
    most, tried = proved_settling(program), FIRST_TRY
    while True:
        tried = min(tried, most)
        last = last_spikes(settled(program, tried), x)
        needed = int(last.max(initial=0)) - program.timesteps + 1  # the step behind the last spike is a quiet one
        if needed <= tried or tried == most:
            needed = max(needed, 1)
            return min(needed + max(LEAST_MARGIN, needed // 4), most)
        tried *= 2


def last_spikes(program: Program, x: Samples) -> Array:
    """Return for every sample the number of the last step (from 1) in which a neuron emitted anything; 0 for none."""
    last = [np.zeros(0, np.int64)]
    for values in _emissions(program, x):
        steps = [np.flatnonzero(row)[-1:] + 1 for row in values]
        last.append(np.array([s[0] if len(s) else 0 for s in steps], np.int64))
    return np.concatenate(last)


def _emissions(program: Program, x: Samples) -> Iterator[Array]:
    """Yield, a few samples at a time, in which steps any paced neuron emitted: ``(n, steps)``."""
    assert program.clock is not None
    fires = [p.name for p in program.clock.paces if p.most]
    for start in range(0, n_samples(x), AT_A_TIME):
        values = run_codes(program, encode_all(program, part(x, slice(start, start + AT_A_TIME))), fires)
        yield active_steps(values)
