"""Who measures trials: this process, processes of this machine, or the workers of a dask cluster."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ..evaluation.dask_cluster import connected, finished
from ..evaluation.spread import Crew, Results, complete, processes, threads_of
from ..foundation.options import Machine, Options
from .evaluate import Evaluator
from .trial import Measured

# Measures the options of these numbers; yields (number, numbers measured), each once, in whatever order they come.
Measure = Callable[[Mapping[int, Options]], Results[Measured]]


@contextmanager
def crew_of(evaluator: Evaluator, machine: Machine) -> Iterator[Measure]:
    """Yield what measures trials on ``machine``. Raises SFN607 where workers could not do it."""
    if machine.cluster is not None:
        with connected(machine) as client:
            content = pickle.dumps(evaluator)
            there = There(client, Sent(content, hashlib.sha256(content).hexdigest()), machine)
            yield lambda asked: complete(there.crew(asked), list(asked))
    elif machine.workers > 1:
        yield lambda asked: complete(_processes(evaluator, machine, asked), list(asked))
    else:
        yield lambda asked: ((i, evaluator.measure(options, machine.threads)) for i, options in asked.items())


# -- processes of this machine --------------------------------------------------------------------------------------
_here: tuple[Evaluator, Mapping[int, Options], int] | None = None  # of a worker process


def _processes(evaluator: Evaluator, machine: Machine, asked: Mapping[int, Options]) -> Crew[Measured]:
    """Return a crew of processes; forked, they share statistics, weights and samples with this one."""
    return processes(machine, _begin, (evaluator, asked, threads_of(machine)), _trial)


def _begin(evaluator: Evaluator, asked: Mapping[int, Options], threads: int) -> None:
    global _here
    _here = evaluator, asked, threads


def _trial(number: int) -> tuple[int, Measured]:
    assert _here is not None
    evaluator, asked, threads = _here
    return number, evaluator.measure(asked[number], threads)


# -- a cluster ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Sent:
    """An evaluator as bytes; two are the same where their sha256 is."""

    content: bytes = field(compare=False, repr=False)
    sha256: str


@dataclass
class There:
    """The workers of a cluster, and where the evaluator lies among them: it is sent once, and again after a loss."""

    client: Any
    sent: Sent
    machine: Machine
    place: Any = None

    def crew(self, asked: Mapping[int, Options]) -> Crew[Measured]:
        """Return a crew of the workers for trials of these numbers."""
        rounds: list[Sequence[int]] = []

        def crew(numbers: Sequence[int]) -> Results[Measured]:
            if self.place is None or rounds:  # the workers that were lost may have been all that had it
                self.place = self.client.scatter(self.sent, broadcast=True, hash=False)
            rounds.append(numbers)
            jobs = [
                self.client.submit(_trial_there, n, asked[n], self.place, self.machine.threads, pure=False)
                for n in numbers
            ]
            return finished(self.client, jobs)

        return crew


def _trial_there(number: int, options: Options, sent: Sent, threads: int | None) -> tuple[int, Measured]:
    return number, _opened(sent).measure(options, threads)


@lru_cache(maxsize=1)
def _opened(sent: Sent) -> Evaluator:
    found = pickle.loads(sent.content)
    assert isinstance(found, Evaluator)
    return found
