"""A long fuzzing campaign on the front end: damaged models through `sfnc check`, and those that pass through compile.

    python tests/fuzz/campaign.py --cases 20000 --first 0 --memory-gb 6 --seconds 30

Every case is a number and says itself again: `--cases 1 --first NUMBER`. A worker with a memory limit runs the cases;
one that dies or takes too long is replaced, and the case is reported. Exit status 1 where a case ended in anything but
a diagnostic.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from sfn_compile.commands.check import check
from sfn_compile.compiler.compilation import compile_model
from sfn_compile.foundation.diagnostics import CompileError
from sfn_compile.foundation.options import Options
from sfn_compile.frontend import load_model

from ..frontend.mutate import SEEDS, damaged, damaged_bytes

LARGE = 10_000  # numbers of a sample; calibration of thousands of channels takes a minute
ACCEPTED = (3, 4)  # exit statuses of a diagnostic about the model or about a target


def case(number: int) -> bytes:
    """The file of a case."""
    rng = random.Random(number)
    model = SEEDS[rng.choice(list(SEEDS))]()
    if rng.randrange(3) == 0:
        return damaged_bytes(model.SerializeToString(), rng)
    return damaged(model, rng, times=rng.choice((1, 1, 1, 2, 3, 8))).SerializeToString()


def outcome(path: Path) -> str:
    """What became of the file: "compiled", the codes of the refusal, or "CRASH" with the exception."""
    try:
        found = check(path)
        codes = {d.code for d in found.problems}
        caught = [d for d in found.problems if "do not fit together (" in d.what]
        if caught:  # refused, but by the net under the importers: a rule of its own would say more
            return f"NET {caught[0].what} at {caught[0].where}"
        if not codes:
            if sum(math.prod(i.shape) for i in load_model(path).inputs) > LARGE:  # it compiles, but takes its time
                return "large, not compiled"
            compile_model(path, Options(samples=2))
            return "compiled"
        return (
            "refused " + " ".join(sorted(codes)) if found.exit_code in ACCEPTED else f"CRASH status {found.exit_code}"
        )
    except CompileError as error:
        codes = {d.code for d in error.diagnostics}
        return _refused(codes, error.exit_code)
    except MemoryError:  # the limit of this campaign, where sfnc says SFN606; a file that asks for too much is SFN108
        return "out of memory"
    except Exception as error:  # whatever it is, it is what this campaign looks for
        where = traceback.extract_tb(error.__traceback__)[-1]
        ours = [f for f in traceback.extract_tb(error.__traceback__) if "sfn_compile" in f.filename][-1:]
        lines = "".join(f" {Path(f.filename).name}:{f.lineno}" for f in (*ours, where))
        return f"CRASH {type(error).__name__}: {str(error)[:160]} at{lines}"


def _refused(codes: set[str], status: int) -> str:
    return f"{'refused' if status in ACCEPTED else f'CRASH status {status}'} {' '.join(sorted(codes))}"


def worker(pipe: Connection, memory: int) -> None:
    """Answer case numbers with outcomes until told None."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # native libraries complain there
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        while (number := pipe.recv()) is not None:
            path.write_bytes(case(number))
            pipe.send(outcome(path))


class Cases:
    """Runs one case after the other in a process of its own, which is made anew where a case takes it down."""

    def __init__(self, memory: int, seconds: float):
        self.memory, self.seconds = memory, seconds
        self.process: multiprocessing.Process | None = None

    def outcome(self, number: int) -> str:
        """Return what became of a case: ``CRASH ...`` where that is no diagnostic."""
        if self.process is None:
            self.pipe, theirs = multiprocessing.Pipe()
            self.process = multiprocessing.Process(target=worker, args=(theirs, self.memory), daemon=True)
            self.process.start()
            theirs.close()
        self.pipe.send(number)
        try:
            found = str(self.pipe.recv()) if self.pipe.poll(self.seconds) else "CRASH took too long"
        except EOFError:
            self.process.join()
            found = f"CRASH died with status {self.process.exitcode}"
        if found.startswith(("CRASH took too long", "CRASH died")):
            self.process.kill()
            self.process = None
        return found

    def close(self) -> None:
        """Let the process end."""
        if self.process is not None:
            self.pipe.send(None)


def arguments() -> argparse.Namespace:
    """Return what was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--memory-gb", type=float, default=6)
    parser.add_argument("--seconds", type=float, default=30, help="a case may take")
    parser.add_argument("--save", type=Path, help="write the files of bad cases here")
    return parser.parse_args()


def main() -> int:
    """Run the campaign; print a table of outcomes and every case that is not a diagnostic."""
    given, table, bad, slowest = arguments(), Counter[str](), list[int](), (0.0, -1)
    cases = Cases(int(given.memory_gb * 2**30), given.seconds)
    for number in range(given.first, given.first + given.cases):
        start = time.perf_counter()
        found = cases.outcome(number)
        slowest = max(slowest, (time.perf_counter() - start, number))
        if found.startswith("NET"):
            print(f"case {number}: {found[:300]}", flush=True)
        if found.startswith("CRASH"):
            bad.append(number)
            print(f"case {number}: {found}", flush=True)
            if given.save:
                given.save.mkdir(parents=True, exist_ok=True)
                (given.save / f"{number}.onnx").write_bytes(case(number))
        table[found.split(" at")[0][:60]] += 1
    cases.close()
    for what, count in table.most_common():
        print(f"{count:7} {what}")
    print(f"{given.cases} cases, {len(bad)} bad; slowest {slowest[0]:.1f} s (case {slowest[1]})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
