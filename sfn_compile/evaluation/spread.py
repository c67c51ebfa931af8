"""Evaluation over many processes: of this machine, or of a dask cluster. The same numbers as in one process.

Work is cut into the pieces that one process computes too, and every piece has a number. What comes back is kept under
that number, so a piece that was computed twice counts once; what a worker took with it when it ended is computed again.
"""

from __future__ import annotations

from typing import Any

from ..foundation.options import Machine
from ..foundation.samples import Samples, n_samples
from . import processes
from .crew import Crew, complete
from .side_by_side import Build, Progress, Tally, cuts, merged, result
from .truth import Truth


def spread(
    build: Build, x: Samples, truth: Truth | None, machine: Machine, progress: Progress | None = None
) -> dict[str, Any]:
    """Return what ``side_by_side.measure`` returns, computed by the workers that ``machine`` names. Raises SFN607."""
    if machine.cluster is not None:
        from . import dask_cluster

        with dask_cluster.crew_of(machine, build, x, truth) as crew:
            found = gather(crew, n_samples(x), progress)
    else:
        found = gather(processes.crew_of(machine, build, x, truth), n_samples(x), progress)
    outputs = build.manifest["host_tail"]["model_outputs"] if build.manifest.get("host_tail") else None
    names = outputs or [d.name for d in build.program.outputs]
    return result(merged(found[i] for i in sorted(found)), names)


def gather(crew: Crew[Tally], n: int, progress: Progress | None = None) -> dict[int, Tally]:
    """Return the tally of every piece of ``n`` samples by its number."""
    found: dict[int, Tally] = {}
    for number, tally in complete(crew, range(len(cuts(n)))):
        found[number] = tally
        if progress is not None:
            progress("evaluate", sum(t.n for t in found.values()), n)
    return found
