"""What verify says of time: are the counts the codes of one timestep, of this network and of another build?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import build_folder, program_files
from ..foundation.diagnostics import Diagnostic
from ..foundation.samples import Samples, n_samples, summed
from ..host.codec import encode_all
from ..program.network import Program
from ..simulator.run import run_codes
from ..simulator.run_clock import active_steps, after_step
from .target_proof import Expected

Array = NDArray[Any]
Row = dict[str, Any]
PROOF, FORM, NOTHING = "quiet", "layer after layer", "none"  # what makes counts the codes of one timestep


def settled_row(expected: Expected) -> tuple[Row, list[Diagnostic]]:
    """Return how the counts after the last step compare with the codes of the same network at one timestep.

    ``certificate``: ``quiet`` where a step without a spike proves that they are equal, ``layer after layer`` where the
    order of the layers does, ``none`` where spikes are not taken back. A certificate that does not hold is a fault of
    ours (SFN901).
    """
    program, clock = expected.program, expected.program.clock
    assert clock is not None
    active = active_steps({p.name: expected.values[p.name] for p in clock.paces if p.most})
    quiet = ~active[:, -1] if active.size else np.ones(expected.n, bool)
    last = [int(np.flatnonzero(row)[-1]) + 1 if row.any() else 0 for row in active]
    counts = after_step(program, expected.values)
    row, equal = _compared(counts, _at_once(program, expected.x, expected.engine))
    in_turn = any(p.start for p in clock.paces)
    certificate = PROOF if clock.certifies else FORM if in_turn else NOTHING
    row = {"timesteps": clock.timesteps, "settle": clock.settle, "certificate": certificate, "quiet": int(quiet.sum()),
           "last_spike": max(last, default=0), **row}  # fmt: skip
    sure = quiet if certificate == PROOF else np.full(expected.n, certificate == FORM)
    if (sure & ~equal).any():
        what = f"{int((sure & ~equal).sum())} samples should equal the network at one timestep, and do not"
        return row, [Diagnostic("SFN901", what, str(row["first"]))]
    return row, []


def against(expected: Expected, other: Path) -> tuple[Row, list[Diagnostic]]:
    """Return how the counts after the last step compare with the integers of another build, value by value.

    The other build encodes the same samples itself; of frames it is given their sum, unless it takes frames too.
    Raises SFN503 where it is no build.
    """
    manifest, program = build_folder.open_build(other)
    x = expected.x
    if expected.program.frames is not None and program.frames is None:
        x = summed(x)
    same = program_files.digest(program.at_once()) == program_files.digest(expected.program.at_once())
    row: Row = {"build": other.name, "model": manifest["model"]["sha256"], "same_network": same}
    lacking = [e.name for e in program.inputs if e.name not in x or x[e.name].shape[1:] != _taken(program, e.name)]
    if lacking:
        what = f"{other.name} takes other samples: input {lacking[0]!r}"
        return {**row, "samples": expected.n, "equal": 0, "compared": 0, "different": 0, "first": None}, [
            Diagnostic("SFN611", what, str(other), "compile both from the same model")
        ]
    theirs = after_step(program, run_codes(program, encode_all(program, x), engine=expected.engine))
    found, _ = _compared(after_step(expected.program, expected.values), theirs)
    row |= found
    if row["different"] or not row["compared"]:
        what = f"{row['different']} of {row['compared']} counts differ from the integers of {other.name}, in "
        what += f"{expected.n - row['equal']} of {expected.n} samples"
        where = str(other) if row["first"] is None else f"layer {row['first']!r}"
        fix = "" if same else "they are other networks at one timestep: compile both with the same options"
        return row, [Diagnostic("SFN611", what, where, fix or "--neuron signed with more --settle")]
    return row, []


def _taken(program: Program, name: str) -> tuple[int, ...]:
    shape = next(e.model_shape for e in program.inputs if e.name == name)
    return shape if program.frames is None else (program.frames, *shape)


def _at_once(program: Program, x: Samples, engine: Any) -> dict[str, Array]:
    once = program.at_once()
    return run_codes(once, encode_all(once, x if program.frames is None else summed(x)), engine=engine)


def _compared(counts: Mapping[str, Array], codes: Mapping[str, Array]) -> tuple[Row, Array]:
    """Return the comparison of every value that both have, and which samples are equal in all of them.

    A value that only the first has is compared with nothing, so it differs.
    """
    n = n_samples(counts)
    equal, compared, different = np.ones(n, bool), 0, 0
    first: str | None = None
    for name, got in counts.items():
        want = codes.get(name)
        same = got == want if want is not None and got.shape == want.shape else np.zeros(got.shape, bool)
        compared += got.size
        different += int(got.size - same.sum())
        equal &= same.reshape(n, -1).all(axis=1)
        if first is None and not same.all():
            first = name
    return {
        "samples": n,
        "equal": int(equal.sum()),
        "compared": compared,
        "different": different,
        "first": first,
    }, equal
