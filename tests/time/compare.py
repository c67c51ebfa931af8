"""One random Program over time by three hands: the oracle of plain integers, the engine by definition, the fast one.

``python -m tests.time.compare --cases 10000`` compares as many and exits with 1 where any differs (`make fuzz-time`).
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from sfn_compile.program.ranges import charge_range
from sfn_compile.simulator.run import run_codes
from sfn_compile.simulator.run_clock import after_step, final_charges, padded, run_by_definition

from .oracle import Oracle
from .random_programs import random_program, shown


def differences(number: int) -> list[str]:
    """Return what differs for a number, in words; nothing where all agree."""
    program, made, sample = random_program(number)
    x = shown(made, sample, number)
    fast, (plain, charges) = run_codes(made, x, threads=1), run_by_definition(made, x)
    found = [f"engines: {name}" for name in plain if not np.array_equal(fast[name], plain[name])]
    oracle, clock = Oracle(made), made.clock
    assert clock is not None
    frames = {name: padded(v, clock) for name, v in x.items()}
    for t in range(clock.steps):
        oracle.step({k: (v if made.frames is None else v[:, t]).tolist() for k, v in frames.items()})
        for step in made.steps:
            if step.name in fast and step.name in oracle.emitted:
                same = np.array_equal(fast[step.name][:, t], oracle.emitted[step.name])
                found += [] if same else [f"oracle: {step.name}, step {t + 1}"]
    for name, charge in final_charges(made, fast).items():
        theirs = np.array(oracle.charge[name], object) // clock.timesteps
        low, high = charge_range(next(s for s in made.populations() if s.name == name), made, made.values())
        if not (np.array_equal(charge, charges[name]) and np.array_equal(charge, theirs)):
            found.append(f"charge: {name}")
        if charge.min() < low or charge.max() > high:
            found.append(f"range: {name}")
    if clock.certifies or any(p.start for p in clock.paces):
        settled, at_once = after_step(made, fast), run_codes(program, sample, threads=1)
        quiet = all(not fast[p.name][:, -1].any() for p in clock.paces if p.most)
        if quiet or not clock.certifies:
            found += [f"not settled: {n}" for n, v in settled.items() if not np.array_equal(v, at_once[n])]
        elif clock.settle < 60:
            found.append("not quiet after the proved steps")
    return found


def main() -> int:
    """Compare as many numbers as are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    asked, start, wrong = parser.parse_args(), time.monotonic(), 0
    for number in range(asked.first, asked.first + asked.cases):
        found = differences(number)
        wrong += bool(found)
        if found:
            print(f"{number}: {'; '.join(found[:4])}", flush=True)
    print(f"{asked.cases} networks from {asked.first} on, {wrong} differ, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
