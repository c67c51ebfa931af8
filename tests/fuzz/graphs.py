"""A campaign of random graphs: each compiled, executed on its targets and compared with the float model.

    python -m tests.fuzz.graphs --cases 1000 --first 0 --seconds 120

`--generator nodes` draws operator by operator, `blocks` networks of the blocks that people write in torch.
A case is a number: `--cases 1 --first NUMBER --save FOLDER` makes it again. A worker with a memory limit runs the
cases; one that dies or takes too long is replaced, and the case is reported. Exit status 1 where a case is BAD.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import onnx

from .block_graphs import block_graph
from .graph_outcome import outcome
from .random_graphs import random_graph

GENERATORS = {"nodes": random_graph, "blocks": block_graph}


def worker(pipe: Connection, memory: int, generator: str) -> None:
    """Answer numbers of cases with outcomes until told None."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # native libraries complain there
    while (number := pipe.recv()) is not None:
        folder = Path(tempfile.mkdtemp(prefix="graphs-"))
        try:
            pipe.send(outcome(number, folder, GENERATORS[generator]))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Worker:
    """A process that runs cases, started anew after one that died or was too slow."""

    def __init__(self, memory: int, seconds: float, generator: str):
        self.memory, self.seconds, self.generator = memory, seconds, generator
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=worker, args=(theirs, self.memory, self.generator), daemon=True)
        self.process.start()
        theirs.close()

    def outcome(self, number: int) -> str:
        """Return the outcome of a case."""
        self.pipe.send(number)
        try:
            if self.pipe.poll(self.seconds):
                return str(self.pipe.recv())
            found = "BAD took too long"
        except EOFError:
            self.process.join()
            found = f"BAD died with status {self.process.exitcode}"
        self.process.kill()
        self._start()
        return found


def main() -> int:
    """Run the campaign; print every case that was not built, and a table of outcomes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--memory-gb", type=float, default=8)
    parser.add_argument("--seconds", type=float, default=120, help="a case may take")
    parser.add_argument("--generator", choices=list(GENERATORS), default="nodes")
    parser.add_argument("--save", type=Path, help="write the models of bad cases here")
    given = parser.parse_args()
    crew, table, bad = Worker(int(given.memory_gb * 2**30), given.seconds, given.generator), Counter[str](), 0
    for number in range(given.first, given.first + given.cases):
        start = time.perf_counter()
        found = crew.outcome(number)
        table[found.split(":")[0].split(";")[0][:60]] += 1
        if found != "built":
            print(f"case {number} ({time.perf_counter() - start:.1f} s): {found[:400]}", flush=True)
        if "BAD" in found:
            bad += 1
            if given.save:
                given.save.mkdir(parents=True, exist_ok=True)
                onnx.save(GENERATORS[given.generator](number).model, given.save / f"{number}.onnx")
    for what, count in table.most_common():
        print(f"{count:7} {what}")
    print(f"{given.cases} cases, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
