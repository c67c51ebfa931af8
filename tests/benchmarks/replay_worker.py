"""The process that ``replay.py --speed`` times: one network in the simulator of the tree that it is started from."""

from __future__ import annotations

import hashlib
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """For every line on the standard input, run the network once; print processor seconds and a hash of its integers.

    Arguments: a build folder, the number of samples, the modules in which ``run_codes`` may be.
    """
    folder, batch, *modules = sys.argv[1:]
    from sfn_compile import load

    found_there = load(Path(folder))
    program = getattr(found_there, "program", found_there)  # earlier revisions gave the Program itself
    run_codes = found(modules)
    codes = golden_codes(program, Path(folder), int(batch))
    wanted = [decoding.value for decoding in program.outputs]
    for _ in sys.stdin:
        start = time.process_time()
        values = run_codes(program, codes, wanted, threads=1)
        spent = time.process_time() - start
        content = b"".join(np.ascontiguousarray(values[n], dtype="<i8").tobytes() for n in sorted(values))
        print(spent, hashlib.sha256(content).hexdigest(), flush=True)


def found(modules: list[str]) -> Callable[..., Any]:
    """Return ``run_codes`` of the first module that has it."""
    for name in modules:
        try:
            return getattr(importlib.import_module(name), "run_codes")  # noqa: B009  mypy knows no such module
        except (ModuleNotFoundError, AttributeError):
            continue
    raise RuntimeError(f"run_codes is in none of {', '.join(modules)}")


def golden_codes(program: Any, folder: Path, batch: int) -> dict[str, np.ndarray]:
    """Return so many input codes, the build's golden ones repeated: the host's encoder need not be found."""
    with np.load(folder / "golden.npz", allow_pickle=False) as arrays:
        names = [str(n) for n in arrays["names"]]
        golden = {e.value: arrays[f"v{names.index(e.value):05d}"] for e in program.inputs}
    return {name: np.resize(codes, (batch, *codes.shape[1:])) for name, codes in golden.items()}
