"""Who measures trials: this process, processes of this machine, or the workers of a dask cluster."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from ..cluster import connected, finished
from ..config import Machine, Options
from ..workers import Crew, Results, complete, processes, threads_of
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
            sent = Sent(content, hashlib.sha256(content).hexdigest())
            yield lambda asked: complete(_cluster(client, sent, machine, asked), list(asked))
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


def _cluster(client: object, sent: Sent, machine: Machine, asked: Mapping[int, Options]) -> Crew[Measured]:
    def crew(numbers: Sequence[int]) -> Results[Measured]:
        there = client.scatter(sent, broadcast=True, hash=False)  # type: ignore[attr-defined]
        jobs = [
            client.submit(_trial_there, n, asked[n], there, machine.threads, pure=False)  # type: ignore[attr-defined]
            for n in numbers
        ]
        return finished(client, jobs)

    return crew


def _trial_there(number: int, options: Options, sent: Sent, threads: int | None) -> tuple[int, Measured]:
    return number, _opened(sent).measure(options, threads)


@lru_cache(maxsize=1)
def _opened(sent: Sent) -> Evaluator:
    found = pickle.loads(sent.content)
    assert isinstance(found, Evaluator)
    return found
