"""Evaluation over many processes: of this machine, or of a dask cluster. The same numbers as in one process.

Work is cut into the pieces that one process computes too, and every piece has a number. What comes back is kept under
that number, so a piece that was computed twice counts once; what a worker took with it when it ended is computed again.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any, TypeVar

from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.options import Machine
from ..foundation.samples import Samples, n_samples, part
from ..simulator.run import n_cores, prepare_kernels
from .side_by_side import Build, Pair, Progress, Tally, cuts, float_threads, merged, result

Array = NDArray[Any]
ATTEMPTS = 3
FORKED = sys.platform == "linux"
T = TypeVar("T")
# Computes the pieces of these numbers; yields (number, result) as they come; ends early where workers were lost.
Results = Iterator[tuple[int, T]]
Crew = Callable[[Sequence[int]], Results[T]]


def spread(
    build: Build, x: Samples, labels: Array | None, machine: Machine, progress: Progress | None = None
) -> dict[str, Any]:
    """Return what ``pairs.measure`` returns, computed by the workers that ``machine`` names. Raises SFN607."""
    if machine.cluster is not None:
        from .dask_cluster import crew_of

        with crew_of(machine, build, x, labels) as crew:
            found = gather(crew, n_samples(x), progress)
    else:
        found = gather(_processes(build, x, labels, machine), n_samples(x), progress)
    outputs = build.manifest["host_tail"]["model_outputs"] if build.manifest.get("host_tail") else None
    names = outputs or [d.name for d in build.program.outputs]
    return result(merged(found[i] for i in sorted(found)), names, labels is not None)


def gather(crew: Crew[Tally], n: int, progress: Progress | None = None) -> dict[int, Tally]:
    """Return the tally of every piece of ``n`` samples by its number."""
    found: dict[int, Tally] = {}
    for number, tally in complete(crew, range(len(cuts(n)))):
        found[number] = tally
        if progress is not None:
            progress("evaluate", sum(t.n for t in found.values()), n)
    return found


def complete(crew: Crew[T], numbers: Sequence[int]) -> Results[T]:
    """Yield (number, result) of every number once; what was lost is given out again. Raises SFN607."""
    found: set[int] = set()
    for _ in range(ATTEMPTS):
        missing = [i for i in numbers if i not in found]
        for number, computed in crew(missing) if missing else ():
            if number not in found:
                found.add(number)
                yield number, computed
    if len(found) < len(numbers):
        raise fail("SFN607", f"{len(numbers) - len(found)} of {len(numbers)} pieces were lost {ATTEMPTS} times")


# -- processes of this machine --------------------------------------------------------------------------------------
_here: tuple[Pair, Samples, Array | None] | None = None  # of a worker process


def _processes(build: Build, x: Samples, labels: Array | None, machine: Machine) -> Crew[Tally]:
    """Return a crew of processes that share weights, kernels and samples with this one where they can be forked."""
    if FORKED and machine.engine == "fast":
        prepare_kernels(build.program)  # before the fork: memory that nobody writes to stays one copy
    alone = replace(machine, threads=threads_of(machine))
    return processes(machine, _begin, (build, x, labels, alone, float_threads()), _piece)


def threads_of(machine: Machine) -> int:
    """Return with how many threads each process of this machine computes."""
    return machine.threads or max(1, n_cores() // machine.workers)


def processes(
    machine: Machine, begin: Callable[..., None], given: tuple[Any, ...], work: Callable[[int], tuple[int, T]]
) -> Crew[T]:
    """Return a crew of processes, each begun with ``begin(*given)``, that compute ``work(number)``."""

    def crew(numbers: Sequence[int]) -> Results[T]:
        context = multiprocessing.get_context("fork" if FORKED else "spawn")
        with ProcessPoolExecutor(min(machine.workers, len(numbers)), context, begin, given) as pool:
            jobs = [pool.submit(work, number) for number in numbers]
            for job in as_completed(jobs):
                try:
                    yield job.result()
                except BrokenProcessPool:  # every job that was not done says so; those that were are kept
                    continue
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    return crew


def _begin(build: Build, x: Samples, labels: Array | None, machine: Machine, n_float_threads: int) -> None:
    global _here
    _here = build.open(machine, float_threads=n_float_threads), x, labels


def _piece(number: int) -> tuple[int, Tally]:
    assert _here is not None
    pair, x, labels = _here
    return number, pair.tally(*samples_of(x, labels, number))


def samples_of(x: Samples, labels: Array | None, number: int) -> tuple[Mapping[str, Array], Array | None]:
    """Return the samples and labels of one piece."""
    piece = cuts(n_samples(x))[number]
    return part(x, piece), None if labels is None else labels[piece]
