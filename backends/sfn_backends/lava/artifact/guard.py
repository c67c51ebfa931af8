"""Run a Lava program so that nothing survives it: no process, no shared memory, no temporary file.

Lava hangs for ever where a process model raises, and leaves spinning orphans and ``/dev/shm/psm_*`` files where its
main program is killed. So a Lava program always runs as the leader of its own session:

* The parent (:func:`run`) ends the whole process group when the leader is done, when the time is up or when it is
  interrupted, and then removes what is left.
* A watcher inside the group (:func:`watch`) does the same where the parent itself was killed: it reads a pipe whose
  other end only the parent holds, so the end of the pipe means the end of the parent.
* Every run has a work folder with a unique name, and all its shared memory is called ``psm_<that name>_...``
  (``compat.py``). Whoever cleans up removes exactly these files, so parallel runs never touch each other's.

Standard library only. Process groups are POSIX: Linux and macOS.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

WORK = "SFNC_LAVA_WORK"
_LONGEST = 70  # multiprocessing makes a socket some folders further down, whose path may have 104 characters
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


@contextlib.contextmanager
def workspace() -> Iterator[str]:
    """Yield the unique folder of one run; at the end it is removed, with the shared memory that bears its name."""
    work = tempfile.mkdtemp(prefix="sfnc-lava-")
    try:
        yield work
    finally:
        clean(work)


def run(
    command: Sequence[str],
    work: str,
    time_limit: float,
    log: IO[Any] | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
) -> int | None:
    """Return the exit status of ``command`` (negative: the signal that ended it), or None where the time was up.

    ``work`` comes from :func:`workspace`. The output goes to ``log`` (default: where this program's own goes); the
    command starts in ``folder`` (default: where this program is). Returns or raises only after every process of the
    command has ended.
    """
    env = {**(os.environ if environment is None else environment), **_ONE_THREAD, WORK: work}
    if len(work) <= _LONGEST:
        env["TMPDIR"] = work  # what a killed program leaves there goes with the folder
    leader = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=env, cwd=folder
    )
    try:
        return leader.wait(time_limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(leader)


def inside() -> bool:
    """Return whether this program is the leader of a guarded run."""
    return WORK in os.environ and os.getsid(0) == os.getpid()


def end_group() -> None:
    """End every process of this guarded run at once; does nothing outside of one."""
    if WORK in os.environ:
        os.killpg(0, signal.SIGTERM)


def watch() -> None:
    """Fork a watcher that ends this process group and cleans up as soon as the guarding parent is gone."""
    if os.fork():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.read(0, 1)
    os.killpg(0, signal.SIGTERM)
    time.sleep(0.2)
    clean(os.environ[WORK])
    os.killpg(0, signal.SIGKILL)


def clean(work: str) -> None:
    """Remove the work folder and the shared memory of the run that used it."""
    for path in glob.glob(f"/dev/shm/psm_{glob.escape(os.path.basename(work))}_*"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    shutil.rmtree(work, ignore_errors=True)


def _end(leader: subprocess.Popen[Any]) -> None:
    """Kill the leader's group (the watcher keeps its number taken until now) and wait until it is empty."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()
    if leader.stdin is not None:
        leader.stdin.close()
    deadline = time.monotonic() + 5.0
    while _alive(leader.pid) and time.monotonic() < deadline:
        time.sleep(0.005)


def _alive(group: int) -> bool:
    """Return whether a process of the group still runs; one that only waits to be reaped by init does not."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    states = [_state(path) for path in glob.glob("/proc/[0-9]*/stat")]
    return any(g == group and state not in "ZX" for state, g in states) if states else True


def _state(path: str) -> tuple[str, int]:
    """Return (state, process group) from a Linux ``stat`` file; the name in parentheses may hold anything."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return fields[0], int(fields[2])
    except (OSError, IndexError):
        return "X", 0
