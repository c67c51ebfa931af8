"""What a network makes of event recordings over time, and what of it is not what it makes of their sum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfn_compile.data.sources import data_of_build
from sfn_compile.files import build_folder, program_files
from sfn_compile.files.sample_files import Data
from sfn_compile.host.codec import encode_all
from sfn_compile.program.network import Program
from sfn_compile.simulator.run import run_codes

Array = NDArray[Any]
AT_A_TIME = 40  # recordings; every spike of every step of each is held


def shown(out: Path, recordings: Path) -> tuple[Program, dict[str, Array], Array]:
    """The Program of a build, the integers that it makes of recordings, and their labels."""
    program = program_files.load(out)
    data = data_of_build(recordings, build_folder.open_build(out)[0])
    x = frames_of(data)
    pieces = [run_codes(program, encode_all(program, {"events": x[at : at + AT_A_TIME]}))
              for at in range(0, len(x), AT_A_TIME)]  # fmt: skip
    return program, {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}, data.labels


def frames_of(data: Data) -> Array:
    """Samples as the network is shown them: the frames of recordings over time, else their sum."""
    return data.x["events"] if data.over_time is None else data.over_time["events"]


def different(program: Program, spikes: dict[str, Array], codes: dict[str, Array]) -> int:
    """How many numbers of the settled network are not those of one timestep: counts of spikes, and the answer."""
    paces = program.clock.paces
    assert len(paces) == 5
    found = 0
    for pace in paces:
        settled = spikes[pace.name].sum(axis=1) if pace.most else spikes[pace.name][:, -1]
        found += int((settled != codes[pace.name]).sum())
    return found
