"""The simulator of two trees, timed in turns: each in a process of its own that computes when it is told to."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .replay_cases import Case
from .replay_trees import START, Tree

# Where the function may be, newest first: it moves, its arguments do not.
RUN_CODES = ("sfn_compile.simulator.run", "sfn_compile.simulator", "sfn_compile.simulator.run")
BATCH = 128
WORKER = Path(__file__).with_name("replay_worker.py")
Compiled = Callable[..., tuple[dict[str, str], int, str, float]]


def measured(case: Case, trees: tuple[Tree, Tree], compiled: Compiled, rounds: int) -> bool:
    """Print processor times of the simulator in two trees and their ratio; return whether their integers differ."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_worker(case, tree, compiled)) for tree in trees]
        first = [_told(w) for w in workers]  # prepares the kernels
        times = np.array([_round(workers, i) for i in range(rounds)])
    (old, new), (fastest_old, fastest_new) = np.median(times, axis=0), times.min(axis=0)
    different = first[0][1] != first[1][1]
    print(
        f"{case.name}: {1e3 * old:.1f} -> {1e3 * new:.1f} ms of processor time for {BATCH} samples, ratio of medians "
        f"{new / old:.3f}, of the fastest {fastest_new / fastest_old:.3f}{', INTEGERS DIFFER' if different else ''}",
        flush=True,
    )
    return different


def _round(workers: list[subprocess.Popen[str]], i: int) -> list[float]:
    """Return the processor seconds of both; every other round begins with the second."""
    if i % 2:
        return [float(_told(w)[0]) for w in reversed(workers)][::-1]
    return [float(_told(w)[0]) for w in workers]


@contextlib.contextmanager
def _worker(case: Case, tree: Tree, compiled: Compiled) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that holds the network's Program, compiled and loaded by the tree itself."""
    with tempfile.TemporaryDirectory(prefix="replay-") as scratch:
        work = Path(scratch)
        _, status, messages, _ = compiled(tree, case, work)
        if status:
            raise RuntimeError(f"{case.name} does not compile: {messages}")
        environment = tree.environment()
        environment["PYTHONPATH"] += f":{WORKER.parent}"
        command = [
            sys.executable,
            "-c",
            START,
            str(tree.folder),
            "replay_worker",
            "main",
            str(work / "out"),
            str(BATCH),
        ]
        process = subprocess.Popen(
            [*command, *RUN_CODES], env=environment, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with process:  # which closes its input at the end, so that it ends too
            yield process


def _told(process: Any) -> list[str]:
    """Let a process compute once; return its processor seconds and the hash of its integers, as it prints them."""
    process.stdin.write("run\n")
    process.stdin.flush()
    answer = process.stdout.readline().split()
    if not answer:
        raise RuntimeError("the process that is timed has ended; its message is above")
    return answer
