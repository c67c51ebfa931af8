"""Evaluation on a cluster: pieces of the data as tasks of dask.distributed.

The build is sent to every worker once, as the bytes of its files; the samples are sent with the task that needs them.
dask gives tasks of a worker that ended to another one.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..foundation.diagnostics import fail
from ..foundation.options import Machine
from ..foundation.samples import Samples
from ..foundation.version import __version__
from .crew import Crew, Results, samples_of
from .side_by_side import Build, Pair, Tally, float_threads
from .truth import Truth

Array = NDArray[Any]
Files = Mapping[str, bytes]
PATIENCE = 30  # seconds until a scheduler has to answer


@dataclass(frozen=True)
class Sent:
    """The files of a build by name; two are the same where their sha256 is."""

    files: Files = field(compare=False, repr=False)
    sha256: str


@contextmanager
def crew_of(machine: Machine, build: Build, x: Samples, truth: Truth | None) -> Iterator[Crew[Tally]]:
    """Yield a crew of the cluster's workers. Raises SFN607 where dask, the scheduler or a worker cannot be used."""
    with connected(machine) as client:
        files = files_of(build)
        sent = Sent(files, hashlib.sha256(b"".join(n.encode() + b"\0" + files[n] for n in sorted(files))).hexdigest())

        def crew(numbers: Sequence[int]) -> Results[Tally]:
            return _computed(client, sent, machine, x, truth, numbers)

        yield crew


@contextmanager
def connected(machine: Machine) -> Iterator[Any]:
    """Yield a client of the cluster, whose workers all run this version. Raises SFN607."""
    client = _client(str(machine.cluster))
    try:
        _check_workers(client)
        yield client
    finally:
        client.close()


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise fail("SFN607", "dask is not installed", "--cluster", "pip install 'sfnc[cluster]'") from error
    try:
        return Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise fail("SFN607", f"no dask scheduler answers there: {error}", address) from error


def _check_workers(client: Any) -> None:
    """Raise SFN607 where there is no worker, or one of them runs another version."""
    try:
        versions = client.run(_version)
    except Exception as error:  # what a worker could not import comes back as whatever it raised there
        raise fail("SFN607", f"a worker cannot run sfnc: {error}", fix=f"install sfnc {__version__} there") from error
    if not versions:
        raise fail("SFN607", "the cluster has no workers", fix="start some: dask worker ADDRESS")
    for worker, version in versions.items():
        if version != __version__:
            what = f"it has sfnc {version}, this is {__version__}"
            raise fail("SFN607", what, str(worker), "install the same version everywhere")


def _version() -> str:
    return __version__


def files_of(build: Build) -> dict[str, bytes]:
    """Return the files of a build that its two networks are made of, by name: no target's, no report."""
    targets = set(build.manifest["options"]["targets"])
    names = [n for n in build.manifest["files"] if n.split("/")[0] not in targets]
    needed = [n for n in names if n not in ("report.json", "report.html", "golden.npz")]
    return {n: (build.folder / n).read_bytes() for n in (*needed, "manifest.json")}


def _computed(
    client: Any, files: Sent, machine: Machine, x: Samples, truth: Truth | None, numbers: Sequence[int]
) -> Results[Tally]:
    sent = client.scatter(files, broadcast=True, hash=False)
    jobs = [
        client.submit(_tally, number, *samples_of(x, truth, number), sent, machine, float_threads(), pure=False)
        for number in numbers
    ]
    return finished(client, jobs)


def finished(client: Any, jobs: Sequence[Any]) -> Iterator[Any]:
    """Yield the result of every job that came back; one that dask gave up is left out."""
    from distributed import as_completed

    for job in as_completed(jobs, loop=client.loop):
        if job.status == "finished":
            yield job.result()
        elif job.status == "error" and not _was_lost(job.exception()):
            raise job.exception()


def _was_lost(error: BaseException) -> bool:
    """Whether dask gave a task up because workers ended under it, not because the task failed."""
    from distributed import KilledWorker

    return isinstance(error, KilledWorker)


# -- on a worker ----------------------------------------------------------------------------------------------------
def _tally(
    number: int, x: Samples, truth: Truth | None, files: Sent, machine: Machine, n_float_threads: int
) -> tuple[int, Tally]:
    return number, _opened(files, machine, n_float_threads).tally(x, truth)


@lru_cache(maxsize=1)
def _opened(sent: Sent, machine: Machine, n_float_threads: int) -> Pair:
    """Return the networks of a build that was sent; the next piece finds them open."""
    with tempfile.TemporaryDirectory(prefix="sfnc-") as name:
        folder = Path(name)
        for file, content in sent.files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        return Build.read(folder).open(machine, float_threads=n_float_threads)
