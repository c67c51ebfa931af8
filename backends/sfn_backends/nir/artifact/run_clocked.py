"""Runs the .nir files of this folder over time: NumPy, nir and a reader are enough.

    python run_clocked.py --reader sinabs --input codes.npy --check
    python run_clocked.py --reader norse --input codes.npy --output emitted.npz

codes.npy: integer codes of the network's input, ``(n, *shape)``, or frames ``(n, timesteps, *shape)``. The output
holds what every layer emits in each step, ``(n, steps, *shape)``, and of the last its answer so far. Exit status: 0; 1
where an integer differs from NumPy's; 2 wrong usage; 3 an input that does not fit; 4 a network that the reader cannot
run; 5 a missing reader.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.dont_write_bytecode = True  # this folder is sealed
import clocked_evaluator  # type: ignore[import-not-found, unused-ignore]  # noqa: E402
import clocked_readers  # type: ignore[import-not-found, unused-ignore]  # noqa: E402

FILE = Path(__file__).resolve().parent / "network.nir"


def main(words: list[str]) -> int:
    """Run what the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=("sinabs", "norse", "spikingjelly", "numpy"), required=True)
    parser.add_argument("--input", type=Path, metavar="CODES.npy", required=True)
    parser.add_argument("--output", type=Path, metavar="EMITTED.npz")
    parser.add_argument("--check", action="store_true", help="compare every integer with NumPy's")
    asked = parser.parse_args(words)
    text = clocked_evaluator.described(FILE)
    try:
        codes = np.load(asked.input, allow_pickle=False)
        expected = clocked_evaluator.run(FILE, codes)
    except (OSError, ValueError, IndexError) as error:
        print(f"run_clocked.py: {asked.input} does not fit: {error}", file=sys.stderr)
        return 3
    try:
        found = expected if asked.reader == "numpy" else clocked_readers.run(asked.reader, FILE, codes, text)
    except clocked_readers.Refused as reason:
        print(f"run_clocked.py: {asked.reader}: {reason}", file=sys.stderr)
        return 4
    except ImportError as error:
        print(f"run_clocked.py: {asked.reader} cannot be imported ({error})", file=sys.stderr)
        return 5
    if asked.output:
        np.savez(asked.output, **found)
    different = sum(int((found[name] != expected[name]).sum()) for name in expected)
    size = sum(v.size for v in expected.values())
    print(f"{asked.reader}: {len(codes)} samples, {text['steps']} steps, {size:,} integers, {different:,} different")
    return 1 if asked.check and different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
