"""A crew of processes on this machine."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any, TypeVar

from numpy.typing import NDArray

from ..foundation.options import Machine
from ..foundation.samples import Samples
from ..simulator.run import n_cores, prepare_kernels
from .crew import Crew, Results, samples_of
from .side_by_side import Build, Pair, Tally, float_threads
from .truth import Truth

Array = NDArray[Any]
FORKED = sys.platform == "linux"
T = TypeVar("T")
_here: tuple[Pair, Samples, Truth | None] | None = None  # of a worker process


def crew_of(machine: Machine, build: Build, x: Samples, truth: Truth | None) -> Crew[Tally]:
    """Return a crew of processes that share weights, kernels and samples with this one where they can be forked."""
    if FORKED and machine.engine == "fast":
        prepare_kernels(build.program)  # before the fork: memory that nobody writes to stays one copy
    alone = replace(machine, threads=threads_of(machine))
    return processes(machine, _begin, (build, x, truth, alone, float_threads()), _piece)


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


def _begin(build: Build, x: Samples, truth: Truth | None, machine: Machine, n_float_threads: int) -> None:
    global _here
    _here = build.open(machine, float_threads=n_float_threads), x, truth


def _piece(number: int) -> tuple[int, Tally]:
    assert _here is not None
    pair, x, truth = _here
    return number, pair.tally(*samples_of(x, truth, number))
